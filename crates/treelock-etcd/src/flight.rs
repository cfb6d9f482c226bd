//! A call that a guest makes, and our thread behind it.
//!
//! Nobody can rely on a guest: its threads may be busy, the future that made the call may not be polled any more, the
//! runtime may end. So the request lies where both get at it, and whoever takes it goes on with it: the future, with
//! the answer; or our thread, if there is none in the time that a member may take.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use etcd_client::{Error, Txn, TxnResponse};
use futures_util::future::{Either, select};
use tokio::sync::oneshot;

use crate::{
    guard::Turn,
    guests::Here,
    runtime::{Counted, Leaving},
    servers::PATIENCE,
};

/// What our thread does with a request that it has taken over.
pub(crate) type GoOn = Box<dyn FnOnce(Turn) + Send>;

/// A request whose call is on its way.
pub(crate) struct Flight {
    since: Instant,
    leaving: Leaving,
    lies: Mutex<Option<Lies>>,
}

struct Lies {
    turn: Turn,
    go_on: GoOn,
    /// Of one that is given back. After the others, since it is dropped after them.
    counted: Option<Counted>,
}

impl Flight {
    fn take(&self) -> Option<Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it is time for our thread to take it over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// Goes on with it, in our thread, if its future has not done so.
    pub(crate) fn take_over(&self) {
        // Until it is counted elsewhere.
        let _counted = self.leaving.count();
        if let Some(Lies { turn, go_on, counted }) = self.take() {
            go_on(turn);
            drop(counted);
        }
    }
}

/// The future's side. Dropping it gives up the request.
pub(crate) struct Flying(Arc<Flight>);

/// A flight that came to its end: the future goes on with the request.
pub(crate) struct Landed {
    pub(crate) answer: Result<TxnResponse, Error>,
    pub(crate) turn: Turn,
    pub(crate) counted: Option<Counted>,
}

/// Our thread has taken over, and says this; `None` if it could not.
pub(crate) struct TakenOver<T>(pub(crate) Option<T>);

impl Flying {
    pub(crate) fn begin(turn: Turn, go_on: GoOn, counted: Option<Counted>) -> Flying {
        let (place, leaving) = (turn.place().clone(), turn.leaving().clone());
        let lies = Mutex::new(Some(Lies { turn, go_on, counted }));
        let flight = Arc::new(Flight { since: Instant::now(), leaving, lies });
        place.flies(Arc::downgrade(&flight));
        Flying(flight)
    }

    /// Makes the call. `taken_over` is what our thread says if it goes on with the request, which the function does
    /// that the flight was begun with.
    pub(crate) async fn fly<T>(
        self,
        here: &Here,
        txn: Txn,
        taken_over: oneshot::Receiver<T>,
    ) -> Result<Landed, TakenOver<T>> {
        let mut kv = here.client.kv_client();
        let (answer, taken_over) = match select(pin!(kv.txn(txn)), taken_over).await {
            Either::Left(answered) => answered,
            Either::Right((said, _)) => {
                here.has_failed();
                return Err(TakenOver(said.ok()));
            }
        };
        if answer.is_err() {
            here.has_failed();
        }
        match self.0.take() {
            None => Err(TakenOver(taken_over.await.ok())),
            Some(Lies { turn, go_on, counted }) => {
                // Before the other end, which would wake us with its own end.
                drop(taken_over);
                drop(go_on);
                Ok(Landed { answer, turn, counted })
            }
        }
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
