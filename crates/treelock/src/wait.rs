//! Blocking a thread until a future is ready. This one implementation serves all verbs of all
//! engines.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::sync::Parker;

/// A future that code can also wait for by blocking its thread, instead of awaiting it.
///
/// Every verb of every engine returns such a future: an `Acquire` or an [`Answer`](crate::Answer).
/// Only methods whose names begin with `wait` block a thread.
///
/// # Blocking
///
/// Do not use it in async code, where it would stall the executor. Use `.await` there.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let building = lock.acquire(&Request::new().write("target/debug")?).wait();
///
/// // Warn after a while, then keep waiting at the same place in line.
/// let mut cleaning = lock.acquire(&Request::new().write("target")?);
/// if cleaning.wait_timeout(Duration::from_millis(1)).is_none() {
///     if let Some(blocked) = cleaning.blocked().wait() {
///         println!("still waiting: {blocked}");
///     }
/// }
/// drop(building);
/// drop(cleaning.wait());
/// # Ok::<(), treelock::NodeError>(())
/// ```
pub trait Wait: Future + Unpin + Sized {
    /// Blocks the thread until the future is ready. Returns its output.
    ///
    /// # Blocking
    ///
    /// Blocks for as long as it takes.
    ///
    /// # Examples
    ///
    /// See [`Wait`].
    fn wait(mut self) -> Self::Output {
        match self.wait_until(None) {
            Some(output) => output,
            None => unreachable!("without a deadline only an answer ends a wait"),
        }
    }

    /// Blocks the thread until the future is ready, for at most `timeout`. Returns its output, or
    /// `None` if the time ran out.
    ///
    /// Nothing is given up when the time runs out. A request keeps its place in line: wait for it
    /// again, ask what is in its way, or give it up. A timeout that is too long for the clock never
    /// ends; a zero timeout checks once.
    ///
    /// # Blocking
    ///
    /// Blocks until the future is ready or the time runs out.
    ///
    /// # Examples
    ///
    /// See [`Wait`].
    fn wait_timeout(&mut self, timeout: Duration) -> Option<Self::Output> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits like [`wait_timeout`](Wait::wait_timeout), but until a point in time.
    ///
    /// # Blocking
    ///
    /// Blocks until the future is ready or the deadline has passed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let source = lock.acquire(&Request::new().read("src")?).wait_deadline(deadline);
    /// assert!(source.is_some());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    fn wait_deadline(&mut self, deadline: Instant) -> Option<Self::Output> {
        self.wait_until(Some(deadline))
    }

    /// Waits until the deadline, if there is one: what the other verbs do. Returns `None` only
    /// after a deadline.
    ///
    /// An engine whose requests are woken by other processes overrides this, to sleep where it is
    /// woken. Otherwise a thread has to receive what wakes this one.
    ///
    /// # Blocking
    ///
    /// Blocks until the future is ready or the deadline has passed.
    ///
    /// # Examples
    ///
    /// See [`Wait`].
    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Self::Output> {
        drive(self, deadline)
    }
}

/// Waiting by reference keeps the future usable afterwards.
impl<W: Wait> Wait for &mut W {
    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Self::Output> {
        (**self).wait_until(deadline)
    }
}

/// Polls a future on this thread until it is ready or the deadline has passed.
fn drive<F: Future + Unpin>(future: &mut F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut poll =
        |waker: &Waker| match Pin::new(&mut *future).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        };
    // Usually nothing is in the way, and no waker needs to be created.
    if let Some(output) = poll(Waker::noop()) {
        return Some(output);
    }
    let parker = Parker::new();
    let waker = parker.waker();
    loop {
        if let Some(output) = poll(&waker) {
            return Some(output);
        }
        if !parker.park(deadline) {
            // It may have become ready at the last moment.
            return poll(Waker::noop());
        }
    }
}
