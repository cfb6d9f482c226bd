//! Several operations under one lock: a store that checks where it works, and locks no more.
//!
//! Why a view and not a guard: with a guard and [`LockedStore::inner`] nothing stops the caller
//! from working outside of what is locked; with a guard and the `LockedStore` itself, the first
//! operation waits for the guard. A view can do neither.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use treelock::{Access, Engine, Request, TreeLock};

use crate::dir::{DirJob, Verb};
use crate::engine::{Ground, Plan, parse};
use crate::error::DirError;
use crate::hold::{Held, HeldUpload, hold_get};
use crate::lease::Lease;
use crate::store::{LockedStore, node, rename};

impl<S: ObjectStore, L: Engine> LockedStore<S, L> {
    /// Locks a folder for reading; returns a view that reads below it without locking again.
    ///
    /// For several reads that must see one state. The lock is held until the view, its clones and
    /// its streams are gone. The empty path or `/` is the whole store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its place in the queue back.
    ///
    /// # Errors
    ///
    /// [`DirError::InvalidPath`]; [`DirError::Lock`], never with a [`TreeLock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("photos/index"), "cat.jpg".into()).await?;
    /// # store.put(&Path::from("photos/cat.jpg"), "meow".into()).await?;
    /// let photos = store.read_folder("photos").await?;
    /// let index = photos.get(&Path::from("photos/index")).await?.bytes().await?;
    /// let name = format!("photos/{}", String::from_utf8_lossy(&index));
    /// photos.get(&Path::parse(name)?).await?; // still there: nobody could rename it meanwhile
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_folder(&self, path: impl AsRef<str>) -> Result<LockedView<S, L>, DirError> {
        let path = parse(Verb::ReadFolder, path.as_ref())?;
        self.folders(&folder(Access::Read, Verb::ReadFolder, path)?).await
    }

    /// Locks a folder for writing; returns a view that reads and writes below it without locking
    /// again.
    ///
    /// For several operations that others must see all or none of. The lock is held until the view,
    /// its clones and its streams are gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its place in the queue back.
    ///
    /// # Errors
    ///
    /// [`DirError::InvalidPath`]; [`DirError::EmptyPath`], for the whole store is locked by
    /// [`folders`](LockedStore::folders) only, on purpose; [`DirError::Lock`], never with a
    /// [`TreeLock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// let photos = store.write_folder("photos").await?;
    /// photos.put(&Path::from("photos/cat.jpg"), "meow".into()).await?;
    /// photos.put(&Path::from("photos/index"), "cat.jpg".into()).await?;
    /// drop(photos); // whoever waited to read `photos` sees both
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_folder(&self, path: impl AsRef<str>) -> Result<LockedView<S, L>, DirError> {
        let path = parse(Verb::WriteFolder, path.as_ref())?;
        if path.is_root() {
            return Err(DirError::EmptyPath { verb: Verb::WriteFolder });
        }
        self.folders(&folder(Access::Write, Verb::WriteFolder, path)?).await
    }

    /// Locks whatever a request names; returns a view that works below it without locking again.
    ///
    /// For operations over several folders, all asked for at once, so that two tasks cannot
    /// deadlock each other.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its place in the queue back.
    ///
    /// # Errors
    ///
    /// [`DirError::Lock`] if the lock could not be asked; a [`TreeLock`] always can, for which
    /// there is [`view`](LockedStore::view).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// use treelock::Request;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("templates/a"), "a".into()).await?;
    /// let request = Request::new().read("templates")?.write("sites/42")?;
    /// let both = store.folders(&request).await?;
    /// both.copy_dir("templates", "sites/42/html").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn folders(&self, request: &Request) -> Result<LockedView<S, L>, DirError> {
        let lease = Lease::acquire(&self.lock, request.clone()).await.map_err(DirError::Lock)?;
        Ok(LockedView { inner: Arc::clone(&self.inner), lease })
    }
}

impl<S: ObjectStore> LockedStore<S> {
    /// Locks whatever a request names, as [`folders`](LockedStore::folders) does; returns the view.
    ///
    /// For the lock of one process, where asking cannot fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives its place in the queue back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::LockedStore;
    /// use treelock::Request;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// let both = store.view(&Request::new().read("templates")?.write("sites/42")?).await;
    /// # drop(both);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn view(&self, request: &Request) -> LockedView<S> {
        match self.folders(request).await {
            Ok(view) => view,
            Err(error) => unreachable!("a lock in memory can be asked: {error}"),
        }
    }
}

