//! Views: several operations under one lock. A view checks that it stays within its lock, and never
//! locks again.
//!
//! Why a view and not a guard? With a guard and [`LockedStore::inner`], nothing stops the caller
//! from working outside what is locked. With a guard and the `LockedStore` itself, the first
//! operation waits for the guard. With a view neither can happen.

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
use treelock::engine::Engine;
use treelock::{Access, Request, TreeLock};

use crate::carry::{CarryingStream, CarryingUpload, carry_get};
use crate::error::folder::FolderError;
use crate::folders::Folders;
use crate::hold::Hold;
use crate::job::FolderJob;
use crate::job::lock_source::LockSource;
use crate::job::plan::Plan;
use crate::path::{node, parse, parse_folder};
use crate::store::{LockedStore, not_a_node, rename};
use crate::verb::Verb;

impl<S: ObjectStore, L: Engine> LockedStore<S, L> {
    /// Locks a folder for reading. Returns a view that reads below it without locking again.
    ///
    /// Use it for several reads that must see the same state. The lock is held until the view, its
    /// clones and its streams are gone. The empty path or `/` is the whole store.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place in line.
    ///
    /// # Errors
    ///
    /// [`FolderError::InvalidPath`]; [`FolderError::Lock`], never with a [`TreeLock`].
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
    /// photos.get(&Path::parse(name)?).await?; // still there: it could not be renamed meanwhile
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_folder(
        &self,
        path: impl AsRef<str>,
    ) -> Result<LockedView<S, L>, FolderError> {
        let path = parse(Verb::Read, path.as_ref())?;
        self.view(&folder(Access::Read, Verb::Read, &path)?).await
    }

    /// Locks a folder for writing. Returns a view that reads and writes below it without locking
    /// again.
    ///
    /// Use it for several operations of which others must see all or none. The lock is held until
    /// the view, its clones and its streams are gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place in line.
    ///
    /// # Errors
    ///
    /// [`FolderError::InvalidPath`]; [`FolderError::EmptyPath`], because only
    /// [`view`](LockedStore::view) locks the whole store for writing, on purpose;
    /// [`FolderError::Lock`], never with a [`TreeLock`].
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
    /// drop(photos); // a reader that waited for `photos` sees both
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write_folder(
        &self,
        path: impl AsRef<str>,
    ) -> Result<LockedView<S, L>, FolderError> {
        let path = parse_folder(Verb::Write, path.as_ref())?;
        self.view(&folder(Access::Write, Verb::Write, &path)?).await
    }

    /// Locks what a request names. Returns a view that works within it without locking again.
    ///
    /// Use it for operations on several folders. All are requested at once, so two tasks cannot
    /// deadlock each other. A [`Path`] is given to the request as `path.as_ref()`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its place in line.
    ///
    /// # Errors
    ///
    /// Fails with [`FolderError::Lock`] if the lock was not granted. Never happens with a
    /// [`TreeLock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// use treelock::Request;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("templates/a"), "a".into()).await?;
    /// let request = Request::new().read("templates")?.write("sites/42")?;
    /// let both = store.view(&request).await?;
    /// both.copy_folder("templates", "sites/42/html").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn view(&self, request: &Request) -> Result<LockedView<S, L>, FolderError> {
        let hold = Hold::acquire(&self.lock, request.clone()).await.map_err(FolderError::Lock)?;
        Ok(LockedView { inner: Arc::clone(&self.inner), hold })
    }
}

fn folder(access: Access, verb: Verb, path: &Path) -> Result<Request, FolderError> {
    Ok(Request::new().with(access, node(path)?).with_label(verb.name()))
}

/// A store that works within what it has locked, and never locks again.
///
/// Returned by [`LockedStore::read_folder`], [`write_folder`](LockedStore::write_folder) and
/// [`view`](LockedStore::view). Paths are the store's own, not relative to the folder. Whatever
/// lies outside, or would write where only a read is held, is refused with
/// [`PermissionDenied`](object_store::Error::PermissionDenied). The verbs for whole folders are in
/// the trait [`Folders`].
///
/// The lock is released when the view, its clones, its streams, uploads and jobs are all gone.
/// Operations of one view, or of its clones, do not wait for one another: they are as concurrent as
/// on the bare store. A `rename` of one object is one call of the store here too, which a lost lock
/// does not stop half-way: `copy` and then `delete` check the lock in between.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::{Folders, LockedStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("queue/new/1"), "1".into()).await?;
/// let queue = store.write_folder("queue").await?;
/// if !queue.list_folder("queue/new").await?.objects.is_empty() {
///     queue.rename_folder("queue/new", "queue/taken").await?; // nothing came in between
/// }
/// assert!(queue.put(&Path::from("elsewhere"), "x".into()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the view releases its lock"]
#[clippy::has_significant_drop]
pub struct LockedView<S, L: Engine = TreeLock> {
    inner: Arc<S>,
    hold: Arc<Hold<L>>,
}

