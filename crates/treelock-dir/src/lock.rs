//! Asking for the lock: [`DirLock`] and its verbs.
//!
//! There is one implementation of waiting, [`Acquire`]. Blocking a thread polls the same future
//! with a waker that unparks the thread.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use treelock::{Blocked, Finding, Request, Snapshot};

use crate::{
    acquire::Acquire, check, directory::Directory, error::Error, file::TABLE_NAME, guard::Guard,
    holders, look,
};

/// A lock over all sub-trees of one tree, shared by the processes of one host: its table is a
/// directory.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none**, whichever threads and processes they come from. A process that dies,
/// however it dies, releases at once.
///
/// A `DirLock` is a handle: clones are the same lock, and so is every other `DirLock`, in whatever
/// process, with the same directory. All ways to ask work on the same lock at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds
/// waits for itself, for ever (or until its time-out); so can two holders that each ask for more.
/// Ask for everything in one [`Request`].
///
/// # Blocking
///
/// Asking, also by the first poll of a future, and looking take the table's latch for some
/// microseconds and block the thread for so long. A process that is *stopped* (`SIGSTOP`, a
/// debugger) in that moment stops all who ask until it goes on or dies.
///
/// # Examples
///
/// ```
/// use treelock::Request;
/// use treelock_dir::DirLock;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let path = scratch.path().join("locks");
/// let lock = DirLock::new(path);
/// let request = Request::new().write("photos/2025")?.read("templates")?.label("import");
/// let guard = lock.acquire_blocking(&request)?;
/// // No process of this host is below photos/2025, and none writes below templates.
/// drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DirLock(Arc<Directory>);

impl DirLock {
    /// Returns the lock whose table is in this directory.
    ///
    /// Nothing is done yet: the first request makes the directory, for its user alone, and the
    /// table. For a lock between users make the directory yourself, with the rights that you want;
    /// the table takes its rights from it.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = treelock_dir::DirLock::new("/var/lib/builds/locks");
    /// assert_eq!(lock.path(), std::path::Path::new("/var/lib/builds/locks"));
    /// ```
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> DirLock {
        let directory = directory.into();
        // The same directory wherever the process goes. What cannot be made absolute cannot be
        // opened.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        DirLock(Arc::new(Directory::new(directory)))
    }

