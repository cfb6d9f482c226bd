//! A live request, from before it is first sent until it is known to be gone: [`Entry`].
//!
//! ```text
//! Unsent ─▶ Asked ─▶ Entered ─────────────────────▶ Leaving(Release) ─▶ Gone
//!            │ ▲ └─▶ Found ─▶ Entered                                    ▲
//!            ▼ │      a lost answer's copy was carried out               │
//!          Again ◀─▶ Blocked: its slot is not free yet                   │
//!            │                                                           │
//!            └─▶ InDoubt, Unsure: refused ─▶ Leaving(Cancel, Delete) ────┘
//! ```

use std::{mem, sync::Arc};

use super::{
    blockers::Blockers,
    flaw::{self, Flaw},
    leaving::{Leaving, cancel, cancelled},
    session::Learnt,
    txn::{Answer, Compare, NoAnswer, Operation, Pause, Txn},
    wish::Wish,
};

/// A live request. Whatever becomes of it, [`Entry::leave`] and what follows make sure that nothing
/// of it is left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) wish: Arc<Wish>,
    stage: Stage,
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Nothing was sent.
    Unsent,
    /// It was sent when the session's key had this epoch. `retried` if more than once.
    Asked { epoch: i64, retried: bool },
    /// It has to be sent again.
    Again { retried: bool },
    /// At its slot lies what somebody could not give back; that is being deleted.
    Blocked { epoch: i64, retried: bool },
    /// An earlier copy was carried out, and later ones must not be. Until then it is in doubt.
    Found { ticket: i64 },
    /// It is there; these are in its way, until somebody asks for them.
    Entered { ticket: i64, blockers: Option<Blockers> },
    /// It was refused, and a copy may be there, or come.
    InDoubt,
    /// It was refused for want of space, and may be there all the same.
    Unsure,
    /// It makes sure that nothing of it is left.
    Leaving(Leaving),
    /// It is certainly not there, and will not be.
    Gone,
}

/// What has to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send this, and tell the entry what came of it.
    Send(Txn),
    /// It is in line, and these are in its way.
    Entered(Blockers),
    /// Nothing: it is not in line. It has left, or was refused and only has to leave.
    Nothing,
}

impl Entry {
    pub(crate) fn new(wish: Wish) -> Entry {
        Entry { wish: Arc::new(wish), stage: Stage::Unsent }
    }

