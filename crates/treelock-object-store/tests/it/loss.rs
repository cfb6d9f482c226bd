//! When a lock is lost, and what is done then: what the lock and the store know of each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Loss {
    has_come: AtomicBool,
    /// How often the holders have looked, and at which look it comes, counted from 1.
    looks: AtomicUsize,
    last_look: AtomicUsize,
    /// The same of the calls that change something.
    calls: AtomicUsize,
    last_call: AtomicUsize,
    late_calls: AtomicUsize,
}

fn is_last(count: &AtomicUsize, last: &AtomicUsize) -> bool {
    count.fetch_add(1, Ordering::SeqCst) + 1 == last.load(Ordering::SeqCst)
}

impl Loss {
    pub(crate) fn at_look(nth: usize) -> Loss {
        Loss { last_look: nth.into(), ..Loss::default() }
    }

    pub(crate) fn at_call(nth: usize) -> Loss {
        Loss { last_call: nth.into(), ..Loss::default() }
    }

    pub(crate) fn set(&self, has_come: bool) {
        self.has_come.store(has_come, Ordering::SeqCst);
    }

    pub(crate) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::SeqCst)
    }

    /// Counts a look of a holder at its lock, which may be lost then.
    pub(crate) fn look(&self) {
        if is_last(&self.looks, &self.last_look) {
            self.set(true);
        }
    }

    /// Counts a call that changes something; the lock may be lost while it works.
    pub(crate) fn call(&self) {
        if self.has_come() {
            self.late_calls.fetch_add(1, Ordering::SeqCst);
        }
        if is_last(&self.calls, &self.last_call) {
            self.set(true);
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn late_calls(&self) -> usize {
        self.late_calls.load(Ordering::SeqCst)
    }
}
