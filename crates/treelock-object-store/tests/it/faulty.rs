//! A store that fails, or hangs, at the n-th call of one kind.

use std::fmt;
use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};

/// Which calls are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Copy,
    Delete,
    List,
    Head,
    Complete,
}

/// What happens at the n-th call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// An error, and nothing is done.
    Before,
    /// An error, though all is done: the answer got lost.
    After,
    /// An error that says `NotFound`, and nothing is done.
    NotFound,
    /// It never ends, and nothing is done.
    Hang,
}

#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    call: Call,
    how: How,
    /// Calls left before the one that fails; after it, all is well again.
    left: Arc<AtomicUsize>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, call: Call, nth: usize, how: How) -> Faulty {
        Faulty { inner, call, how, left: Arc::new(AtomicUsize::new(nth)) }
    }

    /// Returns whether the call that fails has come.
    pub(crate) fn came(&self) -> bool {
        self.left.load(Ordering::SeqCst) == usize::MAX
    }

    fn is_hit(&self, call: Call) -> bool {
        call == self.call && !self.came() && self.left.fetch_sub(1, Ordering::SeqCst) == 0
    }

    async fn through<T>(&self, call: Call, work: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.is_hit(call) {
            return work.await;
        }
        match self.how {
            How::Before => Err(broken()),
            How::After => work.await.and_then(|_| Err(broken())),
            How::NotFound => {
                Err(Error::NotFound { path: "elsewhere".into(), source: "faulty".into() })
            }
            How::Hang => pending().await,
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "Faulty", source: "the line is cut".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(at, options).await?;
        Ok(Box::new(FaultyUpload { upload, faulty: self.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.through(Call::Head, self.inner.get_opts(at, options)).await;
        }
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let faulty = self.clone();
        locations
            .map(move |location| {
                let faulty = faulty.clone();
                async move {
                    let location = location?;
                    faulty.through(Call::Delete, faulty.inner.delete(&location)).await?;
                    Ok(location)
                }
            })
            .buffered(3)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.is_hit(Call::List) {
            return stream::once(async { Err(broken()) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.through(Call::List, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.through(Call::Copy, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    faulty: Faulty,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let faulty = self.faulty.clone();
        faulty.through(Call::Complete, self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

/// A store that counts how many copies run at once, and that lists an object named as the prefix
/// itself, as some stores list their markers of folders.
#[derive(Debug)]
pub(crate) struct Counting<S> {
    inner: Arc<S>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl<S> Counting<S> {
    pub(crate) fn new(inner: S) -> Counting<S> {
        Counting { inner: Arc::new(inner), now: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl<S> fmt::Display for Counting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Counting<S> {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, marker) = (Arc::clone(&self.inner), prefix.cloned().unwrap_or_default());
        let marker = stream::once(async move { inner.head(&marker).await.ok() });
        let marker = marker.filter_map(|found| async move { found.map(Ok) });
        marker.chain(self.inner.list(prefix)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let result = self.inner.copy_opts(from, to, options).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        result
    }
}
