//! The suite's view of an engine, and how the suite waits for it.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request, Snapshot};

/// Something that grants sub-trees by rule C1. Each value has its own lock table, empty at first.
///
/// An engine with the verbs of [`treelock::engine`] becomes one as a [`Judged`](crate::Judged).
/// Implement it yourself for anything else: requests that live in other processes, or a model with
/// a flaw. If requests can fail (C19), unwrap: in the suite nothing may fail.
///
/// # Examples
///
/// The lock in memory, by its own verbs:
///
/// ```
/// use std::time::{Duration, Instant};
/// use treelock::{Blocked, Request, Snapshot, TreeLock, Wait};
/// use treelock_conformance::{Polled, Subject, Wakes, poll_until, scenarios};
///
/// struct Mine(TreeLock);
///
/// impl Subject for Mine {
///     type Task = Polled<treelock::Guard>;
///     type Guard = treelock::Guard;
///
///     const WAKES: Wakes = Wakes::Exact;
///
///     fn acquire(&self, request: &Request) -> Polled<treelock::Guard> {
///         Polled::new(self.0.acquire(request))
///     }
///
///     fn try_acquire(&self, request: &Request) -> Result<treelock::Guard, Blocked> {
///         self.0.try_acquire(request).wait()
///     }
///
///     fn acquire_timeout(
///         &self,
///         request: &Request,
///         timeout: Duration,
///     ) -> Result<treelock::Guard, Blocked> {
///         let guard = poll_until(self, request, Instant::now() + timeout);
///         guard.map_or_else(|| self.try_acquire(request), Ok)
///     }
///
///     fn snapshot(&self) -> Snapshot {
///         self.0.snapshot().wait()
///     }
/// }
///
/// scenarios::every_scenario_prints_what_it_says(|| Mine(TreeLock::new()));
/// ```
pub trait Subject {
    /// A request that waits.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    type Task: Task<Guard = Self::Guard>;

    /// A grant. Dropping it releases, before the drop returns (C11).
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    type Guard;

    /// What this engine promises of wake-ups.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    const WAKES: Wakes;

    /// Returns a task that asks for nothing until its first poll (C5). When that poll has returned,
    /// the request is in line or granted, and every snapshot shows it.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    fn acquire(&self, request: &Request) -> Self::Task;

    /// Asks without waiting. A failure leaves no trace (C14).
    ///
    /// # Errors
    ///
    /// Who is in the way.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    fn try_acquire(&self, request: &Request) -> Result<Self::Guard, Blocked>;

    /// Asks and waits for a limited time. A time-out of zero joins the line and withdraws at once.
    ///
    /// What cannot block a thread may use [`poll_until`].
    ///
    /// # Blocking
    ///
    /// Until the request is granted or the time is over.
    ///
    /// # Errors
    ///
    /// Who is in the way when the time is over.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    fn acquire_timeout(&self, request: &Request, timeout: Duration)
    -> Result<Self::Guard, Blocked>;

    /// Returns all live requests at one moment (C16). The fields that only some engines fill are
    /// cleared, as the scenarios print the table.
    ///
    /// # Examples
    ///
    /// See [`Subject`].
    fn snapshot(&self) -> Snapshot;

    /// Asserts what else the engine promises, at a moment when nobody uses it. `snapshot` is of
    /// this moment. Requests are labelled with their number, counted from 1 with those that failed.
    ///
    /// # Examples
    ///
    /// See [`Judged::inspected`](crate::Judged::inspected).
    fn inspect(&self, snapshot: &Snapshot) {
        let _ = snapshot;
    }
}

/// A request that waits, polled by hand as an executor would.
///
/// Dropping it gives back what it has before the drop returns: its place in the line, or the grant
/// that it has not seen (C10). It is not polled again after it returned its guard.
///
/// # Examples
///
/// See [`Polled`](crate::Polled).
pub trait Task {
    /// What it gets when it is granted.
    ///
    /// # Examples
    ///
    /// See [`Polled`](crate::Polled).
    type Guard;

    /// Polls with the waker of the last poll. Returns the guard if the request is granted.
    ///
    /// # Examples
    ///
    /// See [`Polled`](crate::Polled).
    fn poll(&mut self) -> Option<Self::Guard>;

    /// Polls with a new waker, as a task does that moved to another executor. The old one does not
    /// count from then on.
    ///
    /// # Examples
    ///
    /// See [`Polled`](crate::Polled).
    fn poll_elsewhere(&mut self) -> Option<Self::Guard>;

    /// Returns how often it was woken since its last poll began.
    ///
    /// # Examples
    ///
    /// See [`Polled`](crate::Polled).
    fn wakes(&self) -> usize;
}

/// Nobody holds anything for long in the suite, so what takes this long never comes.
pub(crate) const STUCK: Duration = Duration::from_secs(20);

/// When a task is woken.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, Subject, Wakes};
///
/// assert_eq!(<Judged<TreeLock, true>>::WAKES, Wakes::Exact);
/// assert_eq!(<Judged<TreeLock, false>>::WAKES, Wakes::Within(Duration::from_secs(20)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// Once, in the step that grants it, and never else.
    Exact,
    /// At the latest this long after its grant, and maybe before it, in vain. Choose it so that
    /// only a lost wake-up takes longer.
    Within(Duration),
}

/// Polls a new task until it is granted, and drops it if the time is over before. For a [`Subject`]
/// that cannot block a thread.
///
/// # Blocking
///
/// Until the task is granted or the deadline has come.
///
/// # Examples
///
/// See [`Subject`].
pub fn poll_until<E: Subject>(
    engine: &E,
    request: &Request,
    deadline: Instant,
) -> Option<E::Guard> {
    let mut task = engine.acquire(request);
    loop {
        if let Some(guard) = task.poll() {
            return Some(guard);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::yield_now();
    }
}

/// Asserts that a waiting task was woken if it is granted, and as the engine promises if it is not.
///
/// Who was woken in vain is polled, as an executor would, so that it can be woken again.
pub(crate) fn check_wakes<E: Subject>(task: &mut E::Task, granted: bool, who: &dyn Display) {
    match E::WAKES {
        Wakes::Exact => assert_eq!(task.wakes(), usize::from(granted), "wake-ups of {who}"),
        Wakes::Within(limit) if granted => {
            let woken = wait_for(limit, || task.wakes() > 0);
            assert!(woken, "a lost wake-up: {limit:?} after its grant, nobody woke {who}");
        }
        Wakes::Within(_) if task.wakes() > 0 => {
            assert!(task.poll().is_none(), "a grant that the rule forbids: {who}");
        }
        Wakes::Within(_) => {}
    }
}

/// Returns whether something happened within the limit.
pub(crate) fn wait_for(limit: Duration, happened: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !happened() {
        if start.elapsed() >= limit {
            return happened();
        }
        // Short, and not a yield: who is to wake us may need this processor.
        thread::park_timeout(Duration::from_micros(20));
    }
    true
}

/// Asserts that nobody is in the table.
pub(crate) fn assert_empty<E: Subject>(engine: &E) {
    let snapshot = engine.snapshot();
    assert!(snapshot.entries.is_empty(), "left behind:\n{snapshot}");
    engine.inspect(&snapshot);
}
