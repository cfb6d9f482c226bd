//! The guard of a holder: [`Guard`].

use std::{any::Any, fmt};

use treelock::{Answer, FencingToken, Request, engine::Held};

/// A held lock of any engine. Dropping it releases the lock, without waiting for anything.
///
/// # Examples
///
/// ```
/// use treelock_any::{AnyLock, Wait, treelock::Request};
///
/// let lock = AnyLock::open("memory:")?;
/// let guard = lock.acquire(&Request::new().write("a")?).wait()?;
/// assert!(guard.is_valid());
/// assert_eq!(lock.snapshot().wait()?.entries[0].ticket, guard.ticket());
/// guard.release().wait();
/// assert!(lock.snapshot().wait()?.entries.is_empty());
/// # Ok::<(), treelock_any::Error>(())
/// ```
#[must_use = "dropping a guard releases the lock"]
#[clippy::has_significant_drop]
pub struct Guard(Box<dyn ErasedHeld>);

/// A type-erased [`Held`].
trait ErasedHeld: fmt::Debug + Send + Sync {
    fn request(&self) -> &Request;
    fn ticket(&self) -> u64;
    fn token(&self) -> FencingToken;
    fn is_valid(&self) -> bool;
    fn lost(&self) -> Answer<()>;
    fn release(self: Box<Self>) -> Answer<()>;
    fn as_any(&self) -> &dyn Any;
}

impl<H: Held> ErasedHeld for H {
    fn request(&self) -> &Request {
        Held::request(self)
    }

    fn ticket(&self) -> u64 {
        Held::ticket(self)
    }

    fn token(&self) -> FencingToken {
        Held::token(self)
    }

    fn is_valid(&self) -> bool {
        Held::is_valid(self)
    }

    fn lost(&self) -> Answer<()> {
        Held::lost(self)
    }

    fn release(self: Box<Self>) -> Answer<()> {
        Held::release(*self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Guard {
    pub(crate) fn new(guard: impl Held) -> Guard {
        Guard(Box::new(guard))
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_any::{AnyLock, Wait, treelock::Request};
    /// let request = Request::new().write("a")?;
    /// let guard = AnyLock::open("memory:")?.acquire(&request).wait()?;
    /// assert_eq!(guard.request(), &request);
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn request(&self) -> &Request {
        self.0.request()
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](treelock::Snapshot).
    ///
    /// # Examples
    ///
    /// See [`Guard`].
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.0.ticket()
    }

    /// Returns the fencing token: larger than that of every earlier grant that conflicts (C20).
    /// Send it to the resource with each access, for a [`FenceGate`](treelock::FenceGate) there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_any::{AnyLock, Wait, treelock::Request};
    /// let (lock, request) = (AnyLock::open("memory:")?, Request::new().write("a")?);
    /// let first = lock.acquire(&request).wait()?.token();
    /// assert!(lock.acquire(&request).wait()?.token() > first);
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn token(&self) -> FencingToken {
        self.0.token()
    }

    /// Returns whether the lock is still held, as far as this machine can tell without asking
    /// (C21). This is cheap enough to call before each step of longer work.
    ///
    /// If the engine can lose locks, `true` means that no other request had the lock until now. It
    /// says nothing about what was sent to a resource earlier and arrives later: protecting against
    /// that takes the [`token`](Guard::token).
    ///
    /// # Examples
    ///
    /// See [`Guard`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.0.is_valid()
    }

    /// Returns a future that is ready when the lock is lost (C21). It does not borrow the guard. A
    /// lock in memory is never lost.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::Guard;
    ///
    /// async fn guarded(guard: Guard) {
    ///     // With tokio: select! { () = guard.lost() => stop(), () = work() => {} }
    ///     guard.lost().await;
    /// }
    /// ```
    pub fn lost(&self) -> Answer<()> {
        self.0.lost()
    }

    /// Releases the lock. The answer is ready when others can see that the lock is released, or
    /// when the lock is lost anyway.
    ///
    /// # Cancel safety
    ///
    /// The lock is released even if the answer is dropped, whether or not it was polled or waited
    /// for. Do not keep an answer that nothing polls: a lock on a cluster stays held for as long.
    ///
    /// # Examples
    ///
    /// See [`Guard`].
    pub fn release(self) -> Answer<()> {
        self.0.release()
    }

    /// Returns the engine's own guard, if it is of this type. Use it for what only that engine has.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "dir")] {
    /// use std::process::Command;
    /// use treelock_any::{AnyLock, Wait, treelock::Request, treelock_dir};
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let text = format!("dir:{}", scratch.path().join("locks").display());
    /// let guard = AnyLock::open(&text)?.acquire(&Request::new().write("a")?).wait()?;
    /// let mut command = Command::new("make");
    /// // A lock on one host can be passed to a command, which then keeps it.
    /// if let Some(guard) = guard.downcast_ref::<treelock_dir::Guard>() {
    ///     guard.inherit(&mut command)?;
    /// }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn downcast_ref<H: Held>(&self) -> Option<&H> {
        self.0.as_any().downcast_ref()
    }
}

impl Held for Guard {
    fn request(&self) -> &Request {
        Guard::request(self)
    }

    fn ticket(&self) -> u64 {
        Guard::ticket(self)
    }

    fn token(&self) -> FencingToken {
        Guard::token(self)
    }

    fn is_valid(&self) -> bool {
        Guard::is_valid(self)
    }

    fn lost(&self) -> Answer<()> {
        Guard::lost(self)
    }

    fn release(self) -> Answer<()> {
        Guard::release(self)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
