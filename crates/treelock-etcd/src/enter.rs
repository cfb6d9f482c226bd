//! How a request enters the line.

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

/// What is done to enter a request, as errors say it.
pub(crate) const ASK: &str = "ask for a lock";

/// How long a request is asked for while no member answers.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Live {
    /// Enters the request. Returns who is in its way; `None` if it does not wait, and somebody is.
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

    /// Returns the transaction that enters the request, if one is enough for that: whoever sends it
    /// tells [`asked`](Live::asked).
    pub(crate) fn ask(&mut self) -> Option<Txn> {
        if !self.entry.wish.can_look() {
            return None;
        }
        match self.next() {
            Next::Send(txn) => Some(wire::encode(txn)),
            Next::Entered(_) | Next::Nothing => None,
        }
    }

    /// Takes what came of that. Returns whether the request is granted; if not, it has to be
    /// [entered](Live::enter).
    pub(crate) fn asked(&mut self, answer: Result<TxnResponse, Failure>) -> Result<bool, Error> {
        self.hear(&answer)?;
        match answer {
            Ok(_) => Ok(self.entry.is_free()),
            Err(Failure::InDoubt(_)) if !self.session.is_alive() => Err(Error::Lost),
            Err(Failure::InDoubt(_)) => Ok(false),
            Err(Failure::Final(error)) => Err(error),
        }
    }

    /// Notes that it is in line. If one transaction could not look whether somebody is in the way
    /// of one that does not wait, it looks now.
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
