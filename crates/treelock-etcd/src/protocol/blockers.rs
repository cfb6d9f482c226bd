//! Who is in the way of a request that has its ticket: [`Blockers`].

use super::txn::{Found, Look};
use crate::key::Range;

/// One in the way: when its entry was created, and its key.
pub(crate) type Blocker = (i64, Vec<u8>);

/// Those in the way that are live, as far as they are known. They only become fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Blockers {
    /// The latest.
    pub(crate) live: Vec<Blocker>,
    /// Whether these are all.
    pub(crate) are_all: bool,
    /// Where the others are, if there are any.
    pub(crate) ranges: Vec<Range>,
}

impl Blockers {
    /// Returns that nobody is in the way.
    pub(crate) fn none() -> Blockers {
        Blockers { are_all: true, ..Blockers::default() }
    }

    /// Returns that nobody has looked yet.
    pub(crate) fn unknown(ranges: Vec<Range>) -> Blockers {
        Blockers { ranges, ..Blockers::default() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.live.is_empty() && self.are_all
    }

    /// Returns what the transaction that entered a request has found in its ranges.
    pub(crate) fn at_once(ranges: &[Range], found: &[Found], window: usize) -> Blockers {
        match found.iter().any(|found| found.more) {
            // The keys that were left out may be the latest.
            true => Blockers::unknown(with_keys(ranges, found)),
            false => Blockers::found(ranges, found, window),
        }
    }

    /// Returns the looks that tell who is still in the way of this ticket: at one key more than are
    /// watched, which says whether there are others.
    pub(crate) fn looks(&self, ticket: i64, window: usize) -> Vec<Look> {
        let look =
            |range: &Range| Look { range: range.clone(), limit: window + 1, before: Some(ticket) };
        self.ranges.iter().map(look).collect()
    }

    /// Returns what is known after these looks.
    pub(crate) fn looked(&self, found: &[Found], window: usize) -> Blockers {
        Blockers::found(&self.ranges, found, window)
    }

    /// Keeps the latest of what was found in these ranges.
    fn found(ranges: &[Range], found: &[Found], window: usize) -> Blockers {
        let kvs = found.iter().flat_map(|found| &found.kvs);
        let mut live: Vec<Blocker> = kvs.map(|kv| (kv.created, kv.key.clone())).collect();
        live.sort_unstable_by(|one, two| two.cmp(one));
        let are_all = live.len() <= window;
        live.truncate(window);
        Blockers { live, are_all, ranges: with_keys(ranges, found) }
    }
}

/// Returns the ranges in which something was found. Where nobody is, nobody comes.
fn with_keys(ranges: &[Range], found: &[Found]) -> Vec<Range> {
    let both = ranges.iter().zip(found).filter(|(_, found)| !found.kvs.is_empty());
    both.map(|(range, _)| range.clone()).collect()
}
