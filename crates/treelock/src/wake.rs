//! Waking those who were granted: [`wake_all`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
};

/// Wakes all of them, in this order, then does what comes `after`. For those who write an engine.
///
/// No wake-up is lost to a waker that panics, nor is what comes after: the first panic goes on when all is
/// done, unless the thread panics already.
///
/// # Examples
///
/// ```
/// use std::task::Waker;
/// use treelock::engine::wake_all;
///
/// let mut done = false;
/// wake_all([Waker::noop().clone()], || done = true);
/// assert!(done);
/// ```
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>, after: impl FnOnce()) {
    let mut panicked = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panicked.get_or_insert(payload);
        }
    }
    after();
    if let Some(payload) = panicked
        && !std::thread::panicking()
    {
        resume_unwind(payload);
    }
}
