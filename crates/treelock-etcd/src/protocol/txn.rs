//! What is asked of etcd and what it answers, as plain data: [`Txn`], [`Look`], [`Answer`].

use crate::key::Range;

/// A transaction: if all compares hold, `then` is carried out, and else `otherwise`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) then: Vec<Operation>,
    pub(crate) otherwise: Vec<Operation>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Compare {
    /// The key was created at this revision; at 0: it is not there.
    Created { key: Vec<u8>, revision: i64 },
    /// The key was last written at this revision.
    Written { key: Vec<u8>, revision: i64 },
    /// The key is there.
    Exists { key: Vec<u8> },
    /// The key is there with this value.
    Holds { key: Vec<u8>, value: Vec<u8> },
    /// No key is in the range.
    IsEmpty(Range),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Operation {
    /// Writes a key that hangs on a lease.
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        lease: i64,
    },
    Delete(Vec<u8>),
    /// Reads one key, with its value.
    Get(Vec<u8>),
    Look(Look),
}

/// A look at the keys of a range, without their values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Look {
    pub(crate) range: Range,
    /// How many keys are told at most.
    pub(crate) limit: usize,
    /// Only keys that were created before this revision, the latest first; else in their order.
    pub(crate) before: Option<i64>,
}

/// A key as it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Kv {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// The revision at which it was created.
    pub(crate) created: i64,
    /// The revision at which it was last written.
    pub(crate) written: i64,
}

/// What one operation has found; a write finds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) kvs: Vec<Kv>,
    /// The limit has left some out.
    pub(crate) more: bool,
}

/// The answer to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Answer {
    /// etcd's revision after it.
    pub(crate) revision: i64,
    /// All compares held.
    pub(crate) succeeded: bool,
    /// What each operation has found, in their order.
    pub(crate) found: Vec<Found>,
}

impl Answer {
    /// Returns the first key that one operation has found.
    pub(crate) fn first(&self, operation: usize) -> Option<&Kv> {
        self.found.get(operation)?.kvs.first()
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It was lost or is late: the transaction may have been carried out, or may yet be.
    InDoubt,
    /// etcd says that it has no space, also of what it has carried out with the last of it.
    NoSpace,
    /// The user may not do this.
    Denied,
    /// etcd refuses it for another reason, and certainly has not carried it out.
    Refused,
}

/// How long to wait before the next transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    None,
    /// As long as another attempt takes to be worth it.
    Short,
    /// As long as it takes somebody to make space.
    Long,
}
