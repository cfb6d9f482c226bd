//! An engine before its judges: [`Judged`].

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use treelock::{
    Blocked, Request, Snapshot, Wait,
    engine::{Engine, EngineError, Finding, Pending},
};

use crate::{
    judged_guard::JudgedGuard,
    judged_task::JudgedTask,
    setting::Setting,
    subject::{STUCK, Subject, Wakes},
};

/// An engine, shown to the suite by its own verbs: those of [`treelock::engine`].
///
/// `EXACT` engines ([`Judged::exact`]) promise to wake a task once, in the step that grants it, and
/// never else. All others are [late](Judged::late).
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, leaving};
///
/// leaving::every_way_to_leave_leaves_nothing(100, || Judged::exact(TreeLock::new()));
/// ```
#[must_use = "an engine is judged by the parts of the suite"]
pub struct Judged<L: Engine, const EXACT: bool> {
    handles: Vec<L>,
    /// How often a handle was used.
    uses: AtomicUsize,
    inspect: Inspect<L>,
    excuse: Excuse,
    /// The last field, since it may own what the others are in.
    setting: Setting,
}

/// Asserts what else an engine promises.
type Inspect<L> = Arc<dyn Fn(&L, &Snapshot) + Send + Sync>;

/// Whether a finding is about the machine of the tests.
type Excuse = Arc<dyn Fn(&Finding) -> bool + Send + Sync>;

impl<L: Engine> Judged<L, true> {
    /// Shows an engine that wakes exactly, as one in memory does.
    ///
    /// # Examples
    ///
    /// See [`Judged`].
    pub fn exact(lock: L) -> Judged<L, true> {
        Judged::new(lock)
    }
}

impl<L: Engine> Judged<L, false> {
    /// Shows an engine that wakes at latest some seconds after a grant, and maybe before it, in
    /// vain: one that hears of a grant from other processes.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::{Judged, scenarios};
    ///
    /// scenarios::every_scenario_prints_what_it_says(|| Judged::late(TreeLock::new()));
    /// ```
    pub fn late(lock: L) -> Judged<L, false> {
        Judged::new(lock)
    }
}

impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    fn new(lock: L) -> Judged<L, EXACT> {
        Judged {
            handles: vec![lock],
            uses: AtomicUsize::new(0),
            inspect: Arc::new(|_, _| {}),
            excuse: Arc::new(|_| false),
            setting: Setting::default(),
        }
    }

    /// Adds another handle of the same lock that knows nothing of the first, as one in another
    /// process. They are used in turns.
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
    pub fn keeping(mut self, kept: impl Any + Send + Sync) -> Judged<L, EXACT> {
        self.setting.keep(kept);
        self
    }

    /// Uses the engine within what `enter` returns, such as the context of a runtime: each call,
    /// poll, wait and drop.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// // With tokio, and a runtime in a static: .within(|| RUNTIME.enter())
    /// let judged = Judged::exact(TreeLock::new()).within(|| ());
    /// ```
    pub fn within<G: Any>(
        mut self,
        enter: impl Fn() -> G + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.setting.set_enter(enter);
        self
    }

    /// Has `inspect` assert what else the engine promises, of each handle, at moments when nobody
    /// uses it. Requests are labelled with their number, from 1 on, failed ones counted.
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
    pub fn inspected(
        mut self,
        inspect: impl Fn(&L, &Snapshot) + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.inspect = Arc::new(inspect);
        self
    }

    /// Excuses bad findings of [`check`](Engine::check) that concern the machine on which the tests
    /// run, and are not the engine's fault.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// let judged = Judged::exact(TreeLock::new())
    ///     .excusing(|finding| finding.what.contains("an old kernel"));
    /// ```
    pub fn excusing(
        mut self,
        excuse: impl Fn(&Finding) -> bool + Send + Sync + 'static,
    ) -> Judged<L, EXACT> {
        self.excuse = Arc::new(excuse);
        self
    }

    /// Waits at most this long for each answer, instead of 20 seconds. For an engine that is known
    /// to have a flaw.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::TreeLock;
    /// use treelock_conformance::Judged;
    ///
    /// let judged = Judged::exact(TreeLock::new()).answering_within(Duration::from_secs(1));
    /// ```
    pub fn answering_within(mut self, timeout: Duration) -> Judged<L, EXACT> {
        self.setting.set_answer_timeout(timeout);
        self
    }

    /// The lock, by the handle whose turn it is.
    pub(crate) fn lock(&self) -> &L {
        let used = self.uses.fetch_add(1, Ordering::Relaxed);
        &self.handles[used % self.handles.len()]
    }

    pub(crate) fn excuses(&self, finding: &Finding) -> bool {
        (self.excuse)(finding)
    }

    pub(crate) fn handles(&self) -> &[L] {
        &self.handles
    }

    pub(crate) fn setting(&self) -> &Setting {
        &self.setting
    }

    fn granted_or_blocked(
        &self,
        asked: Result<L::Guard, L::Error>,
        lock: &L,
    ) -> Result<JudgedGuard<L, EXACT>, Blocked> {
        match asked {
            Ok(guard) => Ok(JudgedGuard::new(guard, lock.clone(), self.setting.clone())),
            Err(error) => Err(blocked_by_this_process(&error)),
        }
    }
}

impl<L: Engine, const EXACT: bool> fmt::Debug for Judged<L, EXACT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judged").field("handles", &self.handles).finish_non_exhaustive()
    }
}

/// Who is in the way, without its process: the suite is one.
fn blocked_by_this_process<E: EngineError>(error: &E) -> Blocked {
    let blocked = error.blocked().cloned();
    let mut blocked = blocked.unwrap_or_else(|| panic!("the engine failed: {error}"));
    if let Some(process) = blocked.process.take() {
        assert_eq!(process.pid, std::process::id(), "the blocker's process");
    }
    blocked
}

impl<L: Engine, const EXACT: bool> Subject for Judged<L, EXACT> {
    type Task = JudgedTask<L, EXACT>;
    type Guard = JudgedGuard<L, EXACT>;

    const WAKES: Wakes = if EXACT { Wakes::Exact } else { Wakes::Within(STUCK) };

    fn acquire(&self, request: &Request) -> JudgedTask<L, EXACT> {
        let lock = self.lock();
        let acquire = self.setting.within(|| lock.acquire(request));
        JudgedTask::new(acquire, lock.clone(), self.setting.clone())
    }

    fn try_acquire(&self, request: &Request) -> Result<JudgedGuard<L, EXACT>, Blocked> {
        let lock = self.lock();
        let tried = self.setting.answer(|| lock.try_acquire(request));
        self.granted_or_blocked(tried, lock)
    }

    fn acquire_timeout(
        &self,
        request: &Request,
        timeout: Duration,
    ) -> Result<JudgedGuard<L, EXACT>, Blocked> {
        let lock = self.lock();
        let mut acquire = self.setting.within(|| lock.acquire(request));
        let waited = match self.setting.within(|| acquire.wait_timeout(timeout)) {
            Some(granted) => granted,
            None => self.setting.answer(|| acquire.give_up()),
        };
        self.granted_or_blocked(waited, lock)
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.setting.success(|| self.lock().snapshot());
        snapshot.entries.iter_mut().for_each(|entry| entry.process = None);
        snapshot
    }

    fn inspect(&self, snapshot: &Snapshot) {
        let inspect = |lock| self.setting.within(|| (self.inspect)(lock, snapshot));
        self.handles.iter().for_each(inspect);
    }
}
