//! A future of this process, polled by hand.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::subject::Task;

/// A task made of a future, with a waker that counts.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
/// use treelock_conformance::{Polled, Task};
///
/// let lock = TreeLock::new();
/// let request = Request::new().write("a")?;
/// let guard = lock.acquire(&request).wait();
/// // If it can fail: Polled::new(async move { acquire.await.expect("a table that works") })
/// let mut task = Polled::new(lock.acquire(&request));
/// assert!(task.poll().is_none());
/// assert!(task.poll_elsewhere().is_none());
/// drop(guard);
/// assert_eq!(task.wakes(), 1);
/// assert!(task.poll().is_some());
/// # Ok::<(), treelock::NodeError>(())
/// ```
pub struct Polled<G> {
    future: Pin<Box<dyn Future<Output = G> + Send>>,
    wakes: Arc<Count>,
}

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Count(AtomicUsize);

impl Count {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<G> Polled<G> {
    /// Wraps a future, which is not polled before the task is.
    ///
    /// # Examples
    ///
    /// See [`Polled`].
    pub fn new(future: impl Future<Output = G> + Send + 'static) -> Polled<G> {
        Polled { future: Box::pin(future), wakes: Arc::default() }
    }
}

impl<G> Task for Polled<G> {
    type Guard = G;

    fn poll(&mut self) -> Option<G> {
        // A wake-up that comes before the poll does is answered by the poll, so it may be
        // forgotten.
        self.wakes.forget();
        let waker = Waker::from(self.wakes.clone());
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => Some(guard),
            Poll::Pending => None,
        }
    }

    fn poll_elsewhere(&mut self) -> Option<G> {
        self.wakes = Arc::default();
        self.poll()
    }

    fn wakes(&self) -> usize {
        self.wakes.count()
    }
}

impl<G> std::fmt::Debug for Polled<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polled").field("wakes", &self.wakes()).finish_non_exhaustive()
    }
}
