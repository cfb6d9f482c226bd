//! A live request at its slot of a session, and its way to etcd and back: [`Live`].
//!
//! What it sends, and what an answer means, is decided in [`protocol`](crate::protocol). The rooms
//! `enter`, `wait` and `leave` drive that.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, TxnResponse};
use tokio::time::sleep;
use treelock::{Access, Node};

use crate::{
    cluster::failure::{Failure, RETRY_INTERVAL},
    error::Error,
    protocol::{
        entry::{Entry, Next},
        session::Learnt,
        txn::{Answer, NoAnswer, Pause, Txn},
        waiting::Here,
        wish::{LIMITS, Wish},
    },
    session::{Session, slots::Slot},
    value::Value,
    wire,
};

/// How soon what cannot be given back for want of space is tried again.
const NO_SPACE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A live request, from before it is first sent until it is known to be gone.
pub(crate) struct Live {
    pub(crate) session: Arc<Session>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) entry: Entry,
}

impl Live {
    /// Makes a request at a slot that was taken for as many keys as there are roots, or one.
    pub(crate) fn new(
        (session, slot): (Arc<Session>, Arc<Slot>),
        roots: &[(Access, Node)],
        value: Value,
        may_wait: bool,
    ) -> Live {
        let entry = Entry::new(Wish {
            session: session.identity.clone(),
            slot: slot.number,
            keys: session.space.keys(roots, &session.id, slot.number),
            values: Value { nonce: slot.nonce, ..value }.texts(roots),
            ranges: session.space.conflicts(roots),
            may_wait,
            limits: LIMITS,
        });
        Live { session, slot, entry }
    }

    /// Returns its ticket if it is in line.
    pub(crate) fn ticket(&self) -> Option<i64> {
        self.entry.ticket()
    }

    /// Returns what has to be done next.
    pub(crate) fn next(&mut self) -> Next {
        self.entry.next(self.session.epoch())
    }

    /// Sends a transaction to the member that answered last, once.
    pub(crate) async fn send(&self, doing: &'static str, txn: Txn) -> Result<TxnResponse, Failure> {
        let txn = wire::encode(txn);
        let ask = |client: Arc<Client>| async move { client.kv_client().txn(txn).await };
        self.session.servers.ask(doing, ask).await
    }

    /// Takes what came of the transaction that was sent last. Returns how long to wait before the
    /// next one; an error is that the session is over.
    pub(crate) fn hear(&mut self, answer: &Result<TxnResponse, Failure>) -> Result<Pause, Error> {
        let answer = answer.as_ref().map(wire::answer).map_err(wire::no_answer);
        self.hear_plain(answer.as_ref().map_err(|why| *why))
    }

    fn hear_plain(&mut self, answer: Result<&Answer, NoAnswer>) -> Result<Pause, Error> {
        let (learnt, pause) = self.entry.answered(answer);
        self.session.learn(learnt);
        if let Some(ticket) = self.entry.ticket() {
            self.slot.enter(ticket);
        }
        match learnt {
            Learnt::Over => Err(Error::Lost),
            Learnt::Nothing | Learnt::Epoch(_) => Ok(pause),
        }
    }

    /// Notes that no answer came to the transaction that was sent last, and none is waited for.
    pub(crate) fn hear_nothing(&mut self) {
        // Nothing is learnt from that.
        let _ = self.hear_plain(Err(NoAnswer::InDoubt));
    }
}

impl Here for Live {
    fn is_gone(&self, slot: u64, ticket: i64) -> bool {
        self.session.slot(slot, ticket).is_none()
    }

    fn is_valid(&self) -> bool {
        self.session.is_alive() && !self.slot.is_revoked()
    }
}

/// Waits before the next transaction.
pub(crate) async fn pause(pause: Pause) {
    match pause {
        Pause::None => {}
        Pause::Short => sleep(RETRY_INTERVAL).await,
        Pause::Long => sleep(NO_SPACE_RETRY_INTERVAL).await,
    }
}
