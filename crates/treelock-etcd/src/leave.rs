//! How a request leaves, whatever became of it.

use etcd_client::{Txn, TxnResponse};

use crate::{
    cluster::failure::Failure,
    live::{Live, pause},
    protocol::entry::Next,
    wire,
};

impl Live {
    /// Makes sure that nothing of the request is left, or will be. Returns when that is known, or
    /// the session is over: the end of the lease takes all keys with it.
    pub(crate) async fn leave(&mut self) {
        self.entry.leave();
        while self.session.is_alive() {
            let Next::Send(txn) = self.next() else {
                return self.session.give_back(&self.slot);
            };
            let answer = self.send("release a lock", txn).await;
            if let Ok(next) = self.hear(&answer) {
                pause(next).await;
            }
        }
    }

    /// Begins to leave; returns the transaction that releases the request, if it is in line.
    pub(crate) fn release(&mut self) -> Option<Txn> {
        self.ticket()?;
        self.entry.leave();
        match self.next() {
            Next::Send(txn) => Some(wire::encode(txn)),
            Next::Entered(_) | Next::Nothing => None,
        }
    }

    /// Takes what came of the transaction that releases the request. Returns whether it has left.
    pub(crate) fn released(&mut self, answer: Option<TxnResponse>) -> bool {
        let late = || Err(Failure::late());
        let has_left = self.hear(&answer.map_or_else(late, Ok)).is_ok() && self.entry.is_gone();
        if has_left {
            self.session.give_back(&self.slot);
        }
        has_left
    }
}
