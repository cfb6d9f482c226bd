//! The lock of one process as an engine: the same verbs, with a `Result` around what cannot fail.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    acquire::Acquire,
    answer::Answer,
    blocked::Blocked,
    engine::{Engine, EngineError, Held, Pending},
    error::Error,
    fence::FencingToken,
    finding::Finding,
    guard::Guard,
    lock::TreeLock,
    request::Request,
    snapshot::Snapshot,
    wait::Wait,
};

impl Engine for TreeLock {
    type Acquire = Unfailing;
    type Guard = Guard;
    type Error = Error;

    fn acquire(&self, request: &Request) -> Unfailing {
        Unfailing(TreeLock::acquire(self, request))
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        TreeLock::try_acquire(self, request).map(|tried| tried.map_err(Error::from))
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        TreeLock::blocked(self, request).map(Ok)
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        TreeLock::snapshot(self).map(Ok)
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        let what = "the lock is in the memory of this process, and works as long as that does";
        Answer::ready(Ok(vec![Finding::good(what)]))
    }
}

/// An [`Acquire`] for code that works with any engine: it is never an error.
///
/// # Examples
///
/// ```
/// use treelock::engine::Engine;
/// use treelock::{Request, TreeLock, Wait};
///
/// let acquire = Engine::acquire(&TreeLock::new(), &Request::new().write("photos")?);
/// let guard = acquire.wait()?;
/// # Ok::<(), treelock::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a future asks for nothing until it is awaited or waited for"]
pub struct Unfailing(Acquire);

impl Future for Unfailing {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(Ok)
    }
}

impl Wait for Unfailing {}

impl Pending for Unfailing {
    type Guard = Guard;
    type Error = Error;

    fn ticket(&self) -> Option<u64> {
        self.0.ticket()
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        self.0.blocked().map(Ok)
    }

    fn give_up(self) -> Answer<Result<Guard, Error>> {
        self.0.give_up().map(|given_up| given_up.map_err(Error::from))
    }
}

impl Held for Guard {
    fn request(&self) -> &Request {
        self.request()
    }

    fn ticket(&self) -> u64 {
        self.ticket()
    }

    fn token(&self) -> FencingToken {
        self.token()
    }

    fn is_valid(&self) -> bool {
        self.is_valid()
    }

    fn lost(&self) -> Answer<()> {
        self.lost()
    }

    fn release(self) -> Answer<()> {
        self.release()
    }
}

impl EngineError for Error {
    fn blocked(&self) -> Option<&Blocked> {
        match self {
            Error::Blocked(blocked) => Some(blocked),
            Error::Node(_) => None,
        }
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn is_unavailable(&self) -> bool {
        false
    }
}
