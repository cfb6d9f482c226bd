//! The future of a request: [`Acquire`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use treelock::{Blocked, Request};

use crate::{
    ask::{Asked, ask},
    error::Error,
    guard::Guard,
    shared::Shared,
};

/// The future of [`EtcdLock::acquire`](crate::EtcdLock::acquire).
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has, in the background.
///
/// # Panics
///
/// If polled again after it was ready.
///
/// # Examples
///
/// See [`EtcdLock::acquire`](crate::EtcdLock::acquire).
#[must_use = "a future asks for nothing until it is awaited"]
pub struct Acquire {
    /// `None` once it was ready.
    asking: Option<Asking>,
    shared: Arc<Shared>,
    request: Request,
    asked: Arc<Asked>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Guard, Error>> + Send>>;

impl Acquire {
    pub(crate) fn new(shared: Arc<Shared>, request: Request) -> Acquire {
        let asked = Arc::default();
        let asking = ask(Arc::clone(&shared), request.clone(), Arc::clone(&asked));
        Acquire { asking: Some(Box::pin(asking)), shared, request, asked }
    }

    /// Returns the ticket, by which a [`Snapshot`](treelock::Snapshot) names the request; `None`
    /// until etcd has said what it is.
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
        self.asked.ticket()
    }

    /// Returns a future of who is in the way; `None` if nobody is, or it is not in line yet.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// The future's: those of [`EtcdLock::blocked`](crate::EtcdLock::blocked).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let acquire = lock.acquire(&Request::new().write("photos/2025")?);
    /// assert!(acquire.blocked().await?.is_none()); // it has not asked yet
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocked(&self) -> impl Future<Output = Result<Option<Blocked>, Error>> + Send + 'static {
        let (shared, request) = (self.shared.clone(), self.request.clone());
        let ticket = self.ticket();
        async move {
            let Some(ticket) = ticket else { return Ok(None) };
            let there = shared.clone();
            let look = async move { there.namespace().in_the_way(&request, ticket).await };
            shared.work(look)?.await
        }
    }

    pub(crate) fn give_up(self) -> impl Future<Output = Result<Guard, Error>> + Send + 'static {
        self.asked.give_up();
        self
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let asking = self.asking.as_mut().expect("polled after it was ready");
        let done = ready!(asking.as_mut().poll(context));
        self.asking = None;
        Poll::Ready(done)
    }
}

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
