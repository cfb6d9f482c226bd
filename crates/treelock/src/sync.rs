//! The concurrency primitives that the crate uses, from `std` or, under `--cfg loom`, from the model
//! checker. Nothing else in the crate mentions loom.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

#[cfg(loom)]
pub(crate) use loom::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use std::{
    sync::PoisonError,
    task::{Wake, Waker},
    time::Instant,
};

/// Lock without poisoning (C12): no user code runs under our mutex, so nothing half-done is left.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Unparker(thread::Thread);

impl Wake for Unparker {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// A waker that unparks the calling thread.
pub(crate) fn thread_waker() -> Waker {
    Waker::from(std::sync::Arc::new(Unparker(thread::current())))
}

/// Park until the thread's waker was called, at the latest until `deadline`. Returns whether there
/// is still time; wakes spuriously, as `std::thread::park` does.
#[cfg(not(loom))]
pub(crate) fn park(deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        thread::park();
        return true;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    thread::park_timeout(left);
    !left.is_zero()
}

/// The model has no clock: a deadline is over after the other threads had one chance to run.
#[cfg(loom)]
pub(crate) fn park(deadline: Option<Instant>) -> bool {
    if deadline.is_none() {
        thread::park();
        return true;
    }
    thread::yield_now();
    false
}
