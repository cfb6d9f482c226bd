//! The numbers of a session's slots: [`Numbers`].

use std::collections::BTreeSet;

/// The numbers of the slots that nobody has. One is used again as soon as the entry there is known
/// to be gone, because each new key costs etcd a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Numbers {
    free: BTreeSet<u64>,
    /// Those from here on were never used.
    next: u64,
}

impl Numbers {
    /// Takes the smallest that is free.
    pub(crate) fn take(&mut self) -> u64 {
        self.free.pop_first().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// Gives one back: no entry is there any more, and none will be.
    pub(crate) fn give_back(&mut self, number: u64) {
        self.free.insert(number);
    }
}
