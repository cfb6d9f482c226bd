//! A request that has its ticket and waits until nothing is in its way: [`Waiting`].
//!
//! ```text
//!        ┌────────── one is gone, and there may be others; the stream was cut ──────────┐
//!        ▼                                                                              │
//! Look ─▶ who is in the way? ─▶ Watch those that are new ─▶ Look once more ─▶ … ─▶ Sleep ┘
//!                └─▶ nobody: Granted
//! ```

use std::{collections::BTreeMap, sync::Arc};

use super::{
    blockers::{Blocker, Blockers},
    flaw::{self, Flaw},
    txn::{Found, Look},
    wish::Wish,
};

/// What a waiter knows without asking etcd.
pub(crate) trait Here {
    /// Returns whether the entry of its own session at this slot, with this ticket, is certainly
    /// not there.
    fn is_gone(&self, slot: u64, ticket: i64) -> bool;

    /// Returns whether its own entry is certainly there: the lease cannot have ended by the clock
    /// of this machine, and nobody has told that the entry was deleted.
    fn is_valid(&self) -> bool;
}

/// A request that waits. What it forgets when it is dropped can be read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    wish: Arc<Wish>,
    ticket: i64,
    may_wait: bool,
    blockers: Blockers,
    observed: BTreeMap<Blocker, How>,
    pub(crate) doing: Doing,
    /// The blockers that the safety net found gone although no watch had reported it.
    unheard: Vec<Blocker>,
}

/// How a waiter learns that a blocker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum How {
    /// It is of the same session.
    Here,
    /// Its key is to be watched, and the watch has not begun.
    Asked,
    Watched,
}

/// What a waiter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// It has learnt something, and sees what follows.
    Settling,
    /// It looks who is in the way, at this revision or a later one.
    Looking {
        since: i64,
    },
    /// It waits until watches have begun; those that have did so at this revision.
    Beginning {
        since: i64,
    },
    Sleeping,
    /// Nothing is in its way.
    Done,
    /// Something is in the way, and the request does not wait.
    Refused,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look, and tell [`Waiting::looked`].
    Look(Verify),
    /// Watch these, and tell [`Waiting::begun`] or [`Waiting::not_begun`] of each.
    Watch(Vec<Blocker>),
    /// Sleep until one of those that it observes is gone, and tell [`Waiting::gone`],
    /// [`Waiting::cut`] or [`Waiting::silent`].
    Sleep,
    /// See whether it is yet told of what it has found by itself, and tell [`Waiting::listened`].
    Listen,
    Granted,
    /// Something is in the way of a request that does not wait.
    Refused,
    /// Its lease may have ended, or its entry was deleted.
    Lost,
}

/// The looks for the remaining blockers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verify {
    pub(crate) looks: Vec<Look>,
    since: i64,
}

impl Verify {
    /// Returns whether an answer from this revision counts. Members have been seen to answer from
    /// the past (etcd#20418); then the same is asked again.
    pub(crate) fn counts(&self, revision: i64) -> bool {
        revision >= self.since
    }
}

impl Waiting {
    /// Makes the machine of a request with this ticket that waits for these.
    pub(crate) fn new(wish: Arc<Wish>, ticket: i64, blockers: Blockers) -> Waiting {
        let may_wait = wish.may_wait;
        let (observed, unheard) = (BTreeMap::new(), Vec::new());
        let doing = Doing::Settling;
        Waiting { wish, ticket, may_wait, blockers, observed, doing, unheard }
    }

    /// Makes the machine of a request with this ticket that looks once, in all its ranges, for
    /// blockers.
    pub(crate) fn look_once(wish: Arc<Wish>, ticket: i64) -> Waiting {
        let blockers = Blockers::unknown(wish.ranges.clone());
        Waiting { may_wait: false, ..Waiting::new(wish, ticket, blockers) }
    }

    /// Returns the latest blockers, as far as they are known.
    pub(crate) fn latest(&self) -> Option<&Blocker> {
        self.blockers.live.first()
    }

