//! The future of a request: [`Acquire`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use treelock::{Answer, Blocked, Request, Wait};

use crate::{
    ask::{Asked, ask},
    error::Error,
    guard::Guard,
    runtime::work::answer,
    shared::Shared,
};

/// A request on its way to becoming a [`Guard`]. Returned by
/// [`EtcdLock::acquire`](crate::EtcdLock::acquire). This is a future that a thread can also
/// [`wait`](Wait::wait) for.
///
/// Waiting with a limit keeps the place in line, whether by [`wait_timeout`](Wait::wait_timeout) or
/// by the timeout of an async runtime. When the time is up, wait again, ask for the blocker, or
/// give up.
///
/// # Cancel safety
///
/// Dropping it at any time gives back, in the background, whatever it has.
///
/// # Panics
///
/// Panics if polled, waited for or given up after it was ready.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use treelock_etcd::{Error, EtcdLock, Guard, Wait, treelock::Request};
///
/// fn patiently(lock: &EtcdLock, request: &Request) -> Result<Guard, Error> {
///     let mut acquire = lock.acquire(request);
///     if let Some(granted) = acquire.wait_timeout(Duration::from_secs(5)) {
///         return granted;
///     }
///     if let Some(blocked) = acquire.blocked().wait()? {
///         println!("still waiting: {blocked}");
///     }
///     match acquire.wait_timeout(Duration::from_secs(60)) {
///         Some(granted) => granted,
///         None => acquire.give_up().wait(), // an error that names the blocker
///     }
/// }
/// ```
#[must_use = "a future asks for nothing until it is awaited or waited for"]
pub struct Acquire {
    /// `None` once it was ready.
    asking: Option<Answer<Result<Guard, Error>>>,
    shared: Arc<Shared>,
    request: Request,
    asked: Arc<Asked>,
}

impl Acquire {
    pub(crate) fn new(shared: Arc<Shared>, request: Request) -> Acquire {
        let asked = Arc::default();
        let asking = answer(ask(Arc::clone(&shared), request.clone(), Arc::clone(&asked)));
        Acquire { asking: Some(asking), shared, request, asked }
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](treelock::Snapshot);
    /// `None` until etcd has assigned it, and after the future was ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_etcd::{EtcdLock, Options};
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// assert_eq!(lock.acquire(&Request::new()).ticket(), None);
    /// ```
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        self.asking.as_ref().and_then(|_| self.asked.ticket())
    }

    /// Returns the blocker; `None` if nothing is in the way, or if the request is not in line yet.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Errors
    ///
    /// The same as for [`EtcdLock::blocked`](crate::EtcdLock::blocked).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// let acquire = lock.acquire(&Request::new().write("photos/2025")?);
    /// assert!(acquire.blocked().await?.is_none()); // nothing is requested yet
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        let Some(ticket) = self.ticket() else { return Answer::ready(Ok(None)) };
        let request = self.request.clone();
        self.shared.answer(move |shared| async move {
            shared.namespace().in_the_way(&request, ticket).await
        })
    }

    /// Stops waiting and leaves the line. Returns the guard if the lock was granted meanwhile.
    ///
    /// If the request was not made yet, it is made now and does not wait, as with
    /// [`try_acquire`](crate::EtcdLock::try_acquire).
    ///
    /// # Cancel safety
    ///
    /// If the answer is dropped, the request leaves in the background.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Blocked`], which names the blocker, and with the errors of
    /// [`EtcdLock::acquire`](crate::EtcdLock::acquire). If the cluster does not answer, the call is
    /// retried for ten seconds before it fails with [`Error::Unavailable`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use treelock_etcd::{Error, EtcdLock, Guard, treelock::Request};
    ///
    /// async fn soon(lock: &EtcdLock, request: &Request) -> Result<Guard, Error> {
    ///     let mut acquire = lock.acquire(request);
    ///     match tokio::time::timeout(Duration::from_secs(5), &mut acquire).await {
    ///         Ok(granted) => granted,
    ///         Err(_) => acquire.give_up().await,
    ///     }
    /// }
    /// ```
    pub fn give_up(self) -> Answer<Result<Guard, Error>> {
        if self.asking.is_none() {
            was_ready();
        }
        self.asked.give_up();
        Answer::of(self)
    }
}

#[cold]
fn was_ready() -> ! {
    panic!("an `Acquire` was used after it was ready")
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(asking) = &mut self.asking else { was_ready() };
        let done = ready!(Pin::new(asking).poll(context));
        self.asking = None;
        Poll::Ready(done)
    }
}

impl Wait for Acquire {}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ticket = self.ticket();
        write!(f, "Acquire({}", self.request)?;
        match ticket {
            Some(ticket) => write!(f, ", ticket {ticket})"),
            None => f.write_str(")"),
        }
    }
}
