//! What a holder has: a [`Guard`].

use std::fmt;

use crate::{answer::Answer, event, fence::FencingToken, request::Request, turn::Turn};

/// Holds what a request asked for, until it is dropped or released.
///
/// A guard is owned: it can be stored, sent to another thread or task, and dropped there. Dropping
/// it always releases and never blocks. If the waker of a waiting request panics, that panic
/// continues after all wakers were called. A panic that unwinds through the guard releases too, and
/// nothing is poisoned. Leaking it, as [`std::mem::forget`] does, keeps the lock for as long as the
/// process lives.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let photos = Request::new().write("photos")?;
/// let guard = lock.acquire(&photos).wait();
/// assert!(lock.try_acquire(&photos).wait().is_err());
/// drop(guard);
/// assert!(lock.try_acquire(&photos).wait().is_ok());
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[must_use = "dropping a guard releases its lock at once"]
#[clippy::has_significant_drop]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    /// Returns the guard of a turn that is granted.
    #[inline]
    pub(crate) fn new(turn: Turn) -> Guard {
        event::granted(turn.request());
        Guard { turn }
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let guard = TreeLock::new().acquire(&Request::new().write("photos")?).wait();
    /// assert_eq!(guard.request().to_string(), "write /photos");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn request(&self) -> &Request {
        self.turn.request()
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](crate::Snapshot).
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let guard = lock.acquire(&Request::new().write("photos")?).wait();
    /// assert_eq!(lock.snapshot().wait().entries[0].ticket, guard.ticket());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.turn.ticket()
    }

    /// Returns the fencing token, which is larger than that of every earlier conflicting grant of
    /// this lock. Pass it to the resource with each access, to be checked there by a
    /// [`FenceGate`](crate::FenceGate).
    ///
    /// An in-process lock cannot be lost, so its holders need no token. It exists so that the
    /// resource can check tokens from the first day, even when another engine later replaces this
    /// one. A token is the ticket, counted from the time in nanoseconds at which the lock was
    /// created. So tokens keep growing when the process is restarted, unless the clock was set
    /// back.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Access, FenceGate, Request, TreeLock, Wait};
    ///
    /// let (lock, request) = (TreeLock::new(), Request::new().write("photos")?);
    /// let first = lock.acquire(&request).wait().token();
    /// let second = lock.acquire(&request).wait().token();
    /// assert!(second > first);
    ///
    /// let mut gate = FenceGate::default();
    /// assert!(gate.check(Access::Write, second).is_ok());
    /// assert!(gate.check(Access::Write, first).is_err(), "too late");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.turn.token()
    }

    /// Returns whether the lock is still held. For an in-process lock this is always `true`.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let guard = TreeLock::new().acquire(&Request::new().write("photos")?).wait();
    /// assert!(guard.is_valid());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        true
    }

    /// Returns an answer that is ready when the lock is lost, which never happens to an in-process
    /// lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let guard = TreeLock::new().acquire(&Request::new().write("photos")?).wait();
    /// assert_eq!(guard.lost().wait_timeout(Duration::ZERO), None);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn lost(&self) -> Answer<()> {
        Answer::never()
    }

    /// Releases the lock at once, as dropping the guard does. The answer is ready immediately.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// lock.acquire(&Request::new().write("photos")?).wait().release().wait();
    /// assert_eq!(lock.held_count(), 0);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn release(self) -> Answer<()> {
        drop(self);
        Answer::ready(())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({}; ticket {})", self.request(), self.ticket())
    }
}