    /// Returns the ticket of one that is in line.
    pub(crate) fn ticket(&self) -> Option<i64> {
        match self.stage {
            Stage::Entered { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// Returns whether it is in line, and nobody was in its way when it entered.
    pub(crate) fn is_free(&self) -> bool {
        match &self.stage {
            Stage::Entered { blockers, .. } => blockers.as_ref().is_some_and(Blockers::are_none),
            _ => false,
        }
    }

    /// Returns whether it is certainly not there, and will not be.
    pub(crate) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Returns what has to be done next, where this is the epoch of the session.
    pub(crate) fn next(&mut self, now: i64) -> Next {
        let wish = &self.wish;
        match &mut self.stage {
            Stage::Unsent => {
                self.stage = Stage::Asked { epoch: now, retried: false };
                Next::Send(self.ask(now, false))
            }
            Stage::Again { retried } => {
                let retried = *retried;
                self.stage = Stage::Asked { epoch: now, retried };
                Next::Send(self.ask(now, retried))
            }
            // Whatever the answer was, nobody has told it.
            Stage::Asked { .. } => {
                self.stage = Stage::Asked { epoch: now, retried: true };
                Next::Send(self.ask(now, true))
            }
            Stage::Blocked { epoch, .. } => {
                *epoch = now;
                Next::Send(cancel(wish, now))
            }
            Stage::Found { .. } => {
                let (compares, then) = (vec![wish.session.is_own()], vec![wish.session.bump()]);
                Next::Send(Txn { compares, then, otherwise: Vec::new() })
            }
            Stage::Entered { blockers, .. } => {
                let unknown = || Blockers::unknown(wish.ranges.clone());
                Next::Entered(blockers.take().unwrap_or_else(unknown))
            }
            Stage::Leaving(leaving) => Next::Send(leaving.next(wish, now)),
            Stage::InDoubt | Stage::Unsure | Stage::Gone => Next::Nothing,
        }
    }

    /// Takes what came of the transaction that was sent last.
    pub(crate) fn answered(&mut self, answer: Result<&Answer, NoAnswer>) -> (Learnt, Pause) {
        match (mem::replace(&mut self.stage, Stage::Gone), answer) {
            (Stage::Asked { epoch, retried }, Ok(answer)) => self.asked(epoch, retried, answer),
            (Stage::Asked { .. }, Err(NoAnswer::InDoubt)) => {
                self.stage = Stage::Again { retried: true };
                (Learnt::Nothing, Pause::Short)
            }
            (Stage::Asked { retried, .. }, Err(why)) => {
                self.refused(retried, why == NoAnswer::NoSpace);
                (Learnt::Nothing, Pause::None)
            }
            (Stage::Blocked { epoch, retried }, answer) => {
                // A late copy must not delete what is put there meanwhile.
                let is_late = matches!(answer, Err(NoAnswer::InDoubt))
                    && !flaw::has(Flaw::ClearingForgetsRetries);
                self.stage = Stage::Again { retried: retried || is_late };
                let learnt = |answer| cancelled(&self.wish, epoch, answer);
                (answer.map_or(Learnt::Nothing, learnt), Pause::Short)
            }
            (Stage::Found { ticket }, Ok(answer)) if answer.succeeded => {
                self.enter(ticket, Blockers::unknown(self.wish.ranges.clone()));
                (Learnt::Epoch(answer.revision), Pause::None)
            }
            (Stage::Found { .. }, Ok(_)) => {
                self.stage = Stage::InDoubt;
                (Learnt::Over, Pause::None)
            }
            (Stage::Found { ticket }, Err(why)) => {
                let is_final = why != NoAnswer::InDoubt;
                self.stage = if is_final { Stage::InDoubt } else { Stage::Found { ticket } };
                (Learnt::Nothing, Pause::Short)
            }
            (Stage::Leaving(mut leaving), answer) => {
                let (learnt, pause, is_done) = leaving.answered(&self.wish, answer);
                self.stage = if is_done { Stage::Gone } else { Stage::Leaving(leaving) };
                (learnt, pause)
            }
            // Nothing was sent.
            (stage, _) => {
                self.stage = stage;
                (Learnt::Nothing, Pause::None)
            }
        }
    }

    /// Makes it leave: what follows makes sure that nothing of it is left, or will be.
    pub(crate) fn leave(&mut self) {
        self.stage = match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Unsent | Stage::Gone => Stage::Gone,
            Stage::Entered { ticket, .. } => Stage::Leaving(Leaving::release(ticket)),
            Stage::Found { ticket } if flaw::has(Flaw::LeavingForgetsRetries) => {
                Stage::Leaving(Leaving::release(ticket))
            }
            Stage::Unsure => Stage::Leaving(Leaving::delete()),
            Stage::Leaving(leaving) => Stage::Leaving(leaving),
            _ => Stage::Leaving(Leaving::cancel()),
        };
    }

    /// Returns the transaction that enters the request.
    fn ask(&self, epoch: i64, retried: bool) -> Txn {
        let Wish { session, keys, values, may_wait, limits, .. } = &*self.wish;
        let first = Compare::Created { key: keys[0].clone(), revision: 0 };
        let mut compares = vec![session.is_epoch(epoch), first];
        let mut then = Vec::new();
        let mut otherwise = vec![Operation::Get(session.key()), Operation::Get(keys[0].clone())];
        match (may_wait, self.wish.can_look()) {
            (_, false) => {}
            (true, true) => {
                then.extend(self.wish.looks(limits.window + 1).map(Operation::Look));
            }
            (false, true) => {
                compares.extend(self.wish.ranges.iter().cloned().map(Compare::IsEmpty));
                otherwise.extend(self.wish.looks(1).map(Operation::Look));
            }
        }
        then.extend(keys.iter().zip(values).map(|(key, value)| Operation::Put {
            key: key.clone(),
            value: value.clone(),
            lease: session.lease,
        }));
        if retried {
            then.push(session.bump());
        }
        Txn { compares, then, otherwise }
    }

    /// Takes the answer to the transaction that enters the request.
    fn asked(&mut self, epoch: i64, retried: bool, answer: &Answer) -> (Learnt, Pause) {
        if answer.succeeded {
            let blockers = self.blockers_at_once(answer);
            self.enter(answer.revision, blockers);
            let learnt = if retried { Learnt::Epoch(answer.revision) } else { Learnt::Nothing };
            return (learnt, Pause::None);
        }
        let learnt = self.wish.session.see(answer.first(0), epoch);
        match answer.first(1) {
            _ if learnt == Learnt::Over => self.stage = Stage::InDoubt,
            Some(own) if own.value == self.wish.values[0] => {
                self.stage = Stage::Found { ticket: own.created };
            }
            // No other request of this session is at this slot now.
            Some(_) => self.stage = Stage::Blocked { epoch, retried },
            None if (2..answer.found.len()).any(|look| answer.first(look).is_some()) => {
                self.refused(retried && !flaw::has(Flaw::TryForgetsRetries), false);
            }
            // The session's key was written since.
            None => self.stage = Stage::Again { retried },
        }
        (learnt, Pause::None)
    }

    /// Notes that it is not to be sent again; what was sent before may still arrive.
    fn refused(&mut self, retried: bool, is_for_want_of_space: bool) {
        self.stage = match (retried, is_for_want_of_space) {
            (true, _) => Stage::InDoubt,
            (false, true) if !flaw::has(Flaw::NoSpaceIsCertain) => Stage::Unsure,
            (false, _) => Stage::Gone,
        };
    }

    fn enter(&mut self, ticket: i64, blockers: Blockers) {
        self.stage = Stage::Entered { ticket, blockers: Some(blockers) };
    }

    /// Returns those whom the transaction that entered the request has found.
    fn blockers_at_once(&self, answer: &Answer) -> Blockers {
        let Wish { ranges, may_wait, limits, .. } = &*self.wish;
        match self.wish.can_look() {
            false => Blockers::unknown(ranges.clone()),
            // It was carried out on condition that nobody is in the way.
            true if !may_wait => Blockers::none(),
            true => {
                let found = &answer.found[..ranges.len().min(answer.found.len())];
                Blockers::at_once(ranges, found, limits.window)
            }
        }
    }
}