fn folder(access: Access, verb: Verb, path: Path) -> Result<Request, DirError> {
    match node(&path) {
        Ok(node) => Ok(Request::new().with(access, node).label(verb.name())),
        Err(source) => Err(DirError::Store { verb, path, source }),
    }
}

/// A store that works below what it has locked, and takes no lock again.
///
/// Made by [`LockedStore::read_folder`], [`write_folder`](LockedStore::write_folder) and
/// [`view`](LockedStore::view). Paths are the store's own, not relative to the folder. Whatever
/// lies outside, or would write where only a read is held, is refused with
/// [`PermissionDenied`](object_store::Error::PermissionDenied).
///
/// The lock is released when the view, its clones, its streams, uploads and jobs are all gone.
/// Operations of one view, or of its clones, do not wait for one another: they are as concurrent
/// as on the bare store. A `rename` of one object is one call of the store here too, which a lost
/// lock does not stop half-way: `copy` and then `delete` look at the lock in between.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::LockedStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("queue/new/1"), "1".into()).await?;
/// let queue = store.write_folder("queue").await?;
/// if !queue.list_dir("queue/new").await?.objects.is_empty() {
///     queue.rename_dir("queue/new", "queue/taken").await?; // nobody came in between
/// }
/// assert!(queue.put(&Path::from("elsewhere"), "x".into()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the view releases its lock"]
pub struct LockedView<S, L: Engine = TreeLock> {
    inner: Arc<S>,
    lease: Arc<Lease<L>>,
}

impl<S, L: Engine> Clone for LockedView<S, L> {
    fn clone(&self) -> LockedView<S, L> {
        LockedView { inner: Arc::clone(&self.inner), lease: Arc::clone(&self.lease) }
    }
}

impl<S: ObjectStore, L: Engine> LockedView<S, L> {
    /// Returns the guard of the view's lock, to ask what its engine knows of it: its fencing token,
    /// or when it is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = LockedStore::new(InMemory::new());
    /// let inbox = store.write_folder("inbox").await?;
    /// assert_eq!(inbox.guard().request().to_string(), "write /inbox");
    /// # Ok(())
    /// # }
    /// ```
    pub fn guard(&self) -> &L::Guard {
        self.lease.guard()
    }