    /// Returns whether it observes this blocker.
    pub(crate) fn observes(&self, blocker: &Blocker) -> bool {
        self.observed.contains_key(blocker)
    }

    /// Returns the blockers of its own session, by their slots.
    pub(crate) fn observed_here(&self) -> impl Iterator<Item = (&Blocker, u64)> {
        let here = self.observed.iter().filter(|(_, how)| **how == How::Here);
        here.filter_map(|(blocker, _)| Some((blocker, self.wish.session.slot(&blocker.1)?)))
    }

    /// Returns what to do next.
    pub(crate) fn next(&mut self, here: &impl Here) -> Next {
        // A look comes first: a blocker that it still finds has nothing to tell.
        if !self.unheard.is_empty() && !matches!(self.doing, Doing::Looking { .. }) {
            return Next::Listen;
        }
        if self.doing == Doing::Settling {
            self.doing = self.settle(here);
        }
        match self.doing {
            Doing::Settling | Doing::Sleeping => Next::Sleep,
            Doing::Looking { since } => Next::Look(self.verify(since)),
            Doing::Beginning { .. } => {
                let asked = self.observed.iter().filter(|(_, how)| **how == How::Asked);
                Next::Watch(asked.map(|(blocker, _)| blocker.clone()).collect())
            }
            Doing::Refused => Next::Refused,
            // A process that was paused for long may not have noticed the end yet.
            Doing::Done if here.is_valid() || flaw::has(Flaw::NoClock) => Next::Granted,
            Doing::Done => Next::Lost,
        }
    }

    /// Proceeds as far as it can without further input.
    fn settle(&mut self, here: &impl Here) -> Doing {
        self.observe(here);
        if self.blockers.are_none() {
            return Doing::Done;
        }
        if self.blockers.live.is_empty() {
            return Doing::Looking { since: 0 };
        }
        if !self.may_wait {
            return Doing::Refused;
        }
        match self.observed.values().any(|how| *how == How::Asked) {
            true => Doing::Beginning { since: 0 },
            false => Doing::Sleeping,
        }
    }

    /// Observes all that are live and no others. Those of its own session may be gone by now.
    fn observe(&mut self, here: &impl Here) {
        let Waiting { wish, blockers, observed, .. } = self;
        observed.retain(|blocker, _| blockers.live.contains(blocker));
        blockers.live.retain(|blocker| {
            let how = match wish.session.slot(&blocker.1) {
                Some(slot) if here.is_gone(slot, blocker.0) => {
                    observed.remove(blocker);
                    return false;
                }
                Some(_) => How::Here,
                None => How::Asked,
            };
            if !observed.contains_key(blocker) {
                observed.insert(blocker.clone(), how);
            }
            true
        });
    }

    /// Returns the looks at this revision or a later one, and not before the ticket was given.
    fn verify(&self, since: i64) -> Verify {
        let looks = self.blockers.looks(self.ticket, self.wish.limits.window);
        match flaw::has(Flaw::OlderThanTicket) {
            true => Verify { looks, since },
            false => Verify { looks, since: since.max(self.ticket) },
        }
    }

    /// Takes what was found, by one look after the other.
    pub(crate) fn looked(&mut self, found: &[Found]) {
        self.blockers = self.blockers.looked(found, self.wish.limits.window);
        self.unheard.retain(|blocker| !self.blockers.live.contains(blocker));
        self.doing = Doing::Settling;
    }

    /// Notes that the watch of one has begun: everything is told since this revision. When all
    /// have, it looks once more, since some may have gone before they were watched.
    pub(crate) fn begun(&mut self, blocker: &Blocker, since: i64) {
        let Doing::Beginning { since: others } = self.doing else { return };
        if let Some(how) = self.observed.get_mut(blocker) {
            *how = How::Watched;
        }
        let since = if flaw::has(Flaw::OlderThanWatch) { 0 } else { others.max(since) };
        self.all_begun(since);
    }

    /// Notes that the watch of one has not begun. It is watched again if it is still there.
    pub(crate) fn not_begun(&mut self, blocker: &Blocker) {
        let Doing::Beginning { since } = self.doing else { return };
        self.observed.remove(blocker);
        self.all_begun(since);
    }

