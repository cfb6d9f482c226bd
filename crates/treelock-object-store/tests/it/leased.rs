//! A lock that can fail and be lost, as those between processes can, and a store that sees what is
//! begun when.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use treelock::{Engine, Guard, Request, TreeLock};

/// What the lock and the store know of each other.
#[derive(Debug, Default)]
pub(crate) struct State {
    fails: AtomicBool,
    lost: AtomicBool,
    /// How often the holders have looked, and at which look it is lost, counted from 1.
    looks: AtomicUsize,
    last_look: AtomicUsize,
    /// The same of the calls that change something.
    calls: AtomicUsize,
    last_call: AtomicUsize,
    late_calls: AtomicUsize,
    most_roots: AtomicUsize,
}

fn comes(count: &AtomicUsize, last: &AtomicUsize) -> bool {
    count.fetch_add(1, Ordering::SeqCst) + 1 == last.load(Ordering::SeqCst)
}

/// The lock. What is held is lost at a look of its holder's, at a call of the store's, or at once.
#[derive(Clone, Default)]
pub(crate) struct Leased {
    pub(crate) lock: TreeLock,
    state: Arc<State>,
}

impl Leased {
    pub(crate) fn failing() -> Leased {
        let leased = Leased::default();
        leased.state.fails.store(true, Ordering::SeqCst);
        leased
    }

    pub(crate) fn lost_at_look(nth: usize) -> Leased {
        let leased = Leased::default();
        leased.state.last_look.store(nth, Ordering::SeqCst);
        leased
    }

    pub(crate) fn lost_at_call(nth: usize) -> Leased {
        let leased = Leased::default();
        leased.state.last_call.store(nth, Ordering::SeqCst);
        leased
    }

    pub(crate) fn lose(&self) {
        self.state.lost.store(true, Ordering::SeqCst);
    }

    /// As if it had never been lost, for the next case of a test.
    pub(crate) fn find(&self) {
        self.state.lost.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// How many calls that change something were begun.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How many of them when the lock was lost.
    pub(crate) fn late_calls(&self) -> usize {
        self.state.late_calls.load(Ordering::SeqCst)
    }

    pub(crate) fn most_roots(&self) -> usize {
        self.state.most_roots.load(Ordering::SeqCst)
    }

    /// The store, which deletes so many objects in one call.
    pub(crate) fn seen(&self, inner: Arc<dyn ObjectStore>, chunk: usize) -> Seen {
        Seen { inner, state: Arc::clone(&self.state), chunk }
    }
}

#[derive(Debug)]
pub(crate) struct Fails;

impl fmt::Display for Fails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody answers; check that the endpoints are right")
    }
}

impl std::error::Error for Fails {}

impl Engine for Leased {
    type Guard = (Guard, Arc<State>);
    type Error = Fails;

    const MAX_ROOTS: usize = 3;

    async fn acquire(&self, request: &Request) -> std::result::Result<Self::Guard, Fails> {
        if self.state.fails.load(Ordering::SeqCst) {
            return Err(Fails);
        }
        self.state.most_roots.fetch_max(request.roots().count(), Ordering::SeqCst);
        Ok((self.lock.acquire(request).await, Arc::clone(&self.state)))
    }

    fn is_valid((_, state): &Self::Guard) -> bool {
        if comes(&state.looks, &state.last_look) {
            state.lost.store(true, Ordering::SeqCst);
        }
        !state.lost.load(Ordering::SeqCst)
    }
}

/// The store.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
    chunk: usize,
}

impl Seen {
    /// A call that changes something begins; the lock may be lost while it works.
    fn begin(&self) {
        if self.state.lost.load(Ordering::SeqCst) {
            self.state.late_calls.fetch_add(1, Ordering::SeqCst);
        }
        if comes(&self.state.calls, &self.state.last_call) {
            self.state.lost.store(true, Ordering::SeqCst);
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}

#[async_trait]
impl ObjectStore for Seen {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.begin();
        self.inner.put_opts(at, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(at, options).await?;
        Ok(Box::new(SeenUpload { upload, store: self.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    /// As that of S3: locations are collected for one large request, and forgotten after an error.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .try_chunks(self.chunk)
            .map_err(|error| error.1)
            .and_then(move |chunk| {
                let store = store.clone();
                async move {
                    for location in &chunk {
                        store.begin();
                        store.inner.delete(location).await?;
                    }
                    Ok(futures_util::stream::iter(chunk).map(Ok))
                }
            })
            .try_flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.begin();
        // Others get a turn while this one works.
        tokio::task::yield_now().await;
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload, whose completion is a call.
#[derive(Debug)]
struct SeenUpload {
    upload: Box<dyn MultipartUpload>,
    store: Seen,
}

#[async_trait]
impl MultipartUpload for SeenUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.begin();
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
