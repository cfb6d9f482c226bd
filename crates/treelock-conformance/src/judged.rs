//! An engine before its judges: [`Judged`].

use std::{
    any::Any,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::{
    Blocked, Request, Snapshot, Wait,
    engine::{Engine, EngineError, Finding, Held, Pending},
};

use crate::{
    polled::Count,
    subject::{STUCK, Subject, Task, Wakes},
};

/// An engine, shown to the suite by its own verbs: those of [`treelock::engine`].
///
/// If `EXACT`, the engine promises to wake a task once, in the step that grants it, and never else.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, leaving};
///
/// leaving::every_way_to_leave_leaves_nothing(100, || Judged::exact(TreeLock::new()));
/// ```
pub struct Judged<L: Engine, const EXACT: bool> {
    handles: Vec<L>,
    turn: AtomicUsize,
    inspect: Inspect<L>,
    excuse: Excuse,
    setting: Setting,
}

/// What else an engine promises, asserted when nobody uses it.
type Inspect<L> = Arc<dyn Fn(&L, &Snapshot) + Send + Sync>;

type Excuse = Arc<dyn Fn(&Finding) -> bool + Send + Sync>;

/// Where everything takes place.
#[derive(Clone)]
struct Setting {
    /// Kept as long as anything of the engine's is.
    kept: Option<Arc<dyn Any + Send + Sync>>,
    /// Entered for as long as a verb is polled or waited for.
    enter: Option<Arc<dyn Fn() -> Box<dyn Any> + Send + Sync>>,
}

impl Setting {
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter.as_ref().map(|enter| enter());
        work()
    }
}

impl<L: Engine> Judged<L, true> {
    /// Shows an engine that wakes exactly.
    ///
    /// # Examples
    ///
    /// See [`Judged`].
    #[must_use]
    pub fn exact(lock: L) -> Judged<L, true> {
        Judged::new(lock)
    }
}

impl<L: Engine> Judged<L, false> {
    /// Shows an engine that wakes at latest some seconds after a grant, and maybe before it, in vain: one
    /// that hears of a grant from other processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::{Judged, scenarios};
    ///
    /// scenarios::every_scenario_prints_what_it_says(|| Judged::late(TreeLock::new()));
    /// ```
    #[must_use]
    pub fn late(lock: L) -> Judged<L, false> {
        Judged::new(lock)
    }
}

impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn new(lock: L) -> Judged<L, EXACT> {
        let setting = Setting { kept: None, enter: None };
        let (handles, turn) = (vec![lock], AtomicUsize::new(0));
        Judged { handles, turn, inspect: Arc::new(|_, _| {}), excuse: Arc::new(|_| false), setting }
    }

    /// Adds another handle of the same lock that knows nothing of the first, as one in another process. They
    /// are used in turns.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// let lock = TreeLock::new();
    /// let judged = Judged::exact(lock.clone()).and(lock);
    /// ```
    #[must_use]
    pub fn and(mut self, lock: L) -> Judged<L, EXACT> {
        self.handles.push(lock);
        self
    }

    /// Keeps something for as long as the engine is used, such as the folder that it is in.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// let judged = Judged::exact(TreeLock::new()).keeping("a folder");
    /// ```
    #[must_use]
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Judged<L, EXACT> {
        self.setting.kept = Some(Arc::new(kept));
        self
    }

    /// Polls and waits within what `enter` returns, such as the context of a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// // With tokio: .within(|| RUNTIME.enter())
    /// let judged = Judged::exact(TreeLock::new()).within(|| ());
    /// ```
    #[must_use]
    pub fn within<G: Any>(
        mut self,
        enter: impl Fn() -> G + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.setting.enter = Some(Arc::new(move || Box::new(enter())));
        self
    }

    /// Has `inspect` assert what else the engine promises, of each handle, at moments when nobody uses it.
    /// Requests are labelled with their number, from 1 on, failed ones counted.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// let judged = Judged::exact(TreeLock::new()).inspected(|lock, snapshot| {
    ///     assert_eq!(lock.held_count(), snapshot.held().count());
    /// });
    /// ```
    #[must_use]
    pub fn inspected(
        mut self,
        inspect: impl Fn(&L, &Snapshot) + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.inspect = Arc::new(inspect);
        self
    }

    /// Sets which bad findings of `check` are about the machine of the tests, and no fault of the engine.
    ///
    /// # Examples
    ///
    /// See [`Judged`].
    #[must_use]
    pub fn excusing(
        mut self,
        excuse: impl Fn(&Finding) -> bool + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.excuse = Arc::new(excuse);
        self
    }

    pub(crate) fn excuses(&self, finding: &Finding) -> bool {
        (self.excuse)(finding)
    }

    pub(crate) fn handles(&self) -> &[L] {
        &self.handles
    }

    /// The handle whose turn it is.
    pub(crate) fn lock(&self) -> L {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.handles[turn % self.handles.len()].clone()
    }

    /// What is to be polled or waited for is so in here.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        self.setting.within(work)
    }

    fn kept(&self, asked: Result<L::Guard, L::Error>) -> Result<Kept<L::Guard>, Blocked> {
        match asked {
            Ok(guard) => Ok(Kept { guard: Some(guard), setting: self.setting.clone() }),
            Err(error) => Err(of_this_process(error)),
        }
    }
}

