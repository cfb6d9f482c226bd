//! A live request of ours, and how it leaves: [`Turn`].

use std::{sync::Arc, time::Duration};

use etcd_client::{Txn, TxnResponse};
use tokio::{sync::oneshot, time::timeout};
use treelock::Request;

use crate::{
    call::{Answered, Call},
    cluster::failure::Failure,
    error::Error,
    live::Live,
    protocol::blockers::Blockers,
    runtime::{
        background::{Background, Counted},
        caller::CallerConnection,
    },
    session::{Session, slots::Slot},
};

/// How long a request that is refused waits for etcd to confirm that it has left.
const LEAVE_CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(2);

/// A live request of ours, waiting or held. Dropping it gives back whatever it has (C10), in the
/// background.
pub(crate) struct Turn {
    request: Request,
    pub(crate) session: Arc<Session>,
    pub(crate) slot: Arc<Slot>,
    /// `None` once it is being given back.
    live: Option<Live>,
}

impl Turn {
    pub(crate) fn new(live: Live, request: Request) -> Turn {
        let (session, slot) = (live.session.clone(), live.slot.clone());
        Turn { request, session, slot, live: Some(live) }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Returns its ticket; 0 until it is known.
    pub(crate) fn ticket(&self) -> u64 {
        self.live.as_ref().and_then(Live::ticket).unwrap_or(0) as u64
    }

    /// Returns where it is given back.
    pub(crate) fn background(&self) -> &Background {
        &self.session.background
    }

    /// Returns the transaction that enters it, if one is enough for that.
    pub(crate) fn ask(&mut self) -> Option<Txn> {
        self.live.as_mut().and_then(Live::ask)
    }

    /// Does what [`Live::asked`] does.
    pub(crate) fn asked(&mut self, answer: Result<TxnResponse, Failure>) -> Result<bool, Error> {
        match &mut self.live {
            Some(live) => live.asked(answer),
            None => Err(Error::Lost),
        }
    }

    /// Notes that the caller's runtime has no answer in time.
    pub(crate) fn asked_in_vain(&mut self) {
        if let Some(live) = &mut self.live {
            live.hear_nothing();
        }
    }

    /// Does what [`Live::enter`] does.
    pub(crate) async fn enter(&mut self) -> Result<Option<Blockers>, Error> {
        match &mut self.live {
            Some(live) => live.enter().await,
            None => Err(Error::Lost),
        }
    }

    /// Waits until it is granted; returns how often the safety net was needed.
    pub(crate) async fn wait(&self, blockers: Blockers) -> Result<u64, Error> {
        match &self.live {
            Some(live) => live.wait(blockers).await,
            None => Err(Error::Lost),
        }
    }

    /// Does what [`Live::nobody_is_in_the_way`] does.
    pub(crate) async fn nobody_is_in_the_way(&self) -> Result<(), Error> {
        match &self.live {
            Some(live) => live.nobody_is_in_the_way().await,
            None => Err(Error::Lost),
        }
    }

    /// Gives it back. Returns when etcd has confirmed that, or after a short time.
    pub(crate) async fn leave_soon(self) {
        // Leaving goes on in the background.
        let _ = timeout(LEAVE_CONFIRMATION_TIMEOUT, self.leave()).await;
    }

    /// Gives it back. Returns when etcd has confirmed that. Once this is polled, leaving goes on
    /// even if the future is dropped.
    pub(crate) async fn leave(mut self) {
        // What hangs on a lease that has ended needs no call.
        let connection = match self.session.is_alive() {
            true => self.session.servers.caller_connection(),
            false => None,
        };
        let by_caller = connection.and_then(|connection| Some((connection, self.release()?)));
        match by_caller {
            Some((connection, releasing)) => self.leave_by_caller(connection, releasing).await,
            None => self.leave_by_thread(None).await,
        }
    }

    /// Leaves by a call of the caller's runtime.
    async fn leave_by_caller(self, connection: CallerConnection, releasing: Txn) {
        let (background, slot) = (self.background().clone(), self.slot.clone());
        let counted = Some(background.count());
        let (done, left) = oneshot::channel();
        let call = Call::begin(background, self, Box::new(|turn| turn.give_back(done)), counted);
        slot.set_call(call.pending());
        // If our thread has taken over, it has said by now that it is done.
        let Ok(answered) = call.make(&connection, releasing, left).await else { return };
        let Answered { answer, item: mut turn, counted } = answered;
        match turn.released(answer.ok()) {
            true => {}
            false => turn.leave_by_thread(counted).await,
        }
    }

    /// Leaves in the background, and is counted there from then on.
    async fn leave_by_thread(self, counted: Option<Counted>) {
        let (done, left) = oneshot::channel();
        self.give_back(done);
        drop(counted);
        let _ = left.await;
    }

    /// Leaves in the background; tells when that is done.
    fn give_back(mut self, done: oneshot::Sender<()>) {
        if let Some(mut live) = self.live.take() {
            self.session.background.start(async move {
                live.leave().await;
                let _ = done.send(());
            });
        }
    }

    /// Does what [`Live::release`] does.
    fn release(&mut self) -> Option<Txn> {
        self.live.as_mut().and_then(Live::release)
    }

    /// Takes what came of that. Returns whether nothing is left to do.
    fn released(&mut self, answer: Option<TxnResponse>) -> bool {
        let has_left = self.live.as_mut().is_none_or(|live| live.released(answer));
        if has_left {
            self.live = None;
        }
        has_left
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut live) = self.live.take() {
            self.session.background.start(async move { live.leave().await });
        }
    }
}
