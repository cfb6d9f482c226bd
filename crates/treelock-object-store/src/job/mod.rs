//! A call of a folder verb: how it is tuned, and the future that carries it out.

pub(crate) mod lock_source;
pub(crate) mod plan;
pub(crate) mod progress;
mod run;
mod survey;
mod tally;
mod tuning;

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, FutureExt};
use object_store::ObjectStore;
use treelock::TreeLock;
use treelock::engine::Engine;

use crate::error::folder::FolderError;
use crate::job::lock_source::LockSource;
use crate::job::plan::Plan;
use crate::job::progress::{FolderSummary, Progress};
use crate::job::tuning::Tuning;

/// A call of a folder verb: tune it, then await it.
///
/// It is a future of a [`FolderSummary`]. The lock is requested when the future is first polled;
/// from then on, tuning has no effect. The job owns everything that it needs, so it can be spawned,
/// which protects it from being dropped half-way.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::{Folders, LockedStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("a/1"), "1".into()).await?;
/// store
///     .rename_folder("a", "b")
///     .parallelism(32)
///     .progress(|now| println!("{} {}/{} {}", now.phase, now.done, now.total, now.path))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a folder verb does nothing until it is awaited"]
pub struct FolderJob<S, L: Engine = TreeLock> {
    /// Until the first poll.
    planned: Option<Planned<S, L>>,
    /// From then on.
    running: BoxFuture<'static, Result<FolderSummary, FolderError>>,
}

struct Planned<S, L: Engine> {
    inner: Arc<S>,
    lock: LockSource<L>,
    plan: Result<Plan, FolderError>,
    tuning: Tuning,
}

impl<S, L: Engine> FolderJob<S, L> {
    pub(crate) fn new(
        inner: Arc<S>,
        lock: LockSource<L>,
        plan: Result<Plan, FolderError>,
    ) -> FolderJob<S, L> {
        let planned = Planned { inner, lock, plan, tuning: Tuning::default() };
        FolderJob { planned: Some(planned), running: pending().boxed() }
    }

    fn tuned(mut self, tune: impl FnOnce(&mut Tuning)) -> FolderJob<S, L> {
        if let Some(planned) = &mut self.planned {
            tune(&mut planned.tuning);
        }
        self
    }

    /// Bounds how many copies run at once; returns the job. Default 16; 0 counts as 1.
    ///
    /// Deletes go through the store's own `delete_stream`, which knows best: it sends up to 1,000
    /// in one request to S3, and ten at once to a local disk.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # let store = LockedStore::new(InMemory::new());
    /// let one_by_one = store.copy_folder("a", "b").parallelism(1);
    /// # drop(one_by_one);
    /// ```
    pub fn parallelism(self, copies: usize) -> FolderJob<S, L> {
        self.tuned(|tuning| tuning.parallelism = copies.max(1))
    }

    /// Allows a target that exists; returns the job. Default: refused.
    ///
    /// The folders are merged: an object of the same name is replaced, others stay. It makes a verb
    /// repeatable, which is how to finish one that failed or was dropped half-way. A delete has no
    /// target and ignores it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("a/1"), "1".into()).await?;
    /// # store.put(&Path::from("b/2"), "2".into()).await?;
    /// store.copy_folder("a", "b").overwrite(true).await?;
    /// # assert_eq!(store.list_folder("b").await?.objects.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn overwrite(self, allowed: bool) -> FolderJob<S, L> {
        self.tuned(|tuning| tuning.overwrite = allowed)
    }

    /// Calls a function after each object; returns the job.
    ///
    /// It runs inside the verb, with the folders locked: keep it short, and do not wait in it for
    /// an operation on the same folders.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore, Progress};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("a/1"), "1".into()).await?;
    /// let (sender, lines) = std::sync::mpsc::channel();
    /// let report = move |now: &Progress<'_>| {
    ///     let _ = sender.send(format!("{} {} {}/{}", now.phase, now.path, now.done, now.total));
    /// };
    /// store.rename_folder("a", "b").progress(report).await?;
    /// assert_eq!(lines.iter().collect::<Vec<_>>(), ["copy a/1 1/1", "delete a/1 1/1"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(self, report: impl FnMut(&Progress<'_>) + Send + 'static) -> FolderJob<S, L> {
        self.tuned(|tuning| tuning.report = Some(Box::new(report)))
    }
}

/// Nothing in it is pinned but the future, which is boxed.
impl<S, L: Engine> Unpin for FolderJob<S, L> {}

impl<S: ObjectStore, L: Engine> Future for FolderJob<S, L> {
    type Output = Result<FolderSummary, FolderError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Planned { inner, lock, plan, tuning }) = self.planned.take() {
            self.running = run::run(inner, lock, plan, tuning).boxed();
        }
        self.running.poll_unpin(cx)
    }
}

impl<S, L: Engine> fmt::Debug for FolderJob<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut job = f.debug_struct("FolderJob");
        if let Some(planned) = &self.planned {
            job.field("plan", &planned.plan).field("tuning", &planned.tuning);
        }
        job.finish_non_exhaustive()
    }
}
