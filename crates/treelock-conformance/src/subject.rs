//! What the suite sees of an engine, and how it waits for one.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request, Snapshot};

/// Something that grants sub-trees by rule C1. Each value has a lock table of its own, empty at first.
///
/// A [`treelock::engine::Engine`] is shown to the suite as a [`Judged`](crate::Judged), which is one. Implement
/// it yourself for what is no such engine: requests that live in other processes, or a model with a flaw.
/// If asking can fail (C19) unwrap: in the suite nothing may fail.
pub trait Subject {
    /// One request that waits.
    type Task: Task<Guard = Self::Guard>;
    /// A grant. Dropping it releases, before the drop returns (C11).
    type Guard;

    /// What this engine promises of wake-ups.
    const WAKES: Wakes;

    /// Returns a task that asks for nothing until its first poll (C5). When that poll has returned, the
    /// request is in line or granted, and every snapshot shows it.
    fn acquire(&self, request: &Request) -> Self::Task;

    /// Asks without waiting. A failed one leaves no trace (C14).
    ///
    /// # Errors
    ///
    /// Who is in the way.
    fn try_acquire(&self, request: &Request) -> Result<Self::Guard, Blocked>;

    /// Blocks the thread, for a limited time; a time-out of zero joins the line and withdraws at once.
    /// One without a blocking verb may use [`poll_until`].
    ///
    /// # Errors
    ///
    /// Who is in the way when the time is over.
    fn acquire_timeout(&self, request: &Request, timeout: Duration)
    -> Result<Self::Guard, Blocked>;

    /// All live requests at one moment (C16). The fields that only some engines fill are cleared, as the
    /// scenarios print the table.
    fn snapshot(&self) -> Snapshot;

    /// Asserts what else the engine promises, at a moment when nobody uses it. `snapshot` is of this
    /// moment; requests are labelled with their number, from 1 on, failed ones counted.
    fn inspect(&self, snapshot: &Snapshot) {
        let _ = snapshot;
    }
}

/// A request that waits, polled by hand as an executor would. Dropping it leaves, before the drop returns:
/// its place in the line, or the grant that it has not seen (C10). It is not polled again after it
/// returned its guard.
pub trait Task {
    /// What it gets when it is granted.
    type Guard;

    /// Polls with the waker of the last poll.
    fn poll(&mut self) -> Option<Self::Guard>;

    /// Polls with a new waker, as a task that moved to another executor does. The old one is not heard
    /// from then on.
    fn poll_elsewhere(&mut self) -> Option<Self::Guard>;

    /// Returns how often it was woken since its last poll began.
    fn wakes(&self) -> usize;
}

/// Nobody holds anything for long in the suite: who waits this long has lost its wake-up.
pub(crate) const STUCK: Duration = Duration::from_secs(20);

/// When a task is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// Once, in the step that grants it, and never else.
    Exact,
    /// At latest this long after its grant, and maybe before it, in vain. Set it so that only a lost
    /// wake-up is later.
    Within(Duration),
}

/// Polls a new task until it is granted or the time is over, when it is dropped.
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
