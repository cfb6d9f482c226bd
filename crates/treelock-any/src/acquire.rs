//! A request on its way to its guard: [`Acquire`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use treelock::{Answer, Blocked, Wait, engine::Pending};

use crate::{error::Error, guard::Guard};

/// A request on its way, of whatever engine: a future of the [`Guard`], which a thread can also
/// [`wait`](Wait::wait) for.
///
/// It asks, and takes its place in the order of arrival, when it is first polled or waited for.
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock_any::{AnyLock, Wait, treelock::Request};
///
/// let lock = AnyLock::open("memory:")?;
/// let guard = lock.acquire(&Request::new().write("a")?).wait()?;
/// let mut acquire = lock.acquire(&Request::new().write("a/b")?);
/// // The time is over, and the place in the line is kept.
/// assert!(acquire.wait_timeout(Duration::from_millis(10)).is_none());
/// assert_eq!(acquire.blocked().wait()?.unwrap().ticket, guard.ticket());
/// drop(guard);
/// assert!(acquire.wait()?.is_valid());
/// # Ok::<(), treelock_any::Error>(())
/// ```
#[must_use = "a request asks for nothing before it is awaited or waited for"]
pub struct Acquire(Box<dyn ErasedPending>);

/// [`Pending`] of a type that is not known.
trait ErasedPending: fmt::Debug + Send {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard, Error>>;
    fn ticket(&self) -> Option<u64>;
    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>>;
    fn give_up(self: Box<Self>) -> Answer<Result<Guard, Error>>;
}

impl<P: Pending> ErasedPending for P {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        Pin::new(self).poll(context).map(erased)
    }

    fn ticket(&self) -> Option<u64> {
        Pending::ticket(self)
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        Pending::blocked(self).map(|blocked| blocked.map_err(Error::of_engine))
    }

    fn give_up(self: Box<Self>) -> Answer<Result<Guard, Error>> {
        Pending::give_up(*self).map(erased)
    }
}

/// Returns the outcome of a request, whatever its engine.
pub(crate) fn erased<H, E>(outcome: Result<H, E>) -> Result<Guard, Error>
where
    H: treelock::engine::Held,
    E: treelock::engine::EngineError,
{
    outcome.map(Guard::new).map_err(Error::of_engine)
}

impl Acquire {
    pub(crate) fn new(pending: impl Pending) -> Acquire {
        Acquire(Box::new(pending))
    }

    /// Returns the ticket, by which a [`Snapshot`](treelock::Snapshot) names the request; `None`
    /// before it is in line and after it was ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use treelock_any::{AnyLock, Wait, treelock::Request};
    /// let (lock, request) = (AnyLock::open("memory:")?, Request::new().write("a")?);
    /// let _guard = lock.acquire(&request).wait()?;
    /// let mut acquire = lock.acquire(&request);
    /// assert_eq!(acquire.ticket(), None);
    /// assert!(acquire.wait_timeout(Duration::ZERO).is_none());
    /// assert!(acquire.ticket().is_some());
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        self.0.ticket()
    }

    /// Returns who is in the way; `None` if nobody is: it is not in line yet, or it is granted and
    /// the next poll is ready.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    ///
    /// # Examples
    ///
    /// See [`Acquire`].
    pub fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        self.0.blocked()
    }

    /// Stops waiting and leaves the line. Returns the guard if the lock was granted meanwhile. One
    /// that has not asked yet asks now and does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`], which says who was in the way, or why the engine could not be asked.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use treelock_any::{AnyLock, Wait, treelock::Request};
    /// let (lock, request) = (AnyLock::open("memory:")?, Request::new().write("a")?);
    /// let guard = lock.acquire(&request).wait()?;
    /// let mut acquire = lock.acquire(&request);
    /// assert!(acquire.wait_timeout(Duration::from_millis(10)).is_none());
    /// let error = acquire.give_up().wait().unwrap_err();
    /// assert_eq!(error.blocked().unwrap().ticket, guard.ticket());
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn give_up(self) -> Answer<Result<Guard, Error>> {
        self.0.give_up()
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(context)
    }
}

impl Wait for Acquire {}

impl Pending for Acquire {
    type Guard = Guard;
    type Error = Error;

    fn ticket(&self) -> Option<u64> {
        Acquire::ticket(self)
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        Acquire::blocked(self)
    }

    fn give_up(self) -> Answer<Result<Guard, Error>> {
        Acquire::give_up(self)
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
