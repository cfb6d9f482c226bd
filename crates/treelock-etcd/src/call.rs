//! A call that the caller's runtime makes, and our thread behind it.
//!
//! Nobody can rely on a caller's runtime: its threads may be busy, the future that made the call
//! may no longer be polled, the runtime may end. So what the call is about, its *cargo*, lies where
//! both sides can reach it, and whoever takes it goes on with it: the future, when the answer is
//! there; or our thread, if there is no answer in the time that a member may take.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use etcd_client::{Error, Txn, TxnResponse};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use crate::{
    cluster::failure::ANSWER_TIMEOUT,
    runtime::{
        background::{Background, Counted},
        caller::CallerConnection,
    },
};

/// What our thread does with the cargo of a call that it takes over.
pub(crate) type GoOn<C> = Box<dyn FnOnce(C) + Send>;

/// A call, whatever it is about, as our thread sees it.
pub(crate) trait TakeOver: Send + Sync {
    /// Returns whether it is time for our thread to take it over.
    fn is_overdue(&self) -> bool;

    /// Goes on with it, in our thread, unless its future has done so.
    fn take_over(&self);
}

/// A call that is on its way.
struct PendingCall<C> {
    since: Instant,
    background: Background,
    cargo: Mutex<Option<Cargo<C>>>,
}

struct Cargo<C> {
    item: C,
    go_on: GoOn<C>,
    /// If the call gives the item back. The last field, so that it is dropped after the others.
    counted: Option<Counted>,
}

impl<C> PendingCall<C> {
    fn take(&self) -> Option<Cargo<C>> {
        self.cargo.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<C: Send> TakeOver for PendingCall<C> {
    fn is_overdue(&self) -> bool {
        self.since.elapsed() >= ANSWER_TIMEOUT
    }

    fn take_over(&self) {
        // Until it is counted elsewhere.
        let _counted = self.background.count();
        if let Some(Cargo { item, go_on, counted }) = self.take() {
            go_on(item);
            drop(counted);
        }
    }
}

/// The future's side of a call. Dropping it drops the cargo, unless our thread has that.
pub(crate) struct Call<C>(Arc<PendingCall<C>>);

/// A call that was answered: the future goes on with its cargo.
pub(crate) struct Answered<C> {
    pub(crate) answer: Result<TxnResponse, Error>,
    pub(crate) item: C,
    pub(crate) counted: Option<Counted>,
}

/// Our thread has taken the call over, and says this; `None` if it could not.
pub(crate) struct TakenOver<T>(pub(crate) Option<T>);

impl<C: Send + 'static> Call<C> {
    /// Begins a call about `item`. If our thread takes it over, it does `go_on`.
    pub(crate) fn begin(
        background: Background,
        item: C,
        go_on: GoOn<C>,
        counted: Option<Counted>,
    ) -> Call<C> {
        let cargo = Mutex::new(Some(Cargo { item, go_on, counted }));
        Call(Arc::new(PendingCall { since: Instant::now(), background, cargo }))
    }

    /// Returns the call as our thread sees it.
    pub(crate) fn pending(&self) -> Weak<dyn TakeOver> {
        let pending: Weak<PendingCall<C>> = Arc::downgrade(&self.0);
        pending
    }

    /// Makes the call. `taken_over` is what our thread says if it takes the call over.
    pub(crate) async fn make<T>(
        self,
        connection: &CallerConnection,
        txn: Txn,
        taken_over: oneshot::Receiver<T>,
    ) -> Result<Answered<C>, TakenOver<T>> {
        let mut kv = connection.client.kv_client();
        let (answer, taken_over) = match select(pin!(kv.txn(txn)), taken_over).await {
            Either::Left(answered) => answered,
            Either::Right((said, _)) => {
                connection.has_failed();
                return Err(TakenOver(said.ok()));
            }
        };
        if answer.is_err() {
            connection.has_failed();
        }
        match self.0.take() {
            None => Err(TakenOver(taken_over.await.ok())),
            Some(Cargo { item, go_on, counted }) => {
                // Before the sender, whose end would wake this task.
                drop(taken_over);
                drop(go_on);
                Ok(Answered { answer, item, counted })
            }
        }
    }
}

impl<C> Drop for Call<C> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
