//! The concurrency primitives that the crate uses, from `std` or, under `--cfg loom`, from the model
//! checker. Nothing else in the crate mentions loom.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    thread,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
    thread,
};

use std::{
    sync::{PoisonError, atomic::Ordering},
    task::{Wake, Waker},
    time::Instant,
};

/// Locks without poisoning (C12): no user code runs under our mutex, so nothing half-done is left.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the thread that made it to sleep, until its waker is called.
pub(crate) struct Parker(std::sync::Arc<Unparker>);

/// The flag says that the waker was called, whoever used up the thread's own token meanwhile.
struct Unparker {
    thread: thread::Thread,
    woken: AtomicBool,
}

impl Wake for Unparker {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Parker {
    pub(crate) fn new() -> Parker {
        let (thread, woken) = (thread::current(), AtomicBool::new(false));
        Parker(std::sync::Arc::new(Unparker { thread, woken }))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker::from(self.0.clone())
    }

    /// Whether the waker was called since this was last true. A failed exchange writes nothing, so it hides
    /// no call.
    fn was_woken(&self) -> bool {
        let called = &self.0.woken;
        called.compare_exchange(true, false, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Sleeps until the waker is called, at the latest until `deadline`. Returns whether it was called.
    #[cfg(not(loom))]
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        while !self.was_woken() {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return false,
                Some(left) => thread::park_timeout(left),
            }
        }
        true
    }

    /// The model has no clock: a deadline is over after the other threads had one chance to run.
    #[cfg(loom)]
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        if deadline.is_some() {
            thread::yield_now();
            return self.was_woken();
        }
        while !self.was_woken() {
            thread::park();
        }
        true
    }
}
