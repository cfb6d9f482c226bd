//! How a request leaves, whatever is known of it: [`Leaving`].

use super::{
    flaw::{self, Flaw},
    session::Learnt,
    txn::{Answer, Compare, NoAnswer, Operation, Pause, Txn},
    wish::Wish,
};

/// How a request leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leaving {
    /// It is there with this ticket: its keys are deleted if they have it, all at once or, when
    /// that has failed, each by itself.
    Release { ticket: i64, one: Option<usize> },
    /// It may be there, or come: its keys are deleted, and what was sent before fails from then on.
    Cancel { epoch: i64 },
    /// It may be there, and nothing of it comes any more: its keys are deleted if they are its own,
    /// one after the other.
    Delete { one: usize, then: Then },
}

/// What follows when the keys are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    Gone,
    /// Only what is in doubt takes space to give up. It is given up when there is space again.
    Cancel,
}

impl Leaving {
    pub(super) fn release(ticket: i64) -> Leaving {
        Leaving::Release { ticket, one: None }
    }

    pub(super) fn cancel() -> Leaving {
        Leaving::Cancel { epoch: 0 }
    }

    pub(super) fn delete() -> Leaving {
        Leaving::Delete { one: 0, then: Then::Gone }
    }

    /// Returns what to send, where this is the epoch of the session.
    pub(super) fn next(&mut self, wish: &Wish, now: i64) -> Txn {
        match self {
            Leaving::Release { ticket, one: None } => release(&wish.keys, *ticket),
            Leaving::Release { ticket, one: Some(one) } => {
                release(&wish.keys[*one..=*one], *ticket)
            }
            Leaving::Cancel { epoch } => {
                *epoch = now;
                cancel(wish, now)
            }
            Leaving::Delete { one, .. } => delete(wish, *one),
        }
    }

    /// Takes what came of it. Returns also whether nothing of the request is left now.
    pub(super) fn answered(
        &mut self,
        wish: &Wish,
        answer: Result<&Answer, NoAnswer>,
    ) -> (Learnt, Pause, bool) {
        let answer = match answer {
            Ok(answer) => answer,
            // Who may not release any more keeps no lease either, whose end releases for it.
            // Renewing a lease needs no right.
            Err(NoAnswer::Denied) => return (Learnt::Over, Pause::None, false),
            Err(why) => return (Learnt::Nothing, self.not_answered(why), false),
        };
        let count = wish.keys.len();
        match self {
            Leaving::Release { one, .. } => {
                // If not all had the ticket, a copy of this was carried out before; or somebody has
                // deleted one of the keys, and the others are left.
                let next = one.map_or(0, |one| one + 1);
                let is_done = one.is_none() && (answer.succeeded || count == 1) || next == count;
                *one = Some(next);
                (Learnt::Nothing, Pause::None, is_done)
            }
            Leaving::Cancel { epoch } => {
                let learnt = cancelled(wish, *epoch, answer);
                let pause = if answer.succeeded { Pause::None } else { Pause::Short };
                (learnt, pause, answer.succeeded)
            }
            Leaving::Delete { one, then } => {
                *one += 1;
                match (*one == count, *then) {
                    (false, _) => (Learnt::Nothing, Pause::None, false),
                    (true, Then::Gone) => (Learnt::Nothing, Pause::None, true),
                    (true, Then::Cancel) => {
                        *self = Leaving::cancel();
                        (Learnt::Nothing, Pause::Long, false)
                    }
                }
            }
        }
    }

    /// Says what follows, and how soon.
    fn not_answered(&mut self, why: NoAnswer) -> Pause {
        let has_space = why != NoAnswer::NoSpace;
        match self {
            Leaving::Release { one, .. } => *one = None,
            // What is there can be deleted meanwhile.
            Leaving::Cancel { .. } if !has_space => {
                *self = Leaving::Delete { one: 0, then: Then::Cancel };
                return Pause::None;
            }
            Leaving::Cancel { .. } => {}
            Leaving::Delete { then: Then::Cancel, .. } => {
                *self = Leaving::cancel();
                return Pause::Long;
            }
            Leaving::Delete { one, then: Then::Gone } => *one = 0,
        }
        if has_space { Pause::Short } else { Pause::Long }
    }
}

/// Returns the transaction that deletes these keys if they have this ticket: a late copy of it must
/// not delete what the next request puts at their slot.
fn release(keys: &[Vec<u8>], ticket: i64) -> Txn {
    let own = |key: &Vec<u8>| Compare::Created { key: key.clone(), revision: ticket };
    let compares = match flaw::has(Flaw::UnguardedDelete) {
        true => Vec::new(),
        false => keys.iter().map(own).collect(),
    };
    let then = keys.iter().cloned().map(Operation::Delete).collect();
    Txn { compares, then, otherwise: Vec::new() }
}

/// Returns the transaction that deletes one key of a request if this very request has put it there:
/// a late copy must not meet the next one at this slot.
fn delete(wish: &Wish, one: usize) -> Txn {
    let (key, value) = (wish.keys[one].clone(), wish.values[one].clone());
    let own = match flaw::has(Flaw::AnyValue) {
        true => Compare::Exists { key: key.clone() },
        false => Compare::Holds { key: key.clone(), value },
    };
    Txn {
        compares: vec![wish.session.is_own(), own],
        then: vec![Operation::Delete(key)],
        otherwise: Vec::new(),
    }
}

/// Returns the transaction that deletes whatever there is of a request, and makes what was sent
/// before fail.
pub(super) fn cancel(wish: &Wish, epoch: i64) -> Txn {
    let mut then = vec![wish.session.bump()];
    then.extend(wish.keys.iter().cloned().map(Operation::Delete));
    let otherwise = vec![Operation::Get(wish.session.key())];
    Txn { compares: vec![wish.session.is_epoch(epoch)], then, otherwise }
}

/// Returns what the answer to that says of the session.
pub(super) fn cancelled(wish: &Wish, epoch: i64, answer: &Answer) -> Learnt {
    match answer.succeeded {
        true => Learnt::Epoch(answer.revision),
        false => wish.session.see(answer.first(0), epoch),
    }
}
