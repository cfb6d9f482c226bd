//! What one request wants of etcd: [`Wish`].

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{session::Identity, txn::Look};
use crate::key::Range;

/// How much is asked and watched at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    /// How many of the latest blockers a waiter watches. With one, it would have to read once more
    /// when that is gone; with more, etcd has more to tell than it gains.
    pub(crate) window: usize,
    /// How many operations one transaction may have.
    pub(crate) operations: usize,
}

/// How many operations one transaction has at most, besides one for the session. etcd allows 128,
/// unless it was told otherwise.
pub(crate) const OPERATIONS_MAX: usize = 120;

/// The limits of the cluster's lock.
pub(crate) const LIMITS: Limits = Limits { window: 2, operations: OPERATIONS_MAX };

/// What one request wants. It never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) session: Arc<Identity>,
    pub(crate) slot: u64,
    /// A key for each root, at the request's slot.
    pub(crate) keys: Vec<Vec<u8>>,
    /// What each key holds. No other request of the session has the same there.
    pub(crate) values: Vec<Vec<u8>>,
    /// Where entries lie that conflict with it, and no others.
    pub(crate) ranges: Vec<Range>,
    /// It waits if somebody is in the way.
    pub(crate) may_wait: bool,
    pub(crate) limits: Limits,
}

impl Wish {
    /// Returns whether the transaction that enters the request can look who is in the way, too.
    pub(crate) fn can_look(&self) -> bool {
        self.ranges.len() + self.keys.len() <= self.limits.operations
    }

    /// Returns a look at each range, at so many keys of each.
    pub(crate) fn looks(&self, limit: usize) -> impl Iterator<Item = Look> {
        self.ranges.iter().map(move |range| Look { range: range.clone(), limit, before: None })
    }
}

/// No two requests of a session have the same value at the same slot, so that says it all.
impl Hash for Wish {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.slot, self.values.first()).hash(state);
    }
}
