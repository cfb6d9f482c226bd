//! What outlives the call that took the lock, and therefore carries it: streams and uploads.
//!
//! The guard is released by the end or the drop of its carrier, never earlier: a reader that is
//! half-way through a download must not see the folder move away below it. A carrier whose lock is
//! lost says so instead of going on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use object_store::{
    Error, GetResult, GetResultPayload, MultipartUpload, PutPayload, PutResult, Result, UploadPart,
};
use treelock::Engine;

use crate::error::LockError;
use crate::lease::Lease;
use crate::store::NAME;

/// Files up to this size are read in one go; larger ones in the small pieces of `into_stream`.
const ONE_READ: u64 = 8 << 20;

type Items<T> = BoxStream<'static, Result<T>>;

/// A stream that carries what holds the lock until it ends or is dropped.
pub(crate) struct Held<T, L: Engine> {
    /// The order matters: the stream (an open file, say) is closed before its lock is released.
    open: Option<(Items<T>, Arc<Lease<L>>)>,
}

impl<T, L: Engine> Held<T, L> {
    pub(crate) fn new(stream: Items<T>, lease: Arc<Lease<L>>) -> Held<T, L> {
        Held { open: Some((stream, lease)) }
    }
}

impl<T, L: Engine> Stream for Held<T, L> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some((stream, lease)) = &mut self.open else { return Poll::Ready(None) };
        let mut next = ready!(stream.poll_next_unpin(cx));
        // At its end too: what was read before may be of two times.
        let lost = lease.check_step(true).err();
        let is_over = next.is_none() || lost.is_some();
        if let Some(lost) = lost
            && !tells_a_loss(&next)
        {
            next = Some(Err(lost.into()));
        }
        if is_over {
            self.open = None;
        }
        Poll::Ready(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.open.as_ref().map_or((0, Some(0)), |(stream, _)| stream.size_hint())
    }
}

/// Whether an item is a loss already, which then knows better whether work had begun.
fn tells_a_loss<T>(item: &Option<Result<T>>) -> bool {
    let Some(Err(error)) = item else { return false };
    LockError::of(error).is_some_and(LockError::is_lost)
}

/// Moves the lease into the payload of `result`.
///
/// The payload of a local store is an open file, in which no lease fits, so it becomes a stream
/// that owns both. Small files are read in one go, as `GetResult::bytes` would.
pub(crate) fn hold_get<L: Engine>(result: GetResult, lease: Arc<Lease<L>>) -> GetResult {
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
    let payload = GetResultPayload::Stream(Held::new(stream, lease).boxed());
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
/// A failed completion keeps the lock: the caller can try again or abort. Under a lost lock nothing
/// is completed, nor under none: until then, nothing of an upload is to be seen.
pub(crate) struct HeldUpload<L: Engine> {
    /// Declared before the lease, so that a dropped upload cleans up under its lock.
    upload: Box<dyn MultipartUpload>,
    lease: Option<Arc<Lease<L>>>,
    /// Whether a completion was begun, which may have been done even if it failed.
    begun: bool,
}

impl<L: Engine> HeldUpload<L> {
    pub(crate) fn new(upload: Box<dyn MultipartUpload>, lease: Arc<Lease<L>>) -> HeldUpload<L> {
        HeldUpload { upload, lease: Some(lease), begun: false }
    }
}

impl<L: Engine> fmt::Debug for HeldUpload<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldUpload")
            .field("upload", &self.upload)
            .field("locked", &self.lease.is_some())
            .finish()
    }
}

#[async_trait]
impl<L: Engine> MultipartUpload for HeldUpload<L> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let lease = self.lease.as_ref().ok_or_else(ended)?;
        lease.check_step(self.begun)?;
        self.begun = true;
        let result = lease.confirm(self.upload.complete().await)?;
        // Only now: a lease that is lost must refuse the next try.
        self.lease = None;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await?;
        self.lease = None;
        Ok(())
    }
}

/// To complete once more would be to write without the lock.
fn ended() -> Error {
    let source = "the upload is completed or aborted, and its lock released; begin another with \
                  `put_multipart`";
    Error::Generic { store: NAME, source: source.into() }
}
