//! A live request of ours, and how it leaves: [`Turn`].

use std::{sync::Arc, time::Duration};

use etcd_client::{Txn, TxnResponse};
use tokio::{sync::oneshot, time::timeout};
use treelock::Request;

use crate::{
    call::{Answered, Call},
    cluster::failure::Failure,
    error::Error,
    runtime::{
        caller::CallerConnection,
        leaving::{Counted, Leaving},
    },
    session::{Session, slots::Slot},
    table::{Answer, Begun, Blockers, Entry},
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
    entry: Option<Entry>,
}

impl Turn {
    pub(crate) fn new(entry: Entry, request: Request) -> Turn {
        let (session, slot) = (entry.session.clone(), entry.slot.clone());
        Turn { request, session, slot, entry: Some(entry) }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// Returns its ticket; 0 until it is known.
    pub(crate) fn ticket(&self) -> u64 {
        self.entry.as_ref().and_then(Entry::ticket).unwrap_or(0) as u64
    }

    /// Returns what counts the things that are being given back.
    pub(crate) fn leaving(&self) -> &Leaving {
        &self.session.leaving
    }

    /// Does what [`Entry::send`] does, if one call is enough to enter it.
    pub(crate) fn send(&mut self, may_wait: bool) -> Option<(i64, Txn)> {
        self.entry
            .as_mut()
            .filter(|entry| entry.can_look())
            .map(|entry| entry.send(false, may_wait))
    }

    /// Does what [`Entry::sent`] does.
    pub(crate) fn sent(
        &mut self,
        epoch: i64,
        answer: Result<TxnResponse, Failure>,
        may_wait: bool,
    ) -> Begun {
        match &mut self.entry {
            Some(entry) => entry.sent(epoch, answer, may_wait),
            None => Begun::Not,
        }
    }

    /// Does what [`Entry::enter`] does.
    pub(crate) async fn enter(&mut self, begun: Begun, may_wait: bool) -> Result<Answer, Error> {
        match &mut self.entry {
            Some(entry) => entry.enter(begun, may_wait).await,
            None => Ok(Answer::Refused),
        }
    }

    /// Waits until it is granted; returns how often the safety net was needed.
    pub(crate) async fn wait(&self, blockers: Blockers) -> Result<u64, Error> {
        match &self.entry {
            Some(entry) => entry.wait(blockers).await,
            None => Err(Error::Lost),
        }
    }

    /// Does what [`Entry::nobody_is_in_the_way`] does.
    pub(crate) async fn nobody_is_in_the_way(&self) -> Result<(), Error> {
        match &self.entry {
            Some(entry) => entry.nobody_is_in_the_way().await,
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
    pub(crate) async fn leave(self) {
        let releasing = self.entry.as_ref().and_then(Entry::releasing);
        // What hangs on a lease that has ended needs no call.
        let releasing = releasing.filter(|_| self.session.is_alive());
        let by_caller = releasing
            .and_then(|releasing| Some((self.session.servers.caller_connection()?, releasing)));
        match by_caller {
            Some((connection, releasing)) => self.leave_by_caller(connection, releasing).await,
            None => self.leave_by_thread(None).await,
        }
    }

    /// Leaves by a call of the caller's runtime.
    async fn leave_by_caller(self, connection: CallerConnection, releasing: Txn) {
        let (leaving, slot) = (self.leaving().clone(), self.slot.clone());
        let counted = Some(leaving.count());
        let (done, left) = oneshot::channel();
        let call = Call::begin(leaving, self, Box::new(|turn| turn.give_back(done)), counted);
        slot.set_call(call.pending());
        // If our thread has taken over, it has said by now that it is done.
        let Ok(answered) = call.make(&connection, releasing, left).await else { return };
        let Answered { answer, item: mut turn, counted } = answered;
        match answer.is_ok_and(|answer| answer.succeeded()) {
            true => turn.has_left(),
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
        if let Some(mut entry) = self.entry.take() {
            self.session.leaving.start(async move {
                entry.leave().await;
                let _ = done.send(());
            });
        }
    }

    /// Notes that it was given back.
    fn has_left(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.left();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            self.session.leaving.start(async move { entry.leave().await });
        }
    }
}
