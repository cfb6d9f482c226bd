//! The folder verbs: what is asked for, how it reports, and how it is tuned.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use object_store::path::Path;
use object_store::{ListResult, ObjectStore};
use treelock::{Engine, TreeLock};

use crate::engine::{self, Ground, Plan, parse};
use crate::error::DirError;
use crate::store::LockedStore;

/// The folder verbs. A path is a `&str`, a `String` or a [`Path`], and is taken as
/// [`Path::parse`] takes it: literally, with no percent-encoding (`Path::from` encodes; give that
/// `Path` itself).
impl<S: ObjectStore, L: Engine> LockedStore<S, L> {
    /// Renames all objects below a folder; returns a job to be awaited.
    ///
    /// Copies all, and deletes the sources only after every copy stands. Readers of either folder
    /// see all of it before or all of it after. The object named exactly `from`, if there is one,
    /// is no part of the folder and stays.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: dropped while copying, the source is whole; dropped while deleting, the
    /// target is whole. Call it again with [`overwrite(true)`](DirJob::overwrite) to finish.
    ///
    /// # Errors
    ///
    /// Refused, with nothing changed: an empty path, a rename onto itself, into its own sub-tree or
    /// onto a parent, onto a target that exists, of a folder that holds nothing. [`DirError::Lock`]
    /// if the lock could not be asked. [`DirError::Incomplete`] if the store fails half-way, or the
    /// lock is [lost](crate#several-processes): then the next object is left alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
    /// let summary = store.rename_dir("photos/2024", "archive/2024").await?;
    /// assert_eq!((summary.objects, summary.bytes), (1, 4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn rename_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::two(Verb::Rename, from.as_ref(), to.as_ref()))
    }

    /// Copies all objects below a folder; returns a job to be awaited.
    ///
    /// Readers of the target see all of it or nothing; readers of the source do not wait. The
    /// object named exactly `from`, if there is one, is no part of the folder and is not copied.
    ///
    /// # Cancel safety
    ///
    /// The source is untouched; the target may hold some of the copies. Call it again with
    /// [`overwrite(true)`](DirJob::overwrite) to finish.
    ///
    /// # Errors
    ///
    /// As [`rename_dir`](LockedStore::rename_dir).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("templates/site/index.html"), "<p>".into()).await?;
    /// store.copy_dir("templates/site", "sites/42").await?;
    /// # assert!(store.head(&Path::from("templates/site/index.html")).await.is_ok());
    /// # assert!(store.head(&Path::from("sites/42/index.html")).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::two(Verb::Copy, from.as_ref(), to.as_ref()))
    }

    /// Deletes all objects below a folder; returns a job to be awaited.
    ///
    /// The object named exactly `path`, if there is one, is no part of the folder and stays.
    ///
    /// # Cancel safety
    ///
    /// Some of the objects may be gone. Call it again to delete the rest.
    ///
    /// # Errors
    ///
    /// Refused, with nothing changed: an empty path, a folder that holds nothing. Failures are
    /// those of [`rename_dir`](LockedStore::rename_dir).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("tmp/run-7/log"), "…".into()).await?;
    /// let summary = store.delete_dir("tmp/run-7").await?;
    /// assert_eq!(summary.objects, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_dir(&self, path: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::one(Verb::Delete, path.as_ref()))
    }

    /// Lists a folder; returns the objects and the folders directly below it.
    ///
    /// A folder that holds nothing, or does not exist, lists as empty: a store cannot tell the two
    /// apart. The empty path or `/` lists the top of the store. For everything below a folder use
    /// `list`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its lock, or its place in the queue, back.
    ///
    /// # Errors
    ///
    /// [`DirError::InvalidPath`]; [`DirError::Store`] if the store fails, [`DirError::Lock`] if the
    /// lock does.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("photos/index"), "cat".into()).await?;
    /// # store.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
    /// let photos = store.list_dir("photos").await?;
    /// assert_eq!(photos.objects[0].location.as_ref(), "photos/index");
    /// assert_eq!(photos.common_prefixes[0].as_ref(), "photos/2024");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_dir(&self, path: impl AsRef<str>) -> Result<ListResult, DirError> {
        let path = parse(Verb::List, path.as_ref())?;
        self.list_with_delimiter(Some(&path))
            .await
            .map_err(|source| DirError::store(Verb::List, &path, source))
    }

    fn job(&self, plan: Result<Plan, DirError>) -> DirJob<S, L> {
        DirJob::new(Arc::clone(&self.inner), Ground::Lock(self.lock.clone()), plan)
    }
}

/// A folder verb that was asked for and not yet begun: tune it, then await it.
///
/// Awaiting returns a [`DirSummary`]. The lock is asked for when the future is first polled. The
/// job owns all that it needs. Where a future is wanted (`spawn`, `join!`, `select!`), give
/// `job.into_future()`; spawned, it is shielded from being dropped half-way.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::LockedStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("a/1"), "1".into()).await?;
/// store
///     .rename_dir("a", "b")
///     .parallelism(32)
///     .progress(|now| println!("{} {}/{} {}", now.phase, now.done, now.total, now.path))
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a folder verb does nothing until it is awaited"]
pub struct DirJob<S, L: Engine = TreeLock> {
    inner: Arc<S>,
    ground: Ground<L>,
    plan: Result<Plan, DirError>,
    tuning: Tuning,
}

