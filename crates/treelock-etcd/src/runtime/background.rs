//! What is being given back, in the background, and how much: [`Background`].

use std::{future::Future, sync::Arc};

use tokio::sync::watch;

use super::thread::thread;

/// Gives things back in the background, and counts those that it has not given back yet.
#[derive(Clone)]
pub(crate) struct Background(Arc<watch::Sender<usize>>);

impl Background {
    pub(crate) fn new() -> Background {
        Background(Arc::new(watch::Sender::new(0)))
    }

    /// Counts one more, for as long as the returned value lives.
    pub(crate) fn count(&self) -> Counted {
        Counted::new(self.clone())
    }

    /// Gives something back in the background.
    pub(crate) fn start(&self, giving_back: impl Future<Output = ()> + Send + 'static) {
        // Without the thread nothing was ever asked for, so there is nothing to give back.
        let Ok(thread) = thread() else { return };
        let counted = self.count();
        thread.spawn(async move {
            giving_back.await;
            drop(counted);
        });
    }

    /// Waits until nothing is being given back.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One thing that is being given back. It is uncounted when dropped, also by a panic.
pub(crate) struct Counted(Background);

impl Counted {
    fn new(background: Background) -> Counted {
        background.0.send_modify(|count| *count += 1);
        Counted(background)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
