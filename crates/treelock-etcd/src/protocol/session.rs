//! What the transactions of a session share: its key, and the key's epoch.

use crate::key::Space;

use super::{
    flaw::{self, Flaw},
    txn::{Compare, Kv, Operation},
};

/// Who a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) space: Space,
    pub(crate) id: String,
    /// The lease on which the session's key and all its entries hang.
    pub(crate) lease: i64,
    /// The revision at which the session's key was created.
    pub(crate) created: i64,
}

/// What an answer says of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the session has to be told"]
pub(crate) enum Learnt {
    Nothing,
    /// Its key was written at this revision, or at a later one.
    Epoch(i64),
    /// It is over.
    Over,
}

impl Identity {
    pub(crate) fn key(&self) -> Vec<u8> {
        self.space.session(&self.id)
    }

    /// Returns the condition that the session's key was not written since this epoch.
    pub(crate) fn is_epoch(&self, epoch: i64) -> Compare {
        match flaw::has(Flaw::NoEpochGuard) {
            true => Compare::Exists { key: self.key() },
            false => Compare::Written { key: self.key(), revision: epoch },
        }
    }

    /// Returns the condition that the session's key is the one with which it was opened.
    pub(crate) fn is_own(&self) -> Compare {
        match flaw::has(Flaw::AnySessionKey) {
            true => Compare::Exists { key: self.key() },
            false => Compare::Created { key: self.key(), revision: self.created },
        }
    }

    /// Returns the operation that begins an epoch: what compares an earlier one fails from then on.
    pub(crate) fn bump(&self) -> Operation {
        Operation::Put { key: self.key(), value: Vec::new(), lease: self.lease }
    }

    /// Says what it means that the session's key was found so, or not found, by somebody who knew
    /// this epoch.
    ///
    /// The session does not go on with another key: a late copy of what opened the session may have
    /// created that after the session was ended. Nor with an older one, from before etcd was
    /// restored from a backup.
    pub(crate) fn see(&self, key: Option<&Kv>, epoch: i64) -> Learnt {
        let is_own = |key: &&Kv| {
            key.created == self.created && key.written >= epoch || flaw::has(Flaw::AnySessionKey)
        };
        match key.filter(is_own) {
            Some(key) => Learnt::Epoch(key.written),
            None => Learnt::Over,
        }
    }

    /// Returns the slot of an entry of this session; `None` if the key is another session's.
    pub(crate) fn slot(&self, key: &[u8]) -> Option<u64> {
        self.space.read(key).filter(|name| name.session == self.id).map(|name| name.slot)
    }
}
