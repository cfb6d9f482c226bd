//! What a holder has: a [`Guard`].

use std::{fmt, process::Command};

use command_fds::CommandFdExt;
use treelock::{Answer, FencingToken, Request};

use crate::{error::Error, lost::Lost, turn::Turn};

/// Holds what a request asked for, until it is dropped or the process ends, in whatever way.
///
/// A guard is owned: it can be stored, sent to another thread or task, and dropped there. Dropping
/// it releases the lock, and never fails or waits for other requests. (If the waker of a waiting
/// request panics, that panic continues after all wakers were called.) A panic that unwinds through
/// the guard releases too. Dropping writes to memory alone, so a frozen file
/// system can make it wait. Leaking the guard, as [`std::mem::forget`] does, keeps the lock for as
/// long as the process lives.
///
/// # Examples
///
/// ```
/// use treelock::{Request, Wait};
/// use treelock_dir::DirLock;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// let lock = DirLock::new(scratch.path().join("locks"));
/// let photos = Request::new().write("photos")?;
/// let guard = lock.acquire(&photos).wait()?;
/// assert!(lock.try_acquire(&photos).wait().is_err());
/// drop(guard);
/// assert!(lock.try_acquire(&photos).wait().is_ok());
/// # Ok::<(), treelock_dir::Error>(())
/// ```
#[must_use = "dropping a guard releases its lock at once"]
#[clippy::has_significant_drop]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    /// Returns the guard of a turn that is granted.
    pub(crate) fn new(turn: Turn) -> Guard {
        Guard { turn }
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new().write("photos")?).wait()?;
    /// assert_eq!(guard.request().to_string(), "write /photos");
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.turn.request
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](treelock::Snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new()).wait()?;
    /// assert_eq!(lock.snapshot().wait()?.entries[0].ticket, guard.ticket());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.turn.seat().own.ticket
    }

    /// Returns the fencing token, which is larger than that of every earlier conflicting grant of
    /// this table, even if the table was removed and created again in between. Pass it to the
    /// resource with each access, to be checked there by a [`FenceGate`](treelock::FenceGate).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("photos")?;
    /// let first = lock.try_acquire(&request).wait()?.token();
    /// assert!(lock.try_acquire(&request).wait()?.token() > first);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.turn.seat().token
    }

    /// Returns whether others still see this lock. While the process lives, there is only one way
    /// to lose it: the table is removed or replaced. Costs one `statx`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let path = scratch.path().join("locks");
    /// let guard = DirLock::new(&path).try_acquire(&Request::new()).wait()?;
    /// assert!(guard.is_valid());
    /// std::fs::remove_dir_all(&path).unwrap();
    /// assert!(!guard.is_valid());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.turn.table.site.is_in_place()
    }

    /// Returns an answer that is ready when the lock is lost, that is, when
    /// [`is_valid`](Guard::is_valid) becomes false. It does not borrow the guard, and it is never
    /// ready once the guard has been dropped.
    ///
    /// The kernel reports changes to the directory and moves of the directories above it (inotify).
    /// The first call for a table starts a thread that listens. If the kernel has no inotify
    /// instance left, the thread checks once a second. If a symbolic link in the path is
    /// redirected, that is not noticed.
    ///
    /// If no thread can be started, either by this call or when the answer is first awaited,
    /// nothing can listen. The answer is then ready at once: it is safer to stop unnecessarily than
    /// to go on without the lock. [`is_valid`](Guard::is_valid) tells the two cases apart.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # async fn work() {}
    /// # async fn example(lock: DirLock) -> Result<(), treelock_dir::Error> {
    /// let guard = lock.acquire(&Request::new()).await?;
    /// let lost = guard.lost();
    /// // With tokio: select! { () = lost => stop(), () = work() => {} }
    /// # lost.await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lost(&self) -> Answer<()> {
        Answer::of(Lost::new(&self.turn.table.losses, self.turn.released()))
    }

    /// Releases the lock at once, as dropping the guard does. The answer is ready immediately.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let photos = Request::new().write("photos")?;
    /// lock.acquire(&photos).wait()?.release().wait();
    /// assert!(lock.blocked(&photos).wait()?.is_none());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn release(self) -> Answer<()> {
        drop(self);
        Answer::ready(())
    }

    /// Lets the process that `command` starts keep the lock too. If this process dies, the lock
    /// stays held for as long as the child, or anything that the child starts, has the descriptor.
    ///
    /// The descriptor's number is at least 100, if the limit allows it. A child that closes unknown
    /// descriptors, as daemons and sudo(8) do, does not keep the lock. The child must not write to
    /// the descriptor.
    ///
    /// Dropping the guard still releases the lock, for the child as well, since the guard marks the
    /// end of the work. So wait for the child first, or leak the guard.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if no file descriptor is free.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::process::Command;
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new().write("target")?).wait()?;
    /// let mut make = Command::new("true");
    /// guard.inherit(&mut make)?;
    /// make.status().unwrap();
    /// drop(guard);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn inherit(&self, command: &mut Command) -> Result<(), Error> {
        command.preserved_fds(vec![self.turn.share()?]);
        Ok(())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({}; ticket {})", self.turn.request, self.ticket())
    }
}
