//! What a session's stream has told of a key: [`Told`].
//!
//! A watch begins *now*: one that begins in the past waits for a loop of etcd that runs ten times a
//! second. So something may have happened before the watch began, and a watcher must look once more
//! when it knows since when it is told. If the stream is cut, everything that was known of the keys
//! is forgotten, and the watchers are told so.

use super::flaw::{self, Flaw};

/// What a stream has told of a key: to the stream's side, and to each watcher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Told {
    /// The revision from which on everything is told.
    since: Option<i64>,
    /// The revision of the last deletion.
    deleted: i64,
    /// Nothing more will be told.
    is_cut: bool,
}

/// The stream was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut;

impl Told {
    /// Returns what somebody is told who joins a watch: all that it told before, since a member may
    /// show the newcomer an older state.
    pub(crate) fn joined(&self) -> Told {
        match flaw::has(Flaw::NothingToldWhenJoining) {
            true => Told { deleted: 0, ..*self },
            false => *self,
        }
    }

    /// Notes that the watch has begun, at this revision.
    pub(crate) fn begin(&mut self, revision: i64) {
        self.since = Some(revision);
    }

    /// Notes that the key was deleted at this revision.
    pub(crate) fn delete(&mut self, revision: i64) {
        self.deleted = self.deleted.max(revision);
    }

    /// Notes that the stream was cut.
    pub(crate) fn cut(&mut self) {
        self.is_cut = !flaw::has(Flaw::CutUnnoticed);
    }

    /// Returns from which revision on everything is told, once that is known.
    pub(crate) fn begun(&self) -> Option<Result<i64, Cut>> {
        match self.is_cut {
            true => Some(Err(Cut)),
            false => self.since.map(Ok),
        }
    }

    /// Returns once an entry that was created at this revision is known to be deleted, or nothing
    /// more is told. The key may belong to another entry since.
    pub(crate) fn deleted(&self, created: i64) -> Option<Result<(), Cut>> {
        let is_deleted = self.deleted > created || self.deleted > 0 && flaw::has(Flaw::AnyDeletion);
        match (is_deleted, self.is_cut) {
            (true, _) => Some(Ok(())),
            (false, true) => Some(Err(Cut)),
            (false, false) => None,
        }
    }
}