impl<S, L: Engine> Clone for LockedView<S, L> {
    fn clone(&self) -> LockedView<S, L> {
        LockedView { inner: Arc::clone(&self.inner), hold: Arc::clone(&self.hold) }
    }
}

impl<S: ObjectStore, L: Engine> LockedView<S, L> {
    /// Returns the guard of the view's lock, which knows the lock's fencing token and when it is
    /// lost.
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
        self.hold.guard()
    }

    /// Refuses anything that the view does not hold, or no longer holds.
    fn check(&self, access: Access, path: &Path) -> Result<()> {
        check_covered(&self.hold, access, path)?;
        Ok(self.hold.check()?)
    }

    fn check_prefix(&self, prefix: Option<&Path>) -> Result<()> {
        self.check(Access::Read, prefix.unwrap_or(&Path::ROOT))
    }

    /// Lets a stream of the wrapped store share the view's lock.
    fn carry<T: Send + 'static>(
        &self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        CarryingStream::new(stream, Arc::clone(&self.hold)).boxed()
    }
}

/// Refuses anything that the request of a view does not cover.
fn check_covered<L: Engine>(hold: &Hold<L>, access: Access, path: &Path) -> Result<()> {
    let needed = Request::new().with(access, node(path).map_err(not_a_node)?);
    let held = hold.request();
    if held.covers(&needed) {
        return Ok(());
    }
    let source = format!("the operation needs `{needed}`, but the view holds `{held}`").into();
    Err(Error::PermissionDenied { path: path.to_string(), source })
}

fn refused<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T>> {
    stream::once(async move { Err(error) }).boxed()
}

impl<S: ObjectStore, L: Engine> Folders for LockedView<S, L> {
    type Inner = S;
    type Lock = L;

    fn job(&self, plan: Result<Plan, FolderError>) -> FolderJob<S, L> {
        FolderJob::new(Arc::clone(&self.inner), LockSource::View(Arc::clone(&self.hold)), plan)
    }
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
        self.hold.confirm(self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(Access::Write, location)?;
        let upload = self.hold.confirm(self.inner.put_multipart_opts(location, opts).await)?;
        Ok(Box::new(CarryingUpload::new(upload, Arc::clone(&self.hold))))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(Access::Read, location)?;
        let result = self.hold.confirm(self.inner.get_opts(location, options).await)?;
        Ok(carry_get(result, Arc::clone(&self.hold)))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(Access::Read, location)?;
        self.hold.confirm(self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let hold = Arc::clone(&self.hold);
        let mut begun = false;
        let checked = locations.map(move |location| {
            let location = location?;
            check_covered(&hold, Access::Write, &location)?;
            hold.check_step(begun)?;
            begun = true;
            Ok(location)
        });
        self.carry(self.inner.delete_stream(checked.boxed()))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.carry(self.inner.list(prefix)),
            Err(error) => refused(error),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_prefix(prefix) {
            Ok(()) => self.carry(self.inner.list_with_offset(prefix, offset)),
            Err(error) => refused(error),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_prefix(prefix)?;
        self.hold.confirm(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check(Access::Read, from)?;
        self.check(Access::Write, to)?;
        self.hold.confirm(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check(Access::Write, from)?;
        self.check(Access::Write, to)?;
        self.hold.confirm(rename(&*self.inner, from, to, options).await)
    }
}

impl<S: fmt::Display, L: Engine> fmt::Display for LockedView<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedView({}, {})", self.hold.request(), self.inner)
    }
}

impl<S: fmt::Debug, L: Engine> fmt::Debug for LockedView<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockedView")
            .field("request", self.hold.request())
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
