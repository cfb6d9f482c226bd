//! The state after a folder verb stopped half-way.

use std::error::Error;
use std::fmt;

use object_store::path::Path;

use crate::error::lock::LockError;
use crate::verb::{Phase, Verb};

/// The state after a folder verb stopped half-way, and why it stopped.
///
/// No object is lost: sources are deleted only after every copy exists.
///
/// # Examples
///
/// ```
/// # use treelock_object_store::{FolderError, Phase};
/// fn advice(error: &FolderError) -> &'static str {
///     match error {
///         FolderError::Incomplete(state) if state.phase == Phase::Copy => "the source is whole",
///         FolderError::Incomplete(_) => "the target is whole, the source is partly gone",
///         _ => "nothing was changed",
///     }
/// }
/// # let _ = advice;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Incomplete {
    /// The verb that was called.
    pub verb: Verb,
    /// What failed: copying (every source exists) or deleting (every copy exists).
    pub phase: Phase,
    /// The source folder, or the folder to delete.
    pub from: Path,
    /// The target folder; `None` if the verb was a delete.
    pub to: Option<Path>,
    /// The objects for which this phase is done, under their names below `from`.
    pub done: Vec<Path>,
    /// The objects for which this phase is not known to be done, under their names below `from`. A
    /// store that answers with an error may still have done the work.
    pub remaining: Vec<Path>,
    /// Why it stopped: the loss of the lock, or the store's first error.
    pub source: object_store::Error,
}

impl Incomplete {
    fn is_lost(&self) -> bool {
        LockError::find(&self.source).is_some_and(LockError::was_held)
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Incomplete { verb, phase, from, to, done, remaining, .. } = self;
        let (done, all) = (done.len(), done.len() + remaining.len());
        let to = to.as_ref().map_or("", |to| to.as_ref());
        // After a loss nobody here knows what others have done since, so the advice depends on it.
        let is_lost = self.is_lost();
        match (verb, phase) {
            (_, Phase::Copy) if is_lost => write!(
                f,
                "{verb} `{from}` -> `{to}` lost its lock while copying, with {done} of {all} \
                 objects copied and none deleted; if nobody else was there, `.overwrite(true)` \
                 goes on"
            ),
            (Verb::Rename, Phase::Delete) if is_lost => write!(
                f,
                "{verb} `{from}` -> `{to}` lost its lock while deleting the sources, with {done} \
                 of {all} deleted, when every copy existed below `{to}`; if nobody else was there, \
                 delete_folder(\"{from}\") finishes the rename"
            ),
            (_, Phase::Delete) if is_lost => write!(
                f,
                "{verb} `{from}` lost its lock, with {done} of {all} objects deleted; if nobody \
                 else was there, call it again to delete the rest"
            ),
            (_, Phase::Copy) => write!(
                f,
                "{verb} `{from}` -> `{to}` failed while copying, with {done} of {all} objects \
                 copied: every object still exists below `{from}`, and nothing was deleted; give \
                 `.overwrite(true)` to go on, or delete_folder(\"{to}\") to undo"
            ),
            (Verb::Rename, Phase::Delete) => write!(
                f,
                "{verb} `{from}` -> `{to}` failed while deleting the sources, with {done} of {all} \
                 deleted: `{to}` is whole, and the rest of `{from}` exists twice; \
                 delete_folder(\"{from}\") finishes the rename"
            ),
            (_, Phase::Delete) => write!(
                f,
                "{verb} `{from}` failed with {done} of {all} objects deleted; call it again to \
                 delete the rest"
            ),
        }
    }
}

impl Error for Incomplete {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Not the store's error around the lock's, which would print the same sentence before it.
        match LockError::find(&self.source) {
            Some(lock) if lock.was_held() => Some(lock),
            _ => Some(&self.source),
        }
    }
}
