//! Blocking a thread until a future is ready: the one implementation, for all verbs of all engines.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::sync::Parker;

/// What a verb returns, for code that blocks its thread instead of awaiting.
///
/// Every verb of every engine returns a future that is this too: an `Acquire`, or an
/// [`Answer`](crate::Answer). Whatever blocks a thread says `wait`.
///
/// # Blocking
///
/// Not for use within async code, whose executor would stand still: `.await` there.
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
/// // Warn after a while, and go on waiting, at the same place in the line.
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
    /// For as long as it takes.
    ///
    /// # Examples
    ///
    /// See [`Wait`].
    fn wait(mut self) -> Self::Output {
        match drive(&mut self, None) {
            Some(output) => output,
            None => unreachable!("without a deadline only an answer ends a wait"),
        }
    }

    /// Blocks the thread until the future is ready, for at most `timeout`. Returns its output, or `None` if
    /// the time is over.
    ///
    /// When the time is over nothing is given up: a request keeps its place in the line, and can be waited
    /// for again, asked who is in its way, or given up. A time-out too long for the clock waits without one;
    /// one of zero looks once.
    ///
    /// # Blocking
    ///
    /// Until the future is ready or the time is over.
    ///
    /// # Examples
    ///
    /// See [`Wait`].
    fn wait_timeout(&mut self, timeout: Duration) -> Option<Self::Output> {
        drive(self, Instant::now().checked_add(timeout))
    }

    /// Does what [`wait_timeout`](Wait::wait_timeout) does, until a moment.
    ///
    /// # Blocking
    ///
    /// Until the future is ready or the moment has come.
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
        drive(self, Some(deadline))
    }
}

/// A future that is waited for by reference is there afterwards.
impl<W: Wait> Wait for &mut W {}

/// Polls a future in this thread until it is ready or the deadline is over.
fn drive<F: Future + Unpin>(future: &mut F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut poll =
        |waker: &Waker| match Pin::new(&mut *future).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        };
    // Mostly nobody is in the way, and no waker need be made.
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
            // It may have become ready in the last moment.
            return poll(Waker::noop());
        }
    }
}
