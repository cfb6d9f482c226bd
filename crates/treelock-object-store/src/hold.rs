//! What outlives the call that took the lock, and therefore carries it: streams and uploads.
//!
//! The guard is released by the end or the drop of its carrier, never earlier: a reader that is
//! half-way through a download must not see the folder move away below it. `G` is what holds the
//! lock, a [`Guard`](treelock::Guard) of its own or a share of a view's.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use object_store::{
    GetResult, GetResultPayload, MultipartUpload, PutPayload, PutResult, Result, UploadPart,
};

/// Files up to this size are read in one go; larger ones in the small pieces of `into_stream`.
const ONE_READ: u64 = 8 << 20;

/// A stream that carries what holds the lock until it ends or is dropped.
pub(crate) struct Held<G, T> {
    /// The order matters: the stream (an open file, say) is closed before its lock is released.
    open: Option<(BoxStream<'static, T>, G)>,
}

impl<G, T> Held<G, T> {
    pub(crate) fn new(stream: BoxStream<'static, T>, guard: G) -> Held<G, T> {
        Held { open: Some((stream, guard)) }
    }
}

impl<G: Unpin, T> Stream for Held<G, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some((stream, _)) = &mut self.open else { return Poll::Ready(None) };
        let next = stream.poll_next_unpin(cx);
        if let Poll::Ready(None) = next {
            self.open = None;
        }
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.open.as_ref().map_or((0, Some(0)), |(stream, _)| stream.size_hint())
    }
}

/// Moves the guard into the payload of `result`.
///
/// The payload of a local store is an open file, in which no guard fits, so it becomes a stream
/// that owns both. Small files are read in one go, as `GetResult::bytes` would.
pub(crate) fn hold_get<G: Send + Unpin + 'static>(result: GetResult, guard: G) -> GetResult {
    let GetResult { payload, meta, range, attributes, extensions } = result;
    let is_stream = is_stream(&payload);
    let bare = GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: Default::default(),
        extensions: Default::default(),
    };
    let stream = if is_stream || range.end.saturating_sub(range.start) > ONE_READ {
        bare.into_stream()
    } else {
        stream::once(bare.bytes()).boxed()
    };
    let payload = GetResultPayload::Stream(Held::new(stream, guard).boxed());
    GetResult { payload, meta, range, attributes, extensions }
}

/// The other variant exists only if some crate of the build turned object_store's `fs` on, which a
/// `cfg` of this crate cannot see.
#[allow(unreachable_patterns)]
fn is_stream(payload: &GetResultPayload) -> bool {
    matches!(payload, GetResultPayload::Stream(_))
}

/// A multipart upload that carries what holds the lock until it is completed, aborted or dropped.
///
/// A failed completion keeps the lock: the caller can try again or abort.
pub(crate) struct HeldUpload<G> {
    /// Declared before the guard, so that a dropped upload cleans up under its lock.
    upload: Box<dyn MultipartUpload>,
    guard: Option<G>,
}

impl<G> HeldUpload<G> {
    pub(crate) fn new(upload: Box<dyn MultipartUpload>, guard: G) -> HeldUpload<G> {
        HeldUpload { upload, guard: Some(guard) }
    }
}

impl<G> fmt::Debug for HeldUpload<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldUpload")
            .field("upload", &self.upload)
            .field("locked", &self.guard.is_some())
            .finish()
    }
}

#[async_trait]
impl<G: Send> MultipartUpload for HeldUpload<G> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.upload.complete().await?;
        self.guard = None;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await?;
        self.guard = None;
        Ok(())
    }
}
