//! A `TreeLock` that breaks the grammar in one way at a time.

use std::{
    collections::BTreeMap,
    error, fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use treelock::{
    Answer, Blocked, FencingToken, Guard, NodeError, Request, Snapshot, State, TreeLock, Wait,
    engine::{Engine, EngineError, Events, Finding, Held, Pending, What},
};

use crate::verb_flaw::Flaw;

/// Short, and longer than what comes at once.
const LATE: Duration = Duration::from_millis(60);

/// What the lock and all that came of it share.
#[derive(Debug)]
struct Shared {
    lock: TreeLock,
    flaw: Flaw,
    /// Taken to read the table, and by those who do something under the mutex.
    mutex: Mutex<()>,
    /// How many grants each first root had.
    grants: Mutex<BTreeMap<String, u64>>,
    /// How many futures were made.
    futures: Mutex<u64>,
    closed: Mutex<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Debug)]
pub(crate) struct Flawed {
    shared: Arc<Shared>,
    /// Of the handles only.
    handles: Arc<()>,
}

impl Flawed {
    pub(crate) fn new(flaw: Flaw) -> Flawed {
        let (mutex, grants, futures, closed) = Default::default();
        let shared = Shared { lock: TreeLock::new(), flaw, mutex, grants, futures, closed };
        Flawed { shared: Arc::new(shared), handles: Arc::new(()) }
    }
}

impl Shared {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn guard(
        self: &Arc<Shared>,
        inner: Guard,
        made: u64,
        handles: &Weak<()>,
    ) -> Result<FlawedGuard, FlawedError> {
        if *locked(&self.closed) {
            return Err(self.refuse());
        }
        let count = inner.request().roots().count();
        if self.has(Flaw::RefusesManyRoots) && count > 100 {
            return Err(self.refuse());
        }
        let request = match self.flaw {
            Flaw::ForgetsTheLabel => inner.request().roots().map(|(a, n)| (a, n.clone())).collect(),
            _ => inner.request().clone(),
        };
        let root = request.roots().next().map(|(_, node)| node.to_string()).unwrap_or_default();
        let grants = {
            let mut grants = locked(&self.grants);
            let count = grants.entry(root).or_default();
            *count += 1;
            *count
        };
        let token = FencingToken::new(match self.flaw {
            Flaw::TokenStands => 7,
            Flaw::TokenFalls => u64::MAX - inner.ticket(),
            Flaw::TokenOfTheRoot => grants,
            Flaw::TokenOfTheFuture => made,
            _ => inner.token().get(),
        });
        let released = Arc::default();
        let (shared, handles) = (self.clone(), handles.clone());
        Ok(FlawedGuard { inner: Some(inner), request, token, released, handles, shared })
    }

    fn error(&self, blocked: Blocked) -> FlawedError {
        FlawedError { cause: blocked.into(), flaw: self.flaw }
    }

    /// An error that names nobody.
    fn refuse(&self) -> FlawedError {
        FlawedError::from("..".parse::<treelock::Node>().expect_err("no node"))
    }

    /// The request as it is asked.
    fn request(&self, request: &Request) -> Request {
        if !self.has(Flaw::ForgetsRoots) || request.roots().count() <= 100 {
            return request.clone();
        }
        request.roots().take(100).map(|(access, node)| (access, node.clone())).collect()
    }

    /// Takes the mutex if that is the flaw.
    fn under_the_mutex(&self, flaw: Flaw) -> Option<MutexGuard<'_, ()>> {
        self.has(flaw).then(|| locked(&self.mutex))
    }

    fn forget_in_line(&self, request: &Request) {
        let mut acquire = self.lock.acquire(request);
        let _ = acquire.wait_timeout(Duration::ZERO);
        mem::forget(acquire);
    }
}

impl Engine for Flawed {
    type Acquire = FlawedAcquire;
    type Guard = FlawedGuard;
    type Error = FlawedError;

