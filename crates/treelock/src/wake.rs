//! Waking the requests that were granted: [`wake_all`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
};

/// Wakes all of these, in order, and then calls `after`. For engine authors.
///
/// A waker that panics stops neither the other wake-ups nor `after`. The first panic resumes once
/// everything is done, unless the thread is already panicking.
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