    fn all_begun(&mut self, since: i64) {
        self.doing = match self.observed.values().any(|how| *how == How::Asked) {
            true => Doing::Beginning { since },
            false if flaw::has(Flaw::NoReadAfterWatch) => Doing::Sleeping,
            false => Doing::Looking { since },
        };
    }

    /// Notes that one that it observes is gone.
    pub(crate) fn gone(&mut self, blocker: &Blocker) {
        self.observed.remove(blocker);
        self.blockers.live.retain(|live| live != blocker);
        let are_all = self.blockers.are_all
            || self.blockers.live.is_empty() && flaw::has(Flaw::GrantOnLastGone);
        self.blockers.are_all = are_all;
        self.doing = if are_all { Doing::Settling } else { Doing::Looking { since: 0 } };
    }

    /// Notes that the stream on which it is told was cut.
    pub(crate) fn cut(&mut self) {
        self.observed.clear();
        self.doing = Doing::Looking { since: 0 };
    }

    /// Records that it has heard nothing for long, so it looks once more. It should never find
    /// anything new.
    pub(crate) fn silent(&mut self) {
        let watched = self.observed.iter().filter(|(_, how)| **how == How::Watched);
        self.unheard = watched.map(|(blocker, _)| blocker.clone()).collect();
        self.doing = Doing::Looking { since: 0 };
    }

    /// Notes that it has waited for what was on its way.
    pub(crate) fn listened(&mut self) {
        self.unheard.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::Space,
        protocol::{session::Identity, txn::Kv, wish::LIMITS},
    };

    struct Nothing;

    impl Here for Nothing {
        fn is_gone(&self, _: u64, _: i64) -> bool {
            false
        }

        fn is_valid(&self) -> bool {
            true
        }
    }

    /// A request that sleeps behind one watched entry of another session.
    fn sleeping() -> (Waiting, Blocker, Found) {
        let (key, range) = (b"/x/W/a/!other.0".to_vec(), (b"/x/W/".to_vec(), b"/x/W0".to_vec()));
        let session = Identity { space: Space::new("/x"), id: "own".into(), lease: 1, created: 1 };
        let wish = Arc::new(Wish {
            session: Arc::new(session),
            slot: 0,
            keys: Vec::new(),
            values: Vec::new(),
            ranges: vec![range.clone()],
            may_wait: true,
            limits: LIMITS,
        });
        let found =
            Found { kvs: vec![Kv { key: key.clone(), created: 5, ..Kv::default() }], more: false };
        let blocker = (5, key);
        let mut waiting = Waiting::new(wish, 9, Blockers::unknown(vec![range]));
        assert!(matches!(waiting.next(&Nothing), Next::Look(_)));
        waiting.looked(std::slice::from_ref(&found));
        assert_eq!(waiting.next(&Nothing), Next::Watch(vec![blocker.clone()]));
        waiting.begun(&blocker, 9);
        assert!(matches!(waiting.next(&Nothing), Next::Look(_)));
        waiting.looked(std::slice::from_ref(&found));
        assert_eq!(waiting.next(&Nothing), Next::Sleep);
        (waiting, blocker, found)
    }

    #[test]
    fn the_safety_net_does_not_listen_for_a_blocker_that_is_still_there() {
        let (mut waiting, _, found) = sleeping();
        waiting.silent();
        assert!(matches!(waiting.next(&Nothing), Next::Look(_)));
        waiting.looked(&[found]);
        assert_eq!(waiting.next(&Nothing), Next::Sleep);
    }

    #[test]
    fn the_safety_net_listens_for_a_blocker_that_is_gone() {
        let (mut waiting, ..) = sleeping();
        waiting.silent();
        assert!(matches!(waiting.next(&Nothing), Next::Look(_)));
        waiting.looked(&[Found::default()]);
        assert_eq!(waiting.next(&Nothing), Next::Listen);
        waiting.listened();
        assert_eq!(waiting.next(&Nothing), Next::Granted);
    }
}
