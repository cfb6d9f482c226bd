//! The thread that talks to etcd.
//!
//! It is this crate's own, so leases are renewed whatever an application does with its threads, and the futures
//! of this crate can be polled by any executor. It is started at the first use and lives as long as the process.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock, mpsc},
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinHandle,
};

use crate::error::Error;

fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    static OWNER: OnceLock<u32> = OnceLock::new();
    if *OWNER.get_or_init(std::process::id) != std::process::id() {
        let what = "this process was forked from one that uses the cluster's lock, and has not its thread; start \
                    another program in it, or fork before the lock is used";
        return Err(Error::Unsupported { what: what.into() });
    }
    let start = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("treelock-etcd").enable_all().build()
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|error| Error::Refused {
        doing: "start the thread that talks to etcd",
        what: error.to_string(),
    })
}

/// The runtime in which this is called, if it is not that of the thread.
pub(crate) fn foreign() -> Option<Handle> {
    let ours = runtime().ok()?;
    Handle::try_current().ok().filter(|handle| handle.id() != ours.handle().id())
}

/// Counts what is being given back.
#[derive(Clone)]
pub(crate) struct Leaving(Arc<watch::Sender<usize>>);

impl Leaving {
    pub(crate) fn new() -> Leaving {
        Leaving(Arc::new(watch::Sender::new(0)))
    }

    /// Counts one, for as long as what is returned is there.
    pub(crate) fn count(&self) -> Counted {
        Counted::new(self.clone())
    }

    /// Gives something back in the background.
    pub(crate) fn start(&self, leaving: impl Future<Output = ()> + Send + 'static) {
        // Without the thread nothing was ever asked, so there is nothing to give back.
        let Ok(runtime) = runtime() else { return };
        let counted = self.count();
        runtime.spawn(async move {
            leaving.await;
            drop(counted);
        });
    }

    /// Waits until nothing is being given back.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as we do.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One of those that are counted, also if it panics.
pub(crate) struct Counted(Leaving);

impl Counted {
    fn new(leaving: Leaving) -> Counted {
        leaving.0.send_modify(|count| *count += 1);
        Counted(leaving)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// Something that goes on in the thread. Dropping it ends that, and what it had is given back.
pub(crate) struct Work<T: Send + 'static> {
    running: Option<JoinHandle<T>>,
    leaving: Leaving,
}

impl<T: Send + 'static> Work<T> {
    pub(crate) fn start(
        leaving: &Leaving,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        Ok(Work { running: Some(runtime()?.spawn(work)), leaving: leaving.clone() })
    }
}

impl<T: Send + 'static> Future for Work<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let running = self.running.as_mut().expect("polled after it was ready");
        let done = ready!(Pin::new(running).poll(context));
        self.running = None;
        // Nobody else ends it, so an error is a panic.
        Poll::Ready(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
    }
}

impl<T: Send + 'static> Drop for Work<T> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.leaving.start(async move {
                running.abort();
                // What it has by now is dropped here, and counted from then on by itself.
                drop(running.await);
            });
        }
    }
}

/// Does something in the thread and blocks this one until it is done.
pub(crate) fn block_on<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let (done, wait) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // The receiver waits.
        let _ = done.send(work.await);
    });
    wait.recv().unwrap_or_else(|_| panic!("the thread that talks to etcd panicked"))
}
