//! A store that sees which calls are begun before and after its lock is lost.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::loss::Loss;

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    inner: Arc<dyn ObjectStore>,
    loss: Arc<Loss>,
    chunk: usize,
}

impl Seen {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, loss: Arc<Loss>, chunk: usize) -> Seen {
        Seen { inner, loss, chunk }
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
        self.loss.call();
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

    /// Deletes as S3 does: locations are collected for one large request, and dropped after an
    /// error.
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
                        store.loss.call();
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
        self.loss.call();
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
        self.store.loss.call();
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
