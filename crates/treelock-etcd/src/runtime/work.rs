//! What this crate's thread does for somebody, [`Work`], and the answer to that.

use std::{
    future::Future,
    panic::resume_unwind,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinHandle, unconstrained};
use treelock::Answer;

use super::{background::Background, thread::thread};
use crate::error::Error;

/// Returns the answer that this future gives.
///
/// A thread that waits polls many futures in a row. In a task of tokio that would use up the budget
/// of the task, after which no future of tokio is ever ready: hence without a budget.
pub(crate) fn answer<T>(future: impl Future<Output = T> + Send + 'static) -> Answer<T> {
    Answer::of(unconstrained(future))
}

/// The future of something that goes on in the thread. Dropping it ends that, and gives back what
/// it had.
pub(crate) struct Work<T: Send + 'static> {
    running: Option<JoinHandle<T>>,
    background: Background,
}

impl<T: Send + 'static> Work<T> {
    pub(crate) fn start(
        background: &Background,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        Ok(Work { running: Some(thread()?.spawn(work)), background: background.clone() })
    }
}

impl<T: Send + 'static> Future for Work<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let running = self.running.as_mut().expect("polled after it was ready");
        let done = ready!(Pin::new(running).poll(context));
        self.running = None;
        // Nobody else aborts it, so an error is a panic.
        Poll::Ready(done.unwrap_or_else(|error| resume_unwind(error.into_panic())))
    }
}

impl<T: Send + 'static> Drop for Work<T> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.background.start(async move {
                running.abort();
                // What it has by now is dropped here, and counts itself from then on.
                drop(running.await);
            });
        }
    }
}
