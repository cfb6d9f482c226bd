//! A request of a judged engine, polled by hand: a [`JudgedTask`].

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::engine::{Engine, Pending};

use crate::{judged_guard::JudgedGuard, polled::Count, setting::Setting, subject::Task};

/// A request of an engine that is [`Judged`](crate::Judged), with a waker that counts. When its
/// drop returns, it has left.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
/// use treelock_conformance::{Judged, Subject, Task};
///
/// let engine = Judged::exact(TreeLock::new());
/// let request = Request::new().write("a")?;
/// let guard = engine.try_acquire(&request).unwrap();
/// let mut task = engine.acquire(&request);
/// assert!(task.poll().is_none());
/// drop(guard);
/// assert_eq!(task.wakes(), 1);
/// # Ok::<(), treelock::NodeError>(())
/// ```
pub struct JudgedTask<L: Engine, const EXACT: bool> {
    /// Until it is ready, or dropped.
    acquire: Option<L::Acquire>,
    wakes: Arc<Count>,
    lock: L,
    /// The last field, since it may own what the others are in.
    setting: Setting,
}

impl<L: Engine, const EXACT: bool> JudgedTask<L, EXACT> {
    pub(crate) fn new(acquire: L::Acquire, lock: L, setting: Setting) -> JudgedTask<L, EXACT> {
        JudgedTask { acquire: Some(acquire), wakes: Arc::default(), lock, setting }
    }

    fn poll_once(&mut self) -> Option<JudgedGuard<L, EXACT>> {
        let acquire = self.acquire.as_mut().expect("not polled after it was ready");
        // A wake-up that comes before the poll does is answered by the poll, so it may be
        // forgotten.
        self.wakes.forget();
        let waker = Waker::from(self.wakes.clone());
        let poll = || Pin::new(acquire).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(granted) = self.setting.within(poll) else { return None };
        self.acquire = None;
        let guard = granted.unwrap_or_else(|error| panic!("the engine failed: {error}"));
        Some(JudgedGuard::new(guard, self.lock.clone(), self.setting.clone()))
    }

    /// Returns whether another request is in the way, according to the engine.
    fn is_blocked(&self) -> bool {
        let acquire = self.acquire.as_ref().expect("it is still asking");
        self.setting.success(|| acquire.blocked()).is_some()
    }
}

impl<L: Engine, const EXACT: bool> Task for JudgedTask<L, EXACT> {
    type Guard = JudgedGuard<L, EXACT>;

    /// Polls once. What a late engine asks of others is on its way for a while, so it is polled
    /// until it is ready or says that it waits.
    fn poll(&mut self) -> Option<JudgedGuard<L, EXACT>> {
        let start = Instant::now();
        loop {
            let polled = self.poll_once();
            if EXACT || polled.is_some() || (self.is_blocked() && self.wakes.count() == 0) {
                return polled;
            }
            let waited = start.elapsed();
            assert!(
                waited < self.setting.answer_timeout(),
                "neither granted nor blocked by anybody"
            );
            thread::sleep(Duration::from_micros(200));
        }
    }

    fn poll_elsewhere(&mut self) -> Option<JudgedGuard<L, EXACT>> {
        self.wakes = Arc::default();
        self.poll()
    }

    fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

impl<L: Engine, const EXACT: bool> Drop for JudgedTask<L, EXACT> {
    fn drop(&mut self) {
        let Some(acquire) = self.acquire.take() else { return };
        self.setting.within(|| drop(acquire));
        if !EXACT {
            self.setting.answer(|| self.lock.settled());
        }
    }
}

impl<L: Engine, const EXACT: bool> fmt::Debug for JudgedTask<L, EXACT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedTask").field("acquire", &self.acquire).finish_non_exhaustive()
    }
}
