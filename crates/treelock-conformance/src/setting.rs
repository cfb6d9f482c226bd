//! Where the suite uses an engine, and how long it waits for one: a [`Setting`].

use std::{any::Any, error::Error, sync::Arc, time::Duration};

use treelock::Wait;

use crate::subject::STUCK;

/// What surrounds every use of an engine.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Lives as long as anything of the engine's does.
    kept: Vec<Arc<dyn Any + Send + Sync>>,
    enter: Option<Enter>,
    answer_timeout: Duration,
}

/// Returns what lives for as long as a verb is called, polled or waited for.
type Enter = Arc<dyn Fn() -> Box<dyn Any> + Send + Sync>;

impl Default for Setting {
    fn default() -> Setting {
        Setting { kept: Vec::new(), enter: None, answer_timeout: STUCK }
    }
}

impl Setting {
    pub(crate) fn keep(&mut self, kept: impl Any + Send + Sync) {
        self.kept.push(Arc::new(kept));
    }

    pub(crate) fn set_enter<G: Any>(&mut self, enter: impl Fn() -> G + Send + Sync + 'static) {
        self.enter = Some(Arc::new(move || Box::new(enter())));
    }

    pub(crate) fn set_answer_timeout(&mut self, timeout: Duration) {
        self.answer_timeout = timeout;
    }

    pub(crate) fn answer_timeout(&self) -> Duration {
        self.answer_timeout
    }

    /// Calls, polls, waits for or drops something of the engine's.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter.as_ref().map(|enter| enter());
        work()
    }

    /// Waits for what a verb returns. Nothing in the suite waits forever: even an engine that never
    /// answers cannot make it hang.
    pub(crate) fn answer<W: Wait>(&self, verb: impl FnOnce() -> W) -> W::Output {
        let answer = self.within(|| verb().wait_timeout(self.answer_timeout));
        answer.unwrap_or_else(|| panic!("no answer after {:?}", self.answer_timeout))
    }

    /// Waits for what a verb returns that must not fail: in the suite no engine may.
    pub(crate) fn success<W, T, E>(&self, verb: impl FnOnce() -> W) -> T
    where
        W: Wait<Output = Result<T, E>>,
        E: Error,
    {
        self.answer(verb).unwrap_or_else(|error| panic!("the engine failed: {error}"))
    }
}
