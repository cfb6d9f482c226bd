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
use treelock::{Access, Guard, Node, Request};

use crate::dir::{DirJob, Verb};
use crate::engine::{Ground, Plan, parse};
use crate::error::DirError;
use crate::hold::{Held, HeldUpload, hold_get};
use crate::store::{LockedStore, node, rename};

impl<S: ObjectStore> LockedStore<S> {
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
    /// [`DirError::InvalidPath`].
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
    pub async fn read_folder(&self, path: impl AsRef<str>) -> Result<LockedView<S>, DirError> {
        let path = parse(Verb::ReadFolder, path.as_ref())?;
        Ok(self.view(&folder(Access::Read, Verb::ReadFolder, path)?).await)
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
    /// [`view`](LockedStore::view) only, on purpose.
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
    pub async fn write_folder(&self, path: impl AsRef<str>) -> Result<LockedView<S>, DirError> {
        let path = parse(Verb::WriteFolder, path.as_ref())?;
        if path.is_root() {
            return Err(DirError::EmptyPath { verb: Verb::WriteFolder });
        }
        Ok(self.view(&folder(Access::Write, Verb::WriteFolder, path)?).await)
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
    /// let both = store.view(&request).await;
    /// both.copy_dir("templates", "sites/42/html").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn view(&self, request: &Request) -> LockedView<S> {
        let guard = self.lock.acquire(request).await;
        LockedView::new(Arc::clone(&self.inner), guard, request.clone())
    }
}

fn folder(access: Access, verb: Verb, path: Path) -> Result<Request, DirError> {
    match node(&path) {
        Ok(node) => Ok(Request::new().with(access, node).label(verb.name())),
        Err(source) => Err(DirError::Store { verb, path, source }),
    }
}

/// What a view holds, shared by its clones, streams, uploads and jobs. The lock is released when
/// the last of them is gone.
pub(crate) struct Lease {
    request: Request,
    _guard: Guard,
}

impl Lease {
    /// Whether a root of the request covers `node` for this access.
    pub(crate) fn covers(&self, access: Access, node: &Node) -> bool {
        self.request.roots().any(|(held, root)| {
            (held == Access::Write || access == Access::Read) && root.contains(node)
        })
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
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
/// as on the bare store.
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
pub struct LockedView<S> {
    inner: Arc<S>,
    lease: Arc<Lease>,
}

impl<S> Clone for LockedView<S> {
    fn clone(&self) -> LockedView<S> {
        LockedView { inner: Arc::clone(&self.inner), lease: Arc::clone(&self.lease) }
    }
}

impl<S: ObjectStore> LockedView<S> {
    fn new(inner: Arc<S>, guard: Guard, request: Request) -> LockedView<S> {
        LockedView { inner, lease: Arc::new(Lease { request, _guard: guard }) }
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
    pub fn rename_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S> {
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
    pub fn copy_dir(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> DirJob<S> {
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
    pub fn delete_dir(&self, path: impl AsRef<str>) -> DirJob<S> {
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
        self.list_with_delimiter(Some(&path)).await.map_err(|source| DirError::Store {
            verb: Verb::List,
            path,
            source,
        })
    }

    fn job(&self, plan: Result<Plan, DirError>) -> DirJob<S> {
        DirJob::new(Arc::clone(&self.inner), Ground::View(Arc::clone(&self.lease)), plan)
    }

    fn check(&self, access: Access, path: &Path) -> Result<()> {
        check(&self.lease, access, path)
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

fn check(lease: &Lease, access: Access, path: &Path) -> Result<()> {
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
impl<S: ObjectStore> ObjectStore for LockedView<S> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.check(Access::Write, location)?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(Access::Write, location)?;
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(HeldUpload::new(upload, Arc::clone(&self.lease))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(Access::Read, location)?;
        let result = self.inner.get_opts(location, options).await?;
        Ok(hold_get(result, Arc::clone(&self.lease)))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(Access::Read, location)?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let lease = Arc::clone(&self.lease);
        let checked = locations.map(move |location| {
            let location = location?;
            check(&lease, Access::Write, &location).map(|()| location)
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
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(Access::Read, from)?;
        self.check(Access::Write, to)?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(Access::Write, from)?;
        self.check(Access::Write, to)?;
        rename(&*self.inner, from, to, options).await
    }
}

impl<S: fmt::Display> fmt::Display for LockedView<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedView({}, {})", self.lease.request, self.inner)
    }
}

impl<S: fmt::Debug> fmt::Debug for LockedView<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedView")
            .field("request", &self.lease.request)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