    /// Renames all objects below a folder; returns a job to be awaited.
    ///
    /// As [`LockedStore::rename_dir`], within what the view has locked for writing.
    ///
    /// # Cancel safety
    ///
    /// As [`LockedStore::rename_dir`]; the job keeps the view's lock until it is done or dropped.
    ///
    /// # Errors
    ///
    /// As [`LockedStore::rename_dir`], and [`DirError::OutsideView`].
    ///
    /// # Examples
    ///
    /// See [`LockedView`].
    pub fn rename_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::two(Verb::Rename, from.as_ref(), to.as_ref()))
    }

    /// Copies all objects below a folder; returns a job to be awaited.
    ///
    /// As [`LockedStore::copy_dir`], from what the view has locked to what it has locked for
    /// writing.
    ///
    /// # Cancel safety
    ///
    /// As [`LockedStore::copy_dir`]; the job keeps the view's lock until it is done or dropped.
    ///
    /// # Errors
    ///
    /// As [`LockedStore::copy_dir`], and [`DirError::OutsideView`].
    ///
    /// # Examples
    ///
    /// See [`LockedStore::view`].
    pub fn copy_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::two(Verb::Copy, from.as_ref(), to.as_ref()))
    }

    /// Deletes all objects below a folder; returns a job to be awaited.
    ///
    /// As [`LockedStore::delete_dir`], within what the view has locked for writing.
    ///
    /// # Cancel safety
    ///
    /// As [`LockedStore::delete_dir`]; the job keeps the view's lock until it is done or dropped.
    ///
    /// # Errors
    ///
    /// As [`LockedStore::delete_dir`], and [`DirError::OutsideView`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("site/old/index.html"), "old".into()).await?;
    /// # store.put(&Path::from("site/new/index.html"), "new".into()).await?;
    /// let site = store.write_folder("site").await?;
    /// site.delete_dir("site/old").await?;
    /// site.rename_dir("site/new", "site/old").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_dir(&self, path: impl AsRef<str>) -> DirJob<S, L> {
        self.job(Plan::one(Verb::Delete, path.as_ref()))
    }

    /// Lists a folder; returns the objects and the folders directly below it.
    ///
    /// As [`LockedStore::list_dir`], within what the view has locked.
    ///
    /// # Cancel safety
    ///
    /// Nothing to give back: the lock is the view's.
    ///
    /// # Errors
    ///
    /// [`DirError::InvalidPath`]; [`DirError::Store`] if the path lies outside or the store fails.
    ///
    /// # Examples
    ///
    /// See [`LockedView`].
    pub async fn list_dir(&self, path: impl AsRef<str>) -> Result<ListResult, DirError> {
        let path = parse(Verb::List, path.as_ref())?;
        self.list_with_delimiter(Some(&path))
            .await
            .map_err(|source| DirError::store(Verb::List, &path, source))
    }

    fn job(&self, plan: Result<Plan, DirError>) -> DirJob<S, L> {
        DirJob::new(Arc::clone(&self.inner), Ground::View(Arc::clone(&self.lease)), plan)
    }

    /// Refuses what the view does not hold, or holds no more.
    fn check(&self, access: Access, path: &Path) -> Result<()> {
        check_covered(&self.lease, access, path)?;
        Ok(self.lease.check()?)
    }

    fn check_prefix(&self, prefix: Option<&Path>) -> Result<()> {
        self.check(Access::Read, prefix.unwrap_or(&Path::ROOT))
    }

    /// Lets a stream of the wrapped store share the view's lock.
    fn hold<T: Send + 'static>(
        &self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        Held::new(stream, Arc::clone(&self.lease)).boxed()
    }
}

/// Refuses what the request of a view does not cover.
fn check_covered<L: Engine>(lease: &Lease<L>, access: Access, path: &Path) -> Result<()> {
    let node = node(path)?;
    if lease.covers(access, &node) {
        return Ok(());
    }
    let needed = Request::new().with(access, node);
    let held = lease.request();
    let source = format!("the operation needs `{needed}`, but the view holds `{held}`").into();
    Err(Error::PermissionDenied { path: path.to_string(), source })
}

fn refused<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T>> {
    stream::once(async move { Err(error) }).boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore, L: Engine> ObjectStore for LockedView<S, L> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.check(Access::Write, location)?;
        self.lease.confirm(self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(Access::Write, location)?;
        let upload = self.lease.confirm(self.inner.put_multipart_opts(location, opts).await)?;
        Ok(Box::new(HeldUpload::new(upload, Arc::clone(&self.lease))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(Access::Read, location)?;
        let result = self.lease.confirm(self.inner.get_opts(location, options).await)?;
        Ok(hold_get(result, Arc::clone(&self.lease)))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(Access::Read, location)?;
        self.lease.confirm(self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let lease = Arc::clone(&self.lease);
        let mut begun = false;
        let checked = locations.map(move |location| {
            let location = location?;
            check_covered(&lease, Access::Write, &location)?;
            lease.check_step(begun)?;
            begun = true;
            Ok(location)
        });
        self.hold(self.inner.delete_stream(checked.boxed()))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.hold(self.inner.list(prefix)),
            Err(error) => refused(error),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.hold(self.inner.list_with_offset(prefix, offset)),
            Err(error) => refused(error),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_prefix(prefix)?;
        self.lease.confirm(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(Access::Read, from)?;
        self.check(Access::Write, to)?;
        self.lease.confirm(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(Access::Write, from)?;
        self.check(Access::Write, to)?;
        self.lease.confirm(rename(&*self.inner, from, to, options).await)
    }
}

impl<S: fmt::Display, L: Engine> fmt::Display for LockedView<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedView({}, {})", self.lease.request(), self.inner)
    }
}

impl<S: fmt::Debug, L: Engine> fmt::Debug for LockedView<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedView")
            .field("request", &self.lease.request())
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
