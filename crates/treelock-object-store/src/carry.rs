//! What outlives the call that took the lock, and therefore carries it: streams and uploads.
//!
//! The lock is released at the end or the drop of its carrier, never earlier: a reader that is
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
use treelock::engine::Engine;

use crate::error::lock::{LockError, STORE_NAME};
use crate::hold::Hold;

/// Files up to this size are read in one go; larger ones in the small pieces of `into_stream`.
const BYTES_PER_READ_MAX: u64 = 8 << 20;

type Items<T> = BoxStream<'static, Result<T>>;

/// A stream that carries its lock until it ends or is dropped.
pub(crate) struct CarryingStream<T, L: Engine> {
    /// The order matters: the stream (an open file, say) is closed before its lock is released.
    open: Option<(Items<T>, Arc<Hold<L>>)>,
}

impl<T, L: Engine> CarryingStream<T, L> {
    pub(crate) fn new(stream: Items<T>, hold: Arc<Hold<L>>) -> CarryingStream<T, L> {
        CarryingStream { open: Some((stream, hold)) }
    }
}

impl<T, L: Engine> Stream for CarryingStream<T, L> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        let Some((stream, hold)) = &mut self.open else { return Poll::Ready(None) };
        let mut next = ready!(stream.poll_next_unpin(cx));
        // At the end too: what was read before may mix two states.
        let lost = hold.check_step(true).err();
        let is_over = next.is_none() || lost.is_some();
        if let Some(lost) = lost
            && !reports_a_loss(&next)
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

/// Returns whether an item reports a loss already: it then knows better whether work had begun.
fn reports_a_loss<T>(item: &Option<Result<T>>) -> bool {
    let Some(Err(error)) = item else { return false };
    LockError::find(error).is_some_and(LockError::was_held)
}

/// Moves the lock into the payload of `result`.
///
/// The payload of a local store is an open file, in which no lock fits, so it becomes a stream that
/// owns both. Small files are read in one go, as `GetResult::bytes` would.
pub(crate) fn carry_get<L: Engine>(result: GetResult, hold: Arc<Hold<L>>) -> GetResult {
    let GetResult { payload, meta, range, attributes, extensions } = result;
    let is_stream = is_stream(&payload);
    let bare = GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: Default::default(),
        extensions: Default::default(),
    };
    let bytes = range.end.saturating_sub(range.start);
    let stream = if is_stream || bytes > BYTES_PER_READ_MAX {
        bare.into_stream()
    } else {
        stream::once(bare.bytes()).boxed()
    };
    let payload = GetResultPayload::Stream(CarryingStream::new(stream, hold).boxed());
    GetResult { payload, meta, range, attributes, extensions }
}

/// Returns whether a payload is a stream already. The other variant exists only if some crate of
/// the build turned object_store's `fs` on, which a `cfg` of this crate cannot see.
#[allow(unreachable_patterns)]
fn is_stream(payload: &GetResultPayload) -> bool {
    matches!(payload, GetResultPayload::Stream(_))
}

/// A multipart upload that carries its lock until it is completed, aborted or dropped.
///
/// A failed completion keeps the lock: the caller can try again or abort. Nothing is completed
/// without a valid lock: until its completion, nothing of an upload is to be seen.
pub(crate) struct CarryingUpload<L: Engine> {
    /// Declared before the lock, so that a dropped upload cleans up under it.
    upload: Box<dyn MultipartUpload>,
    hold: Option<Arc<Hold<L>>>,
    /// Whether a completion was begun, which may have been done even if it failed.
    begun: bool,
}

impl<L: Engine> CarryingUpload<L> {
    pub(crate) fn new(upload: Box<dyn MultipartUpload>, hold: Arc<Hold<L>>) -> CarryingUpload<L> {
        CarryingUpload { upload, hold: Some(hold), begun: false }
    }
}

impl<L: Engine> fmt::Debug for CarryingUpload<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarryingUpload")
            .field("upload", &self.upload)
            .field("is_locked", &self.hold.is_some())
            .finish()
    }
}

#[async_trait]
impl<L: Engine> MultipartUpload for CarryingUpload<L> {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let hold = self.hold.as_ref().ok_or_else(ended)?;
        hold.check_step(self.begun)?;
        self.begun = true;
        let result = hold.confirm(self.upload.complete().await)?;
        // Only now: a lock that is lost must refuse the next try.
        self.hold = None;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await?;
        self.hold = None;
        Ok(())
    }
}

/// Refuses to complete once more, which would be to write without the lock.
fn ended() -> Error {
    let source = "the upload is completed or aborted, and its lock released; begin another with \
                  `put_multipart`";
    Error::Generic { store: STORE_NAME, source: source.into() }
}
