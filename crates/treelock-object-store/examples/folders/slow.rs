//! A store that is farther away: each call waits before it does its work.
//!
//! Not object_store's `ThrottledStore`: that one panics on the files of a local store, and lets the
//! deletes of one folder wait one after another, which no remote store does.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// How many deletes of one stream are under way at once, at most.
const DELETES_AT_ONCE_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Slow<S> {
    inner: Arc<S>,
    latency: Duration,
}

impl<S> Slow<S> {
    pub(crate) fn new(inner: S, latency: Duration) -> Slow<S> {
        Slow { inner: Arc::new(inner), latency }
    }

    /// Returns the store without the wait, to fill it and to look at it.
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }
}

async fn wait(latency: Duration) {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

impl<S: fmt::Display> fmt::Display for Slow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slow({}, {:?})", self.inner, self.latency)
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for Slow<S> {
    async fn put_opts(&self, at: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        wait(self.latency).await;
        self.inner.put_opts(at, payload, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        wait(self.latency).await;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        wait(self.latency).await;
        self.inner.get_opts(at, options).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        wait(self.latency).await;
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, latency) = (Arc::clone(&self.inner), self.latency);
        locations
            .map(move |location| {
                let inner = Arc::clone(&inner);
                async move {
                    let location = location?;
                    wait(latency).await;
                    inner.delete(&location).await?;
                    Ok(location)
                }
            })
            .buffered(DELETES_AT_ONCE_MAX)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, latency, prefix) = (Arc::clone(&self.inner), self.latency, prefix.cloned());
        let listed = async move {
            wait(latency).await;
            inner.list(prefix.as_ref())
        };
        stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        wait(self.latency).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        wait(self.latency).await;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        wait(self.latency).await;
        self.inner.rename_opts(from, to, options).await
    }
}