    fn acquire(&self, request: &Request) -> FlawedAcquire {
        let request = self.shared.request(request);
        let made = {
            let mut futures = locked(&self.shared.futures);
            *futures += 1;
            *futures
        };
        FlawedAcquire {
            inner: Some(self.shared.lock.acquire(&request)),
            request,
            made,
            last_ticket: None,
            seen: Mutex::default(),
            handles: Arc::downgrade(&self.handles),
            shared: self.shared.clone(),
        }
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<FlawedGuard, FlawedError>> {
        let mut acquire = self.acquire(request);
        if self.shared.has(Flaw::TryWaits) {
            return Answer::of(acquire);
        }
        let tried = acquire.inner.take().expect("new").give_up().wait();
        if self.shared.has(Flaw::TryStaysInLine) && tried.is_err() {
            self.shared.forget_in_line(request);
        }
        Answer::ready(match tried {
            Ok(guard) => self.shared.guard(guard, acquire.made, &acquire.handles),
            Err(blocked) => Err(self.shared.error(blocked)),
        })
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, FlawedError>> {
        let mut blocked = self.shared.lock.blocked(request).wait();
        match self.shared.flaw {
            Flaw::LookingStaysInLine => self.shared.forget_in_line(request),
            Flaw::LookingSeesHoldersOnly => {
                blocked = blocked.filter(|blocked| blocked.state == treelock::State::Held);
            }
            _ => {}
        }
        Answer::ready(Ok(blocked))
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, FlawedError>> {
        let _table = locked(&self.shared.mutex);
        self.shared.lock.snapshot().map(Ok)
    }

    fn events(&self) -> Answer<Result<Events<FlawedError>, FlawedError>> {
        let (lock, flaw) = (self.shared.lock.clone(), self.shared.flaw);
        let events = Events::looking(move || Ok(lock.snapshot().wait()));
        let mut events: Events<FlawedError> = events.expect("there are threads");
        let mut again = None;
        Answer::ready(Ok(Events::of(move |context| {
            if let Some(event) = again.take() {
                return Poll::Ready(Ok(event));
            }
            loop {
                let event = ready!(Pin::new(&mut events.next()).poll(context))?;
                again = Some(event.clone()).filter(|_| flaw == Flaw::TellsTwice);
                match (flaw, &event.what) {
                    (Flaw::TellsOnlyChanges, What::Live(..))
                    | (Flaw::TellsNoGrants, What::Granted(_))
                    | (Flaw::TellsOnlyReleases, What::Left(State::Waiting, _)) => {}
                    _ => return Poll::Ready(Ok(event)),
                }
            }
        })))
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, FlawedError>> {
        Answer::ready(match self.shared.flaw {
            Flaw::FindsItselfBad => Ok(vec![Finding::bad("it has a flaw", "mend it")]),
            Flaw::CheckFails => Err(self.shared.refuse()),
            _ => Ok(vec![Finding::good("it has no flaw here")]),
        })
    }

    fn settled(&self) -> Answer<()> {
        match self.shared.flaw {
            Flaw::ClosesTooEarly => Answer::of(async { thread::sleep(2 * LATE) }),
            _ => Answer::ready(()),
        }
    }

    fn close(&self) -> Answer<()> {
        *locked(&self.shared.closed) = self.shared.has(Flaw::ClosesForEver);
        Answer::ready(())
    }
}

pub(crate) struct FlawedAcquire {
    /// Until it is ready.
    inner: Option<treelock::Acquire>,
    request: Request,
    made: u64,
    /// When it was last polled.
    last_ticket: Option<u64>,
    /// The last blocker that was seen.
    seen: Mutex<Option<Blocked>>,
    handles: Weak<()>,
    shared: Arc<Shared>,
}

impl fmt::Debug for FlawedAcquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FlawedAcquire")
    }
}

impl FlawedAcquire {
    /// Goes to the end of the line.
    fn ask_again(&mut self) {
        self.inner = Some(self.shared.lock.acquire(&self.request));
        let granted = Wait::wait_timeout(&mut &mut *self, Duration::ZERO);
        assert!(granted.is_none(), "granted to who lost its place");
    }
}

impl Future for FlawedAcquire {
    type Output = Result<FlawedGuard, FlawedError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared.clone();
        let _table = shared.under_the_mutex(Flaw::ReplacesUnderTheMutex);
        let inner = self.inner.as_mut().expect("not polled after it was ready");
        let Poll::Ready(guard) = Pin::new(&mut *inner).poll(context) else {
            self.last_ticket = inner.ticket();
            return Poll::Pending;
        };
        self.inner = None;
        Poll::Ready(self.shared.guard(guard, self.made, &self.handles))
    }
}

impl Drop for FlawedAcquire {
    fn drop(&mut self) {
        let _table = self.shared.under_the_mutex(Flaw::LeavesUnderTheMutex);
        self.inner = None;
    }
}

impl Wait for FlawedAcquire {
    fn wait_timeout(&mut self, timeout: Duration) -> Option<Self::Output> {
        let granted = Wait::wait_timeout(&mut &mut *self, timeout);
        if granted.is_none() && self.shared.has(Flaw::TimeOutLosesThePlace) {
            self.ask_again();
        }
        granted
    }

    fn wait_deadline(&mut self, deadline: Instant) -> Option<Self::Output> {
        let granted = Wait::wait_deadline(&mut &mut *self, deadline);
        if granted.is_none() && self.shared.has(Flaw::DeadlineLosesThePlace) {
            self.ask_again();
        }
        granted
    }
}

impl Pending for FlawedAcquire {
    type Guard = FlawedGuard;
    type Error = FlawedError;

    fn ticket(&self) -> Option<u64> {
        let ticket = self.inner.as_ref().and_then(treelock::Acquire::ticket);
        match self.shared.flaw {
            Flaw::TellsATicketTooEarly => ticket.or(Some(0)),
            Flaw::TellsAnotherTicket => ticket.map(|ticket| ticket + 7),
            Flaw::TellsATicketTooLate => ticket.or(self.last_ticket),
            _ => ticket,
        }
    }

