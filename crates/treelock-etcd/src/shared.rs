//! What all handles of one lock share: [`Shared`].

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use treelock::Answer;

use crate::{
    error::Error,
    namespace::Namespace,
    options::Options,
    pool::Pool,
    runtime::work::{Work, answer},
};

pub(crate) struct Shared {
    pub(crate) pool: Pool,
    /// The label of requests that have none of their own.
    pub(crate) label: Option<String>,
    pub(crate) host: String,
    rescued: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Arc<Shared> {
        Arc::new(Shared {
            pool: Pool::new(options),
            label: options.label.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            rescued: AtomicU64::new(0),
        })
    }

    /// Does something in the thread that talks to etcd.
    pub(crate) fn work<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Work<T>, Error> {
        Work::start(&self.pool.background, work)
    }

    /// Returns the answer to what the thread that talks to etcd does, once that is asked for.
    pub(crate) fn answer<T, F>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Shared>) -> F + Send + 'static,
    ) -> Answer<Result<T, Error>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let shared = self.clone();
        answer(async move { shared.work(work(shared.clone()))?.await })
    }

    pub(crate) fn namespace(&self) -> Namespace<'_> {
        Namespace { servers: &self.pool.servers, space: &self.pool.space }
    }

    /// Counts what the safety net of a waiter has found.
    pub(crate) fn count_rescued(&self, times: u64) {
        self.rescued.fetch_add(times, Ordering::Relaxed);
    }

    pub(crate) fn rescued(&self) -> u64 {
        self.rescued.load(Ordering::Relaxed)
    }
}
