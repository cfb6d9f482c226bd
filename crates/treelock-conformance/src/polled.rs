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

use crate::Task;

/// A task made of any future, with a waker that counts.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
/// use treelock_conformance::{Polled, Task};
///
/// let lock = TreeLock::new();
/// let request = Request::new().write("a")?;
/// let guard = lock.try_acquire(&request)?;
/// // If the future can fail: Polled::new(async move { acquire.await.expect("a table that works") })
/// let mut task = Polled::new(lock.acquire(&request));
/// assert!(task.poll().is_none());
/// drop(guard);
/// assert_eq!(task.wakes(), 1);
/// assert!(task.poll().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Polled<G> {
    future: Pin<Box<dyn Future<Output = G> + Send>>,
    wakes: Arc<Count>,
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<G> Polled<G> {
    /// Wraps a future, which is not polled before the task is.
    pub fn new(future: impl Future<Output = G> + Send + 'static) -> Polled<G> {
        Polled { future: Box::pin(future), wakes: Arc::default() }
    }
}

impl<G> Task for Polled<G> {
    type Guard = G;

    fn poll(&mut self) -> Option<G> {
        // A wake-up that comes before the poll does is answered by the poll, so it may be forgotten.
        self.wakes.0.store(0, Ordering::SeqCst);
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
        self.wakes.0.load(Ordering::SeqCst)
    }
}
