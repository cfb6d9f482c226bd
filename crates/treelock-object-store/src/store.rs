//! The store that locks: every operation of `ObjectStore` under the sub-tree lock it needs.
//!
//! No operation acquires twice, so none waits for itself: an operation with two paths asks for both
//! in one request, and `delete_stream` holds one batch at a time.

use std::fmt;
use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result,
};
use treelock::engine::Engine;
use treelock::{Access, Node, NodeError, Request, TreeLock};

use crate::carry::{CarryingStream, CarryingUpload, carry_get};
use crate::error::folder::FolderError;
use crate::error::lock::STORE_NAME;
use crate::folders::Folders;
use crate::hold::Hold;
use crate::job::FolderJob;
use crate::job::lock_source::LockSource;
use crate::job::plan::Plan;
use crate::path::node;

/// How many locations `delete_stream` locks and hands on at once, at most: the bulk delete of S3.
const LOCATIONS_PER_DELETE_MAX: usize = 1000;

/// An object store that takes the right sub-tree lock for every operation, and knows folders.
///
/// Wraps any [`ObjectStore`] (`Arc<dyn ObjectStore>` too) and is one itself, so that it can be used
/// wherever the wrapped store was. A clone is a handle to the same store and the same lock. The
/// verbs for whole folders are in the trait [`Folders`](crate::Folders).
///
#[doc = include_str!("../docs/locks.md")]
///
/// The lock is fair and not re-entrant: see [the one rule](crate#the-one-rule). Its nodes are the
/// segments of a path, byte for byte. So `a/b` is locked with whatever is below `a/b/`, and on a
/// file system that ignores case, `A` and `a` are two nodes.
///
/// # Cancel safety
///
/// Dropping a future or a stream gives its lock, or its place in the line, back at once. But a
/// write whose future is dropped after it began may still reach the store, a moment after the lock
/// is gone: a remote server and a blocking thread do not hear of it. Where that matters, spawn the
/// write as a task of its own and drop only the handle.
///
/// # Examples
///
/// ```
/// use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// use treelock_object_store::{Folders, LockedStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = LockedStore::new(InMemory::new());
/// store.put(&Path::from("inbox/a.txt"), "hello".into()).await?;
///
/// store.rename_folder("inbox", "done/monday").await?;
///
/// let text = store.get(&Path::from("done/monday/a.txt")).await?.bytes().await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub struct LockedStore<S, L: Engine = TreeLock> {
    pub(crate) inner: Arc<S>,
    pub(crate) lock: L,
}

impl<S, L: Engine> Clone for LockedStore<S, L> {
    fn clone(&self) -> LockedStore<S, L> {
        LockedStore { inner: Arc::clone(&self.inner), lock: self.lock.clone() }
    }
}

impl<S: ObjectStore> LockedStore<S> {
    /// Wraps a store with a lock of its own; returns the store that locks.
    ///
    /// Wrap once and clone: two wrappings of one store know nothing of each other.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_object_store::LockedStore;
    /// use std::sync::Arc;
    /// use object_store::{ObjectStore, memory::InMemory};
    ///
    /// let store = LockedStore::new(InMemory::new());
    ///
    /// let any: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    /// let store = LockedStore::new(any);
    /// ```
    pub fn new(inner: S) -> LockedStore<S> {
        LockedStore::with_lock(inner, TreeLock::new())
    }
}

impl<S: ObjectStore, L: Engine> LockedStore<S, L> {
    /// Wraps a store with a lock that others use too; returns the store that locks.
    ///
    /// For several wrappings of one bucket, or for code that guards the same tree by other means.
    /// It may be the lock of [several processes](crate#several-processes).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::LockedStore;
    /// use treelock::{Request, TreeLock};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), treelock::NodeError> {
    /// let lock = TreeLock::new();
    /// let store = LockedStore::with_lock(InMemory::new(), lock.clone());
    ///
    /// let backup = lock.acquire(&Request::new().read("photos")?.with_label("backup")).await;
    /// // Until `backup` is dropped, `store` changes nothing below `photos`.
    /// # drop(backup);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_lock(inner: S, lock: L) -> LockedStore<S, L> {
        LockedStore { inner: Arc::new(inner), lock }
    }

    /// Returns the lock, to print its [`snapshot`](TreeLock::snapshot) or to share it.
    ///
    /// A guard acquired here conflicts with this store's operations as any other holder does: an
    /// operation on the same folder in the same task waits for ever. Under a guard, work through
    /// [`inner`](LockedStore::inner); or let [`view`](LockedStore::view) do both.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::LockedStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = LockedStore::new(InMemory::new());
    /// let folder = store.write_folder("inbox").await?;
    /// assert_eq!(store.lock().snapshot().await.entries.len(), 1);
    /// # drop(folder);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock(&self) -> &L {
        &self.lock
    }

    /// Returns the wrapped store, which takes no locks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::memory::InMemory;
    /// # use treelock_object_store::LockedStore;
    /// let store = LockedStore::new(InMemory::new());
    /// assert_eq!(store.inner().to_string(), "InMemory");
    /// assert_eq!(store.to_string(), "LockedStore(InMemory)");
    /// ```
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Waits for the locks of one operation. A task may be polled late after the grant, so the lock
    /// is checked before it is handed on.
    async fn acquire(
        &self,
        label: &'static str,
        roots: &[(Access, &Path)],
    ) -> Result<Arc<Hold<L>>> {
        let mut request = Request::new();
        for (access, path) in roots {
            request = request.with(*access, node(path).map_err(not_a_node)?);
        }
        let hold = Hold::acquire(&self.lock, request.with_label(label)).await?;
        hold.check()?;
        Ok(hold)
    }

    /// Opens a stream of the wrapped store under a lock that is asked for when it is first polled.
    fn locked_stream<T: Send + 'static>(
        &self,
        request: Result<Request>,
        open: impl FnOnce(&S, &Arc<Hold<L>>) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let store = self.clone();
        stream::once(async move {
            let hold = Hold::acquire(&store.lock, request?).await?;
            Ok::<_, Error>(CarryingStream::new(open(&store.inner, &hold), hold))
        })
        .try_flatten()
        .boxed()
    }

    /// Deletes one batch under one request, which all its locations join in one step. Sets `begun`
    /// with the first location that is handed on, of this batch or of one before.
    fn delete_batch(
        &self,
        batch: Vec<Result<Path>>,
        begun: Arc<AtomicBool>,
    ) -> BoxStream<'static, Result<Path>> {
        let request = batch
            .iter()
            .flatten()
            .try_fold(Request::new(), |all, path| Ok(all.with(Access::Write, node(path)?)))
            .map(|all| all.with_label("delete"))
            .map_err(not_a_node);
        self.locked_stream(request, |inner, hold| {
            let hold = Arc::clone(hold);
            let checked = move |location: Result<Path>| {
                hold.check_step(begun.load(Ordering::Relaxed))?;
                location.inspect(|_| begun.store(true, Ordering::Relaxed))
            };
            inner.delete_stream(stream::iter(batch).map(checked).boxed())
        })
    }
}