/// What a folder verb calls after each object.
type Report = Box<dyn FnMut(&Progress<'_>) + Send>;

/// How a folder verb is to be done.
pub(crate) struct Tuning {
    pub(crate) parallelism: usize,
    pub(crate) overwrite: bool,
    pub(crate) progress: Option<Report>,
}

/// Enough to hide a remote store's latency, few enough not to be throttled by it.
const PARALLELISM: usize = 16;

impl<S, L: Engine> DirJob<S, L> {
    pub(crate) fn new(
        inner: Arc<S>,
        ground: Ground<L>,
        plan: Result<Plan, DirError>,
    ) -> DirJob<S, L> {
        let tuning = Tuning { parallelism: PARALLELISM, overwrite: false, progress: None };
        DirJob { inner, ground, plan, tuning }
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
    /// # let store = treelock_object_store::LockedStore::new(InMemory::new());
    /// let one_by_one = store.copy_dir("a", "b").parallelism(1);
    /// # drop(one_by_one);
    /// ```
    pub fn parallelism(mut self, copies: usize) -> DirJob<S, L> {
        self.tuning.parallelism = copies.max(1);
        self
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
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("a/1"), "1".into()).await?;
    /// # store.put(&Path::from("b/2"), "2".into()).await?;
    /// store.copy_dir("a", "b").overwrite(true).await?;
    /// # assert_eq!(store.list_dir("b").await?.objects.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn overwrite(mut self, allowed: bool) -> DirJob<S, L> {
        self.tuning.overwrite = allowed;
        self
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
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("a/1"), "1".into()).await?;
    /// let (sender, lines) = std::sync::mpsc::channel();
    /// let report = move |now: &treelock_object_store::Progress<'_>| {
    ///     let _ = sender.send(format!("{} {} {}/{}", now.phase, now.path, now.done, now.total));
    /// };
    /// store.rename_dir("a", "b").progress(report).await?;
    /// assert_eq!(lines.iter().collect::<Vec<_>>(), ["copy a/1 1/1", "delete a/1 1/1"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(mut self, report: impl FnMut(&Progress<'_>) + Send + 'static) -> DirJob<S, L> {
        self.tuning.progress = Some(Box::new(report));
        self
    }
}

impl<S: ObjectStore, L: Engine> IntoFuture for DirJob<S, L> {
    type Output = Result<DirSummary, DirError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        engine::run(self.inner, self.ground, self.plan, self.tuning).boxed()
    }
}

impl<S, L: Engine> fmt::Debug for DirJob<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirJob")
            .field("plan", &self.plan)
            .field("parallelism", &self.tuning.parallelism)
            .field("overwrite", &self.tuning.overwrite)
            .finish_non_exhaustive()
    }
}

/// What a folder verb did.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::LockedStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("a/1"), "four".into()).await?;
/// let summary = store.copy_dir("a", "b").await?;
/// println!("copied {} objects, {} bytes", summary.objects, summary.bytes);
/// # assert_eq!((summary.objects, summary.bytes), (1, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirSummary {
    /// How many objects were renamed, copied or deleted.
    pub objects: usize,
    /// Their sizes together, in bytes, as the store listed them.
    pub bytes: u64,
}

impl DirSummary {
    pub(crate) fn new(objects: usize, bytes: u64) -> DirSummary {
        DirSummary { objects, bytes }
    }
}

/// How far a folder verb is, told after each object: see [`DirJob::progress`].
///
/// # Examples
///
/// ```
/// # use treelock_object_store::Progress;
/// fn percent(now: &Progress<'_>) -> usize {
///     100 * now.done / now.total
/// }
/// # let _ = percent;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The verb that was asked for.
    pub verb: Verb,
    /// Copying or deleting. A rename does one after the other, and counts anew.
    pub phase: Phase,
    /// The object that was just copied or deleted, under its name in the source folder.
    pub path: &'a Path,
    /// How many objects of this phase are done.
    pub done: usize,
    /// How many objects this phase has.
    pub total: usize,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(
        verb: Verb,
        phase: Phase,
        path: &'a Path,
        (done, total): (usize, usize),
    ) -> Progress<'a> {
        Progress { verb, phase, path, done, total }
    }
}

/// What was asked for, in errors and progress; prints as the method's name.
///
/// # Examples
///
/// ```
/// assert_eq!(treelock_object_store::Verb::Rename.to_string(), "rename_dir");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// [`LockedStore::rename_dir`].
    Rename,
    /// [`LockedStore::copy_dir`].
    Copy,
    /// [`LockedStore::delete_dir`].
    Delete,
    /// [`LockedStore::list_dir`].
    List,
    /// [`LockedStore::read_folder`].
    ReadFolder,
    /// [`LockedStore::write_folder`].
    WriteFolder,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Rename => "rename_dir",
            Verb::Copy => "copy_dir",
            Verb::Delete => "delete_dir",
            Verb::List => "list_dir",
            Verb::ReadFolder => "read_folder",
            Verb::WriteFolder => "write_folder",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a folder verb is doing: first all copies, then all deletes.
///
/// # Examples
///
/// ```
/// assert_eq!(treelock_object_store::Phase::Copy.to_string(), "copy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Copying; every source still stands.
    Copy,
    /// Deleting; every copy stands already.
    Delete,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Copy => "copy",
            Phase::Delete => "delete",
        })
    }
}