impl<L: Engine, const EXACT: bool> fmt::Debug for Judged<L, EXACT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged").field("handles", &self.handles).finish_non_exhaustive()
    }
}

/// Who is in the way, without its process: the suite is one.
fn of_this_process<E: EngineError>(error: E) -> Blocked {
    let mut blocked = match error.blocked() {
        Some(blocked) => blocked.clone(),
        None => panic!("an engine that fails: {error}"),
    };
    if let Some(process) = blocked.process.take() {
        assert_eq!(process.pid, std::process::id(), "the blocker's process");
    }
    blocked
}

/// A guard whose drop returns when the lock is released.
pub struct Kept<G: Held> {
    guard: Option<G>,
    setting: Setting,
}

impl<G: Held> Drop for Kept<G> {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.setting.within(|| guard.release().wait());
        }
    }
}

impl<G: Held> fmt::Debug for Kept<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.guard).finish()
    }
}

/// A request that is polled by hand, with a waker that counts.
pub struct Polling<L: Engine, const EXACT: bool> {
    lock: L,
    /// Until it was ready.
    acquire: Option<L::Acquire>,
    wakes: Arc<Count>,
    setting: Setting,
}

impl<L: Engine, const EXACT: bool> Polling<L, EXACT> {
    fn poll_once(&mut self) -> Option<Kept<L::Guard>> {
        let acquire = self.acquire.as_mut().expect("not polled after it was ready");
        // A wake-up that comes before the poll does is answered by the poll, so it may be forgotten.
        self.wakes.forget();
        let waker = Waker::from(self.wakes.clone());
        let poll = || Pin::new(acquire).poll(&mut Context::from_waker(&waker));
        match self.setting.within(poll) {
            Poll::Pending => None,
            Poll::Ready(granted) => {
                self.acquire = None;
                let guard = granted.unwrap_or_else(|error| panic!("an engine that fails: {error}"));
                Some(Kept { guard: Some(guard), setting: self.setting.clone() })
            }
        }
    }

    /// Whether somebody is in the way, by the engine's own word.
    fn is_blocked(&self) -> bool {
        let acquire = self.acquire.as_ref().expect("it is still asking");
        let blocked = self.setting.within(|| acquire.blocked().wait());
        blocked.unwrap_or_else(|error| panic!("an engine that fails: {error}")).is_some()
    }
}

impl<L: Engine, const EXACT: bool> Task for Polling<L, EXACT> {
    type Guard = Kept<L::Guard>;

    /// Polls once, or until it is ready or rightly waits: what an engine asks of others is on its way for a
    /// while.
    fn poll(&mut self) -> Option<Kept<L::Guard>> {
        let start = Instant::now();
        loop {
            let polled = self.poll_once();
            if EXACT || polled.is_some() || (self.is_blocked() && self.wakes.count() == 0) {
                return polled;
            }
            assert!(start.elapsed() < STUCK, "a grant that is not seen");
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn poll_elsewhere(&mut self) -> Option<Kept<L::Guard>> {
        self.wakes = Arc::default();
        self.poll()
    }

    fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

impl<L: Engine, const EXACT: bool> Drop for Polling<L, EXACT> {
    fn drop(&mut self) {
        if let Some(acquire) = self.acquire.take() {
            drop(acquire);
            self.setting.within(|| self.lock.settled().wait());
        }
    }
}

impl<L: Engine, const EXACT: bool> fmt::Debug for Polling<L, EXACT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polling").field("acquire", &self.acquire).finish_non_exhaustive()
    }
}

impl<L: Engine, const EXACT: bool> Subject for Judged<L, EXACT> {
    type Task = Polling<L, EXACT>;
    type Guard = Kept<L::Guard>;

    const WAKES: Wakes = if EXACT { Wakes::Exact } else { Wakes::Within(STUCK) };

    fn acquire(&self, request: &Request) -> Polling<L, EXACT> {
        let lock = self.lock();
        let acquire = Some(lock.acquire(request));
        Polling { lock, acquire, wakes: Arc::default(), setting: self.setting.clone() }
    }

    fn try_acquire(&self, request: &Request) -> Result<Kept<L::Guard>, Blocked> {
        let tried = self.enter(|| self.lock().try_acquire(request).wait());
        self.kept(tried)
    }

    fn acquire_timeout(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<Kept<L::Guard>, Blocked> {
        let waited = self.enter(|| {
            let mut acquire = self.lock().acquire(request);
            match acquire.wait_timeout(timeout) {
                Some(granted) => granted,
                None => acquire.give_up().wait(),
            }
        });
        self.kept(waited)
    }

    fn snapshot(&self) -> Snapshot {
        let seen = self.enter(|| self.lock().snapshot().wait());
        let mut snapshot = seen.unwrap_or_else(|error| panic!("an engine that fails: {error}"));
        snapshot.entries.iter_mut().for_each(|entry| entry.process = None);
        snapshot
    }

    fn inspect(&self, snapshot: &Snapshot) {
        self.handles.iter().for_each(|lock| (self.inspect)(lock, snapshot));
    }
}