impl<S: ObjectStore, L: Engine> Folders for LockedStore<S, L> {
    type Inner = S;
    type Lock = L;

    fn job(&self, plan: Result<Plan, FolderError>) -> FolderJob<S, L> {
        FolderJob::new(Arc::clone(&self.inner), LockSource::Engine(self.lock.clone()), plan)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore, L: Engine> ObjectStore for LockedStore<S, L> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let hold = self.acquire("put", &[(Access::Write, location)]).await?;
        hold.confirm(self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let hold = self.acquire("put_multipart", &[(Access::Write, location)]).await?;
        let upload = hold.confirm(self.inner.put_multipart_opts(location, opts).await)?;
        Ok(Box::new(CarryingUpload::new(upload, hold)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let hold = self.acquire("get", &[(Access::Read, location)]).await?;
        let result = hold.confirm(self.inner.get_opts(location, options).await)?;
        Ok(carry_get(result, hold))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let hold = self.acquire("get_ranges", &[(Access::Read, location)]).await?;
        hold.confirm(self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        stream::once(async move {
            // To the end first: the locations are likely a list stream of this very store, which
            // holds its lock until then.
            let mut rest = locations.collect::<Vec<_>>().await.into_iter();
            let batches = iter::from_fn(move || {
                let batch: Vec<_> =
                    rest.by_ref().take(LOCATIONS_PER_DELETE_MAX.min(L::MAX_ROOTS)).collect();
                (!batch.is_empty()).then_some(batch)
            });
            let begun = Arc::<AtomicBool>::default();
            stream::iter(batches)
                .flat_map(move |batch| store.delete_batch(batch, Arc::clone(&begun)))
        })
        .flatten()
        .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.locked_stream(list_request(prefix.as_ref()), move |inner, _| {
            inner.list(prefix.as_ref())
        })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.locked_stream(list_request(prefix.as_ref()), move |inner, _| {
            inner.list_with_offset(prefix.as_ref(), &offset)
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let hold = Hold::acquire(&self.lock, list_request(prefix)?).await?;
        hold.confirm(self.inner.list_with_delimiter(prefix).await)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let roots = [(Access::Read, from), (Access::Write, to)];
        let hold = self.acquire("copy", &roots).await?;
        hold.confirm(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let roots = [(Access::Write, from), (Access::Write, to)];
        let hold = self.acquire("rename", &roots).await?;
        hold.confirm(rename(&*self.inner, from, to, options).await)
    }
}

impl<S: fmt::Display, L: Engine> fmt::Display for LockedStore<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE_NAME}({})", self.inner)
    }
}

impl<S: fmt::Debug, L: Engine> fmt::Debug for LockedStore<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(STORE_NAME).field("inner", &self.inner).field("lock", &self.lock).finish()
    }
}

/// Renames an object, but not onto itself: the default of the trait is to copy and then delete.
pub(crate) async fn rename<S: ObjectStore>(
    store: &S,
    from: &Path,
    to: &Path,
    options: RenameOptions,
) -> Result<()> {
    if from == to && options.target_mode == RenameTargetMode::Overwrite {
        return store.get_opts(from, GetOptions::new().with_head(true)).await.map(drop);
    }
    store.rename_opts(from, to, options).await
}

/// Makes the store's error of a path that does not name a node.
pub(crate) fn not_a_node(error: NodeError) -> Error {
    Error::Generic { store: STORE_NAME, source: error.into() }
}

fn list_request(prefix: Option<&Path>) -> Result<Request> {
    let node = prefix.map_or_else(|| Ok(Node::root()), node).map_err(not_a_node)?;
    Ok(Request::new().with(Access::Read, node).with_label("list"))
}