    fn blocked(&self) -> Answer<Result<Option<Blocked>, FlawedError>> {
        let inner = self.inner.as_ref();
        let mut blocked = inner.and_then(|inner| inner.blocked().wait());
        let mut seen = locked(&self.seen);
        match self.shared.flaw {
            Flaw::PendingNamesNobody => blocked = None,
            Flaw::PendingNamesWhoLeft => blocked = blocked.or(seen.take()),
            _ => {}
        }
        seen.clone_from(&blocked);
        Answer::ready(Ok(blocked))
    }

    fn give_up(mut self) -> Answer<Result<FlawedGuard, FlawedError>> {
        let unasked = self.last_ticket.is_none();
        match self.shared.flaw {
            Flaw::GivingUpWaits if unasked => return Answer::of(self),
            Flaw::GivingUpAsksNothing if unasked => {
                return Answer::ready(Err(self.shared.refuse()));
            }
            _ => {}
        }
        Answer::ready(match self.inner.take().expect("was not ready").give_up().wait() {
            Ok(_) if self.shared.has(Flaw::GivingUpDropsTheGrant) => Err(self.shared.refuse()),
            Ok(guard) => self.shared.guard(guard, self.made, &self.handles),
            Err(_) if self.shared.has(Flaw::GivingUpNamesNobody) => Err(self.shared.refuse()),
            Err(blocked) => {
                if self.shared.has(Flaw::GivingUpStaysInLine) {
                    self.shared.forget_in_line(&self.request);
                }
                Err(self.shared.error(blocked))
            }
        })
    }
}

pub(crate) struct FlawedGuard {
    /// Until it is released.
    inner: Option<Guard>,
    request: Request,
    token: FencingToken,
    released: Arc<Mutex<bool>>,
    handles: Weak<()>,
    shared: Arc<Shared>,
}

impl fmt::Debug for FlawedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlawedGuard({})", self.request)
    }
}

impl Held for FlawedGuard {
    fn request(&self) -> &Request {
        &self.request
    }

    fn ticket(&self) -> u64 {
        let other = u64::from(self.shared.has(Flaw::GuardTellsAnotherTicket));
        self.inner.as_ref().expect("not yet released").ticket() + other
    }

    fn token(&self) -> FencingToken {
        self.token
    }

    fn is_valid(&self) -> bool {
        !self.shared.has(Flaw::IsNeverValid)
    }

    fn lost(&self) -> Answer<()> {
        match self.shared.flaw {
            Flaw::IsLostAtOnce => Answer::ready(()),
            Flaw::IsLostByRelease => {
                let released = self.released.clone();
                Answer::of(std::future::poll_fn(move |_| match *locked(&released) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }))
            }
            _ => Answer::never(),
        }
    }

    fn release(mut self) -> Answer<()> {
        *locked(&self.released) = true;
        let inner = self.inner.take().expect("released once");
        let _table = self.shared.under_the_mutex(Flaw::WakesUnderTheMutex);
        match self.shared.flaw {
            Flaw::ReleaseDoesNothing => mem::forget(inner),
            Flaw::NeedsAHandle if self.handles.upgrade().is_none() => mem::forget(inner),
            Flaw::ReleaseIsLate => later(inner),
            Flaw::ReleaseMustBeAwaited => {
                let mut kept = UnlessAwaited(Some(inner));
                return Answer::of(async move { drop(kept.0.take()) });
            }
            _ => drop(inner),
        }
        Answer::ready(())
    }
}

/// Forgets what it still has.
struct UnlessAwaited(Option<Guard>);

impl Drop for UnlessAwaited {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}

fn later<T: Send + 'static>(dropped: T) {
    thread::spawn(move || {
        thread::sleep(LATE);
        drop(dropped);
    });
}

impl Drop for FlawedGuard {
    fn drop(&mut self) {
        let inner = self.inner.take();
        match self.shared.flaw {
            Flaw::DropDoesNothing => mem::forget(inner),
            Flaw::SettlesTooEarly | Flaw::ClosesTooEarly => later(inner),
            _ => drop(inner),
        }
    }
}

#[derive(Debug)]
pub(crate) struct FlawedError {
    cause: treelock::Error,
    flaw: Flaw,
}

impl fmt::Display for FlawedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flaw {
            Flaw::SentenceNamesNobody => f.write_str("somebody is in the way"),
            _ => self.cause.fmt(f),
        }
    }
}

impl error::Error for FlawedError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        (self.flaw == Flaw::SaysItTwice).then_some(&self.cause)
    }
}

impl From<Blocked> for FlawedError {
    fn from(blocked: Blocked) -> FlawedError {
        FlawedError { cause: blocked.into(), flaw: Flaw::None }
    }
}

impl From<NodeError> for FlawedError {
    fn from(error: NodeError) -> FlawedError {
        FlawedError { cause: error.into(), flaw: Flaw::None }
    }
}

impl EngineError for FlawedError {
    fn blocked(&self) -> Option<&Blocked> {
        self.cause.blocked()
    }

    fn is_timeout(&self) -> bool {
        self.blocked().is_some() && self.flaw != Flaw::BlockedIsNoTimeOut
    }

    fn is_lost(&self) -> bool {
        self.flaw == Flaw::BlockedIsALoss
    }

    fn is_unavailable(&self) -> bool {
        self.flaw == Flaw::BlockedIsUnavailable
    }
}
