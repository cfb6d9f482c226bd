//! What a holder has: a [`Guard`]. And how the lock is left, by holders and waiters alike.

use std::{
    fmt,
    os::fd::AsFd,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use command_fds::CommandFdExt;
use rustix::io::fcntl_dupfd_cloexec;
use treelock::{FencingToken, Request};

use crate::{
    error::{Doing, Error},
    lost::Lost,
    table::{Place, Table},
};

/// The least number of an inherited descriptor, above those that scripts use (`exec 8> log`): who opens a
/// number of his own closes what had it.
const INHERITED: i32 = 100;

/// A live request of ours, waiting or held. Dropping it gives back whatever it has, in one step (C10).
pub(crate) struct Turn {
    pub(crate) table: Arc<Table>,
    pub(crate) request: Request,
    /// There until it is dropped.
    place: Option<Place>,
    /// Whether it has been given back, for the futures that tell of its loss, if there are any.
    released: OnceLock<Arc<AtomicBool>>,
    /// Whether a child has its open file description too.
    shared: AtomicBool,
    /// The ticket whose leaving wakes it.
    watched: Option<u64>,
}

impl Turn {
    pub(crate) fn new(table: Arc<Table>, request: Request, place: Place) -> Turn {
        table.watches.enter(place.ticket);
        let (released, shared) = (OnceLock::new(), AtomicBool::new(false));
        Turn { table, request, place: Some(place), released, shared, watched: None }
    }

    pub(crate) fn place(&self) -> &Place {
        self.place.as_ref().expect("there until it is dropped")
    }

    /// See that the table is still the one that others use.
    pub(crate) fn see_in_place(&self) -> Result<(), Error> {
        match self.table.is_in_place() {
            true => Ok(()),
            false => Err(Error::Lost { path: self.table.path().to_path_buf() }),
        }
    }

    /// Have `waker` called when a ticket has left, and for no other ticket any more.
    pub(crate) fn watch(&mut self, ticket: u64, waker: &Waker) -> Result<(), Error> {
        let own = self.place().ticket;
        if let Some(before) = self.watched.replace(ticket).filter(|before| *before != ticket) {
            self.table.watches.leave(before, own);
        }
        let watched = self.table.watch(ticket, own, waker);
        watched.doing("start a thread to wait at", self.table.path())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            self.table.watches.leave(watched, self.place().ticket);
        }
        if let Some(released) = self.released.get() {
            released.store(true, Ordering::Release);
        }
        self.table.leave(&mut self.place, self.shared.load(Ordering::Relaxed));
    }
}

/// Holds what a request asked for, until it is dropped or the process ends, however it ends.
///
/// Owned: it can be stored, sent to another thread or task, and dropped there. Dropping it releases, never
/// waits for anybody and never fails (should a waker of somebody who waits panic, that panic goes on when all
/// are woken); a panic that unwinds through it releases too. It may write four bytes to the table first, for
/// which a frozen file system makes it wait. Leaking it, as
/// [`std::mem::forget`] does, keeps the lock for as long as the process lives.
///
/// # Examples
///
/// ```
/// use treelock::Request;
/// use treelock_dir::DirLock;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// let lock = DirLock::new(scratch.path().join("locks"));
/// let photos = Request::new().write("photos").unwrap();
/// let guard = lock.acquire_blocking(&photos)?;
/// assert!(lock.try_acquire(&photos).is_err());
/// drop(guard);
/// assert!(lock.try_acquire(&photos).is_ok());
/// # Ok::<(), treelock_dir::Error>(())
/// ```
#[must_use = "dropping a guard releases its lock at once"]
#[clippy::has_significant_drop]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    /// Of a turn that is granted.
    pub(crate) fn new(turn: Turn) -> Guard {
        Guard { turn }
    }

    /// Returns the fencing token: larger than that of every earlier grant of this table that conflicts, also
    /// if the table was removed and made anew meanwhile. Give it to the resource with each access, for a
    /// [`FenceGate`](treelock::FenceGate) there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("photos").unwrap();
    /// let first = lock.try_acquire(&request)?.token();
    /// assert!(lock.try_acquire(&request)?.token() > first);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.turn.place().token
    }

    /// Returns the ticket, by which a [`Snapshot`](treelock::Snapshot) names the request.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new())?;
    /// assert_eq!(lock.snapshot()?.entries[0].ticket, guard.ticket());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.turn.place().ticket
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new().write("photos").unwrap())?;
    /// assert_eq!(guard.request().to_string(), "write /photos");
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.turn.request
    }

    /// Returns whether others still see this lock. There is one way to lose it while the process lives: that
    /// somebody removes or replaces the table. Costs one `stat`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let path = scratch.path().join("locks");
    /// let guard = DirLock::new(&path).try_acquire(&Request::new())?;
    /// assert!(guard.is_valid());
    /// std::fs::remove_dir_all(&path).unwrap();
    /// assert!(!guard.is_valid());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.turn.table.is_in_place()
    }

    /// Returns a future that is ready when the lock is lost, that is when [`is_valid`](Guard::is_valid)
    /// becomes false. It does not need the guard, and never resolves once that is dropped in good order.
    ///
    /// The kernel tells of changes to the directory and of moves of those above it (inotify); the first call
    /// for a table starts a thread that listens. Where the kernel has no listener left the thread looks once
    /// a second. A symbolic link on the way that is turned elsewhere is not noticed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if no thread can be started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # async fn work() {}
    /// # async fn example(lock: DirLock) -> Result<(), treelock_dir::Error> {
    /// let guard = lock.acquire(&Request::new()).await?;
    /// let lost = guard.lost()?;
    /// // With tokio: select! { _ = lost => stop(), _ = work() => {} }
    /// # lost.await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) -> Result<Lost, Error> {
        Lost::new(&self.turn.table, self.turn.released.get_or_init(Arc::default).clone())
    }

    /// Lets the process that `command` starts keep the lock too: should this process die, the lock lives on
    /// as long as the child, and whatever the child starts, has the descriptor.
    ///
    /// The descriptor has a number of at least 100, if so many are allowed. A child that closes what it does
    /// not know, as daemons and sudo(8) do, does not keep the lock; none may write to it.
    ///
    /// Dropping the guard still releases, for the child as well: it is the one to say when the work is
    /// over. So wait for the child first, or leak the guard.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is no free file descriptor.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::process::Command;
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new().write("target").unwrap())?;
    /// let mut make = Command::new("true");
    /// guard.inherit(&mut make)?;
    /// make.status().unwrap();
    /// drop(guard);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn inherit(&self, command: &mut Command) -> Result<(), Error> {
        let own = self.turn.place().file.as_fd();
        // Fewer descriptors than that may be allowed.
        let file = fcntl_dupfd_cloexec(own, INHERITED).map(Ok);
        let file = file.unwrap_or_else(|_| own.try_clone_to_owned());
        let file = file.doing("duplicate the descriptor of", self.turn.table.path())?;
        self.turn.shared.store(true, Ordering::Relaxed);
        command.preserved_fds(vec![file]);
        Ok(())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request)
    }
}
