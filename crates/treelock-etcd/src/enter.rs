//! Enters a request into the line.

use std::time::{Duration, Instant};

use etcd_client::{Txn, TxnResponse};

use crate::{
    cluster::failure::Failure,
    error::Error,
    live::{Live, pause},
    protocol::{blockers::Blockers, entry::Next, waiting::Waiting},
    wait::Waited,
    wire,
};

/// The name of this operation in error messages.
pub(crate) const ASK: &str = "request a lock";

/// How long entering a request is attempted while no member answers.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Live {
    /// Enters the request. Returns its blockers; `None` if it has blockers but does not wait.
    pub(crate) async fn enter(&mut self) -> Result<Option<Blockers>, Error> {
        let start = Instant::now();
        let mut refused = None;
        loop {
            let txn = match self.next() {
                Next::Send(txn) => txn,
                Next::Entered(blockers) => return self.entered(blockers).await,
                Next::Nothing => return refused.map_or(Ok(None), Err),
            };
            let answer = self.send(ASK, txn).await;
            let next = self.hear(&answer)?;
            match answer {
                Ok(_) => refused = None,
                Err(Failure::Final(error)) => refused = Some(error),
                Err(Failure::InDoubt(_)) if !self.session.is_alive() => return Err(Error::Lost),
                Err(Failure::InDoubt(last)) if start.elapsed() >= ASK_TIMEOUT => {
                    return Err(Error::Unavailable { doing: ASK, tried: start.elapsed(), last });
                }
                Err(Failure::InDoubt(_)) => {}
            }
            pause(next).await;
        }
    }

    /// Returns the transaction that enters the request, if a single one is enough. Its sender
    /// passes the outcome to [`asked`](Live::asked).
    pub(crate) fn ask(&mut self) -> Option<Txn> {
        if !self.entry.wish.can_look() {
            return None;
        }
        match self.next() {
            Next::Send(txn) => Some(wire::encode(txn)),
            Next::Entered(_) | Next::Nothing => None,
        }
    }

    /// Takes the outcome of that transaction. Returns whether the request is granted; if not, it
    /// has to be [entered](Live::enter).
    pub(crate) fn asked(&mut self, answer: Result<TxnResponse, Failure>) -> Result<bool, Error> {
        self.hear(&answer)?;
        match answer {
            Ok(_) => Ok(self.entry.is_free()),
            Err(Failure::InDoubt(_)) if !self.session.is_alive() => Err(Error::Lost),
            Err(Failure::InDoubt(_)) => Ok(false),
            Err(Failure::Final(error)) => Err(error),
        }
    }

    /// Records that the request is in line. If it does not wait, and its transaction could not look
    /// for blockers, it looks now.
    async fn entered(&self, blockers: Blockers) -> Result<Option<Blockers>, Error> {
        let wish = &self.entry.wish;
        let Some(ticket) = self.ticket().filter(|_| !wish.may_wait && !blockers.are_none()) else {
            return Ok(Some(blockers));
        };
        match self.drive(&mut Waiting::new(wish.clone(), ticket, blockers)).await? {
            Waited::Granted { .. } => Ok(Some(Blockers::none())),
            Waited::Refused => Ok(None),
        }
    }
}
