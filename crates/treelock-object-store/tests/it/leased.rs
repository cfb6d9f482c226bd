//! A lock that can refuse and be lost, as those between processes can.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use object_store::ObjectStore;
use treelock::engine::{Engine, EngineError, Finding, Held, Pending};
use treelock::{
    Acquire, Answer, Blocked, FencingToken, Guard, NodeError, Request, Snapshot, TreeLock, Wait,
};

use crate::loss::Loss;
use crate::seen::Seen;

/// The lock. It is lost when a holder looks at it, during a call of the store, or on command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leased {
    pub(crate) lock: TreeLock,
    loss: Arc<Loss>,
    refusal: Option<Refusal>,
    most_roots: Arc<AtomicUsize>,
}

impl Leased {
    pub(crate) fn refusing(refusal: Refusal) -> Leased {
        Leased { refusal: Some(refusal), ..Leased::default() }
    }

    pub(crate) fn lost_at_look(nth: usize) -> Leased {
        Leased { loss: Arc::new(Loss::at_look(nth)), ..Leased::default() }
    }

    pub(crate) fn lost_at_call(nth: usize) -> Leased {
        Leased { loss: Arc::new(Loss::at_call(nth)), ..Leased::default() }
    }

    pub(crate) fn lose(&self) {
        self.loss.set(true);
    }

    /// Makes it as if the lock had never been lost, for the next case of a test.
    pub(crate) fn find(&self) {
        self.loss.set(false);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.loss.has_come()
    }

    /// Returns how many calls that change something were begun.
    pub(crate) fn calls(&self) -> usize {
        self.loss.calls()
    }

    /// Returns how many of them were begun when the lock was lost.
    pub(crate) fn late_calls(&self) -> usize {
        self.loss.late_calls()
    }

    pub(crate) fn most_roots(&self) -> usize {
        self.most_roots.load(Ordering::SeqCst)
    }

    /// Returns a store that knows when the lock is lost, and deletes `chunk` objects in one call.
    pub(crate) fn seen(&self, inner: Arc<dyn ObjectStore>, chunk: usize) -> Seen {
        Seen::new(inner, Arc::clone(&self.loss), chunk)
    }

    fn refused(&self) -> Result<(), Refusal> {
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

impl Engine for Leased {
    type Acquire = LeasedAcquire;
    type Guard = LeasedGuard;
    type Error = Refusal;

    const MAX_ROOTS: usize = 3;

    fn acquire(&self, request: &Request) -> LeasedAcquire {
        self.most_roots.fetch_max(request.roots().count(), Ordering::SeqCst);
        LeasedAcquire { inner: self.lock.acquire(request), lock: self.clone() }
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<LeasedGuard, Refusal>> {
        self.acquire(request).give_up()
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Refusal>> {
        self.lock.blocked(request).map(Ok)
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Refusal>> {
        self.lock.snapshot().map(Ok)
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Refusal>> {
        Answer::ready(Ok(Vec::new()))
    }
}

/// A request on its way. It is refused when it asks.
#[derive(Debug)]
pub(crate) struct LeasedAcquire {
    inner: Acquire,
    lock: Leased,
}

impl Future for LeasedAcquire {
    type Output = Result<LeasedGuard, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.lock.refused()?;
        let loss = Arc::clone(&self.lock.loss);
        Pin::new(&mut self.inner).poll(cx).map(|guard| Ok(LeasedGuard { guard, loss }))
    }
}

impl Wait for LeasedAcquire {}

impl Pending for LeasedAcquire {
    type Guard = LeasedGuard;
    type Error = Refusal;

    fn ticket(&self) -> Option<u64> {
        self.inner.ticket()
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, Refusal>> {
        self.inner.blocked().map(Ok)
    }

    fn give_up(self) -> Answer<Result<LeasedGuard, Refusal>> {
        let LeasedAcquire { inner, lock } = self;
        if let Err(refusal) = lock.refused() {
            return Answer::ready(Err(refusal));
        }
        inner.give_up().map(|given_up| Ok(LeasedGuard { guard: given_up?, loss: lock.loss }))
    }
}

/// A guard that can be lost.
#[derive(Debug)]
pub(crate) struct LeasedGuard {
    guard: Guard,
    loss: Arc<Loss>,
}

impl Held for LeasedGuard {
    fn request(&self) -> &Request {
        self.guard.request()
    }

    fn ticket(&self) -> u64 {
        self.guard.ticket()
    }

    fn token(&self) -> FencingToken {
        self.guard.token()
    }

    fn is_valid(&self) -> bool {
        self.loss.look();
        !self.loss.has_come()
    }

    fn lost(&self) -> Answer<()> {
        Answer::never()
    }

    fn release(self) -> Answer<()> {
        self.guard.release()
    }
}

/// Why the lock is not granted.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    NobodyAnswers,
    LostPlace,
    InMemory(treelock::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NobodyAnswers => {
                f.write_str("nobody answers; check that the endpoints are right")
            }
            Refusal::LostPlace => f.write_str("the place in the line was lost; ask again"),
            Refusal::InMemory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Blocked> for Refusal {
    fn from(blocked: Blocked) -> Refusal {
        Refusal::InMemory(blocked.into())
    }
}

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Refusal {
        Refusal::InMemory(error.into())
    }
}

impl EngineError for Refusal {
    fn blocked(&self) -> Option<&Blocked> {
        match self {
            Refusal::InMemory(error) => error.blocked(),
            _ => None,
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Refusal::LostPlace)
    }

    fn is_unavailable(&self) -> bool {
        matches!(self, Refusal::NobodyAnswers)
    }
}
