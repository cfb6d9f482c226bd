//! A waker that finds out whether it is used under a mutex of the engine's: a [`Probe`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    task::{Wake, Waker},
    thread,
};

use treelock::engine::Engine;

use crate::setting::Setting;

/// Has another thread read the table whenever it is woken, and when it is dropped. That thread gets
/// no answer if the engine keeps its mutex meanwhile (C9).
pub(crate) struct Probe<L: Engine> {
    lock: L,
    setting: Setting,
    found: Found,
}

/// What wakers of one check found.
#[derive(Clone, Default)]
pub(crate) struct Found(Arc<Mutex<Vec<&'static str>>>);

impl Found {
    fn push(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L: Engine> Probe<L> {
    pub(crate) fn waker(lock: &L, setting: &Setting, found: &Found) -> Waker {
        let (lock, setting, found) = (lock.clone(), setting.clone(), found.clone());
        Waker::from(Arc::new(Probe { lock, setting, found }))
    }

    fn probe(&self, what: &'static str) {
        let (lock, setting) = (self.lock.clone(), self.setting.clone());
        let (answer, answered) = channel();
        thread::spawn(move || {
            let snapshot = setting.within(|| treelock::Wait::wait(lock.snapshot()));
            answer.send(snapshot.is_ok())
        });
        let answered = answered.recv_timeout(self.setting.answer_timeout());
        if answered == Err(RecvTimeoutError::Timeout) {
            self.found.push(what);
        }
    }
}

impl<L: Engine> Wake for Probe<L> {
    fn wake(self: Arc<Probe<L>>) {
        self.probe("woken");
    }
}

impl<L: Engine> Drop for Probe<L> {
    fn drop(&mut self) {
        self.probe("dropped");
    }
}