    /// Returns the directory of the table.
    ///
    /// # Examples
    ///
    /// See [`DirLock::new`].
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`].
    ///
    /// The request takes its place in the order of arrival when the future is first polled, which
    /// takes some microseconds of file access. The future needs no particular executor; for a
    /// time-out use the executor's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, also between the grant and the poll that would have seen
    /// it, gives back whatever it has, and those behind it go on.
    ///
    /// # Errors
    ///
    /// The future's are those of [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # async fn example(lock: DirLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// let guard = lock.acquire(&rename).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(self.0.clone(), request.clone())
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`] at
    /// once.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits.
    /// A failure leaves nothing in the table.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, saying for whom; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let reader = Request::new().read("photos").unwrap();
    /// let one = lock.try_acquire(&reader)?;
    /// let two = lock.try_acquire(&reader)?;
    /// let writer = Request::new().write("photos/2025").unwrap();
    /// assert_eq!(lock.try_acquire(&writer).unwrap_err().blocked().unwrap().ahead, 2);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Result<Guard, Error> {
        Ok(Guard::new(self.0.ask(request, false)??))
    }

    /// Acquires everything that `request` names. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted. Not for use within a future: use
    /// [`acquire`](DirLock::acquire) there.
    ///
    /// # Errors
    ///
    /// - [`Error::Io`]: the directory or the table cannot be made, read or written (rights, a full
    ///   disk, no more file descriptors or threads).
    /// - [`Error::Shared`]: the directory lies on a network file system.
    /// - [`Error::Foreign`], [`Error::Damaged`]: what is there is not a table, or no longer.
    /// - [`Error::Lost`]: the table was removed or replaced while the request waited.
    /// - [`Error::TooLarge`]: the request has too many or too long roots.
    ///
    /// Whatever fails, nothing is left in the table.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.acquire_blocking(&Request::new().write("target").unwrap())?;
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_blocking(&self, request: &Request) -> Result<Guard, Error> {
        self.block(request, None)
    }

    /// Acquires everything that `request` names, if it is granted within `timeout`. Returns the
    /// [`Guard`].
    ///
    /// The request stands in line meanwhile, and leaves it when the time is over.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted or the time is over.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the time is over, saying who was in the way then; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.acquire_blocking(&Request::new().write("target/debug").unwrap())?;
    /// let clean = Request::new().write("target").unwrap();
    /// let error = lock.acquire_timeout(&clean, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.blocked().unwrap().blocker.to_string(), "write /target/debug");
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Guard, Error> {
        self.block(request, Instant::now().checked_add(timeout))
    }

    /// Acquires everything that `request` names, before `deadline`. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted or the deadline is over.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the deadline is over, saying who was in the way then; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let source = lock.acquire_deadline(&Request::new().read("src").unwrap(), deadline)?;
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_deadline(&self, request: &Request, deadline: Instant) -> Result<Guard, Error> {
        self.block(request, Some(deadline))
    }

    /// Returns all live requests of all processes at one moment: who holds and who waits for whom.
    /// Empty if there is no table. Needs no right to write.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.try_acquire(&Request::new().write("photos").unwrap())?;
    /// println!("{}", lock.snapshot()?);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::of(look::live_in(self.path())?))
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Asks
    /// for nothing.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("photos").unwrap();
    /// assert!(lock.blocked(&request)?.is_none());
    /// let guard = lock.try_acquire(&request)?;
    /// assert_eq!(lock.blocked(&request)?.unwrap().ticket, guard.ticket());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        Ok(Blocked::of(&look::live_in(self.path())?, request, u64::MAX))
    }

    /// Returns the numbers of all processes that keep a ticket alive: the one that asked, and those
    /// that inherited its descriptor. Empty if the ticket is not live.
    ///
    /// Found in `/proc`; processes of other users are seen by root only.
    ///
    /// # Blocking
    ///
    /// Reads what `/proc` says of every process: some milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the table or `/proc` cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new())?;
    /// assert_eq!(lock.processes(guard.ticket())?, [std::process::id()]);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn processes(&self, ticket: u64) -> Result<Vec<u32>, Error> {
        holders::holders(self.path(), ticket)
    }

    /// Returns what is to be said of this place: whether locks work here, and what is odd. Makes
    /// the directory and the table if they are missing.
    ///
    /// # Blocking
    ///
    /// For some milliseconds; a fifth of a second if the latch is never free.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if something cannot be looked at that was there a moment ago. What is bad
    /// about the place is a [`Finding`], not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_dir::{DirLock, Severity};
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// assert!(lock.check()?.iter().all(|finding| finding.severity < Severity::Bad));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn check(&self) -> Result<Vec<Finding>, Error> {
        check::findings(self.path())
    }

    fn block(&self, request: &Request, deadline: Option<Instant>) -> Result<Guard, Error> {
        let (parker, unparker) = parking::pair();
        let waker = Waker::from(unparker);
        let mut acquire = self.acquire(request);
        let mut looks = 0;
        loop {
            let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(result) = polled {
                return result;
            }
            match deadline {
                None => parker.park(),
                // Once more after the deadline, if it was woken just then.
                Some(deadline) if parker.park_deadline(deadline) => {}
                Some(_) => match acquire.blocked()? {
                    Some(blocked) => return Err(blocked.into()),
                    // Whoever was in the way is leaving, or nobody can read any more who it is.
                    None if looks < LOOKS => looks += usize::from(!parker.park_timeout(LEAVING)),
                    None => return Err(Error::Damaged { path: self.path().join(TABLE_NAME) }),
                },
            }
        }
    }
}

/// How long leaving may take, and how often that is waited for.
const LEAVING: Duration = Duration::from_millis(10);
const LOOKS: usize = 100;

/// Where the table is; [`DirLock::snapshot`] says who holds and waits.
impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirLock").field(&self.0.path()).finish()
    }
}
