//! What a holder has: a [`Guard`].

use std::fmt;

use crate::{answer::Answer, event, fence::FencingToken, request::Request, turn::Turn};

/// Holds what a request asked for, until it is dropped or released.
///
/// Owned: it can be stored, sent to another thread or task, and dropped there. Dropping it always
/// releases and never blocks (if a waker of somebody who waits panics, that panic goes on when all
/// are woken); a panic that unwinds through it releases too, and nothing is poisoned.
/// Leaking it, as [`std::mem::forget`] does, keeps the lock for as long as the process lives.
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
    /// Of a turn that is granted.
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

    /// Returns the ticket, by which a [`Snapshot`](crate::Snapshot) names the request.
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

    /// Returns the fencing token: larger than that of every earlier grant of this lock that conflicts. Give
    /// it to the resource with each access, for a [`FenceGate`](crate::FenceGate) there.
    ///
    /// A lock in memory cannot be lost, so its holders need no token. It is there so that the resource can
    /// check tokens from the first day, also when another engine takes the place of this one. A token is
    /// the ticket, counted from the nanosecond in which the lock was made: so tokens go on growing when
    /// the process is started anew, unless the clock was set back.
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

    /// Returns whether the lock is still held: always, for a lock in memory.
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

    /// Returns the answer that comes when the lock is lost: never, for a lock in memory.
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

    /// Releases the lock at once, as dropping the guard does. The answer is ready.
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
