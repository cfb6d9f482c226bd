//! The blockers of a request that has its ticket: [`Blockers`].

use super::txn::{Found, Look};
use crate::key::Range;

/// A blocker: when its entry was created, and its key.
pub(crate) type Blocker = (i64, Vec<u8>);

/// The live blockers, as far as they are known. Their number only shrinks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Blockers {
    /// The latest blockers.
    pub(crate) live: Vec<Blocker>,
    /// Whether these are all blockers.
    pub(crate) are_all: bool,
    /// The ranges of the others, if there are any.
    pub(crate) ranges: Vec<Range>,
}

impl Blockers {
    /// Returns the value for no blockers.
    pub(crate) fn none() -> Blockers {
        Blockers { are_all: true, ..Blockers::default() }
    }

    /// Returns the value for blockers that are not known yet.
    pub(crate) fn unknown(ranges: Vec<Range>) -> Blockers {
        Blockers { ranges, ..Blockers::default() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.live.is_empty() && self.are_all
    }

    /// Returns the blockers that the transaction that entered a request found in its ranges.
    pub(crate) fn at_once(ranges: &[Range], found: &[Found], window: usize) -> Blockers {
        match found.iter().any(|found| found.more) {
            // The keys that were left out may be the latest.
            true => Blockers::unknown(with_keys(ranges, found)),
            false => Blockers::found(ranges, found, window),
        }
    }

    /// Returns the looks that find the remaining blockers of this ticket. They ask for one key more
    /// than is watched, which tells whether there are others.
    pub(crate) fn looks(&self, ticket: i64, window: usize) -> Vec<Look> {
        let look =
            |range: &Range| Look { range: range.clone(), limit: window + 1, before: Some(ticket) };
        self.ranges.iter().map(look).collect()
    }

    /// Returns what is known after these looks.
    pub(crate) fn looked(&self, found: &[Found], window: usize) -> Blockers {
        Blockers::found(&self.ranges, found, window)
    }

    /// Keeps the latest entries that were found in these ranges.
    fn found(ranges: &[Range], found: &[Found], window: usize) -> Blockers {
        let kvs = found.iter().flat_map(|found| &found.kvs);
        let mut live: Vec<Blocker> = kvs.map(|kv| (kv.created, kv.key.clone())).collect();
        live.sort_unstable_by(|one, two| two.cmp(one));
        let are_all = live.len() <= window;
        live.truncate(window);
        Blockers { live, are_all, ranges: with_keys(ranges, found) }
    }
}

/// Returns the ranges in which something was found. No blocker can appear in the empty ones.
fn with_keys(ranges: &[Range], found: &[Found]) -> Vec<Range> {
    let both = ranges.iter().zip(found).filter(|(_, found)| !found.kvs.is_empty());
    both.map(|(range, _)| range.clone()).collect()
}
