//! What can go wrong with a folder: what happened, to what, and what to do.

use std::error::Error;
use std::fmt;
use std::iter;

use object_store::path::Path;
use treelock::Request;

use crate::dir::{Phase, Verb};

/// Why a folder verb did not do its work: what happened, to what, and what to do.
///
/// All variants but [`Incomplete`](DirError::Incomplete) mean that nothing was changed.
///
/// # Examples
///
/// ```
/// # use object_store::memory::InMemory;
/// # use treelock_object_store::{DirError, LockedStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = LockedStore::new(InMemory::new());
/// let error = store.delete_dir("").await.unwrap_err();
/// assert!(matches!(error, DirError::EmptyPath { .. }));
/// assert_eq!(
///     error.to_string(),
///     "delete_dir refuses the empty path, which is the whole store: is a variable unset? \
///      name a folder"
/// );
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DirError {
    /// The path is empty or `/`, the whole store: most likely an unset variable.
    EmptyPath {
        /// The verb that was asked for.
        verb: Verb,
    },
    /// The text is no path: it has `.`, `..`, an empty segment or a control character.
    InvalidPath {
        /// The verb that was asked for.
        verb: Verb,
        /// Which text, and what is wrong with it.
        source: object_store::path::Error,
    },
    /// The two folders are one, or one lies in the other.
    Overlap {
        /// The verb that was asked for.
        verb: Verb,
        /// The source folder.
        from: Path,
        /// The target folder.
        to: Path,
    },
    /// There is no object below the folder.
    NotFound {
        /// The verb that was asked for.
        verb: Verb,
        /// The folder that has nothing in it.
        path: Path,
        /// Whether an *object* of exactly that name exists, which the folder verbs leave alone.
        is_object: bool,
    },
    /// The target holds an object already, and [`overwrite`](crate::DirJob::overwrite) was not
    /// given.
    AlreadyExists {
        /// The verb that was asked for.
        verb: Verb,
        /// The target folder.
        to: Path,
        /// An object that was found there: one below `to`, or `to` itself.
        found: Path,
    },
    /// The folder lies outside what the [`LockedView`](crate::LockedView) has locked.
    OutsideView {
        /// The verb that was asked for.
        verb: Verb,
        /// What the verb would need, as the lock prints it.
        needed: String,
        /// What the view holds, as the lock prints it.
        held: String,
    },
    /// The store failed before anything was changed.
    Store {
        /// The verb that was asked for.
        verb: Verb,
        /// The folder that could not be looked at.
        path: Path,
        /// What the store said.
        source: object_store::Error,
    },
    /// The lock could not be asked, or was lost before anything was changed. Never with a
    /// [`TreeLock`](treelock::TreeLock).
    Lock(LockError),
    /// The store failed half-way, or the lock was lost. No object is; the value says what is where.
    Incomplete(Box<Incomplete>),
}

impl DirError {
    /// Of what failed while a folder was looked at.
    pub(crate) fn store(verb: Verb, path: &Path, source: object_store::Error) -> DirError {
        if let object_store::Error::Generic { store, source } = source {
            return match source.downcast() {
                Ok(lock) => DirError::Lock(*lock),
                Err(source) => {
                    let source = object_store::Error::Generic { store, source };
                    DirError::Store { verb, path: path.clone(), source }
                }
            };
        }
        DirError::Store { verb, path: path.clone(), source }
    }
}

/// Why a lock kept an operation from being done, or from being sure of what it did.
///
/// Only locks that can fail do so: those [between processes](crate#several-processes). It is the
/// source of the [`object_store::Error`] or [`DirError`] that an operation ends with;
/// [`of`](LockError::of) finds it.
///
/// # Examples
///
/// ```
/// # use treelock_object_store::LockError;
/// fn advice(error: &object_store::Error) -> &'static str {
///     match LockError::of(error) {
///         Some(LockError::NotGranted { .. }) => "nothing was done: see what the source says",
///         Some(LockError::Lost { begun: false, .. }) => "nothing was done: begin again",
///         Some(_) => "others may have been there: look at what is there, then decide",
///         None => "it was the store",
///     }
/// }
/// # let (operation, implementer) = (String::new(), String::new());
/// # let error = object_store::Error::NotImplemented { operation, implementer };
/// # assert_eq!(advice(&error), "it was the store");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Asking failed. Nothing was done of what was asked for; earlier batches of a
    /// `delete_stream` have told what they did.
    NotGranted {
        /// What was asked for.
        request: Request,
        /// What the engine says, and what to do.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The lock was held, and lost: its lease ended, or somebody ended it.
    Lost {
        /// What was held.
        request: Request,
        /// Whether work had begun. It may be done or not then, and others may have been there at
        /// the same time, so that what was read may be of two times.
        begun: bool,
    },
}

impl LockError {
    /// Returns the lock's part in an error of this crate's operations; `None` if it has none.
    ///
    /// # Examples
    ///
    /// See [`LockError`].
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LockError> {
        iter::successors(Some(error), |&error| error.source())
            .find_map(|error| error.downcast_ref())
    }

    /// Returns whether the lock was held and lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_object_store::LockError;
    /// fn is_lost(error: &treelock_object_store::DirError) -> bool {
    ///     LockError::of(error).is_some_and(LockError::is_lost)
    /// }
    /// # let _ = is_lost;
    /// ```
    pub fn is_lost(&self) -> bool {
        matches!(self, LockError::Lost { .. })
    }
}

/// What is where after a folder verb failed half-way, and what the store said.
///
/// No object is lost: sources are deleted only after every copy stands.
///
/// # Examples
///
/// ```
/// # use treelock_object_store::{DirError, Phase};
/// fn advice(error: &DirError) -> &'static str {
///     match error {
///         DirError::Incomplete(state) if state.phase == Phase::Copy => "the source is whole",
///         DirError::Incomplete(_) => "the target is whole, the source is partly gone",
///         _ => "nothing was changed",
///     }
/// }
/// # let _ = advice;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Incomplete {
    /// The verb that was asked for.
    pub verb: Verb,
    /// What failed: copying (every source stands) or deleting (every copy stands).
    pub phase: Phase,
    /// The source folder, or the folder to delete.
    pub from: Path,
    /// The target folder; none if the verb was a delete.
    pub to: Option<Path>,
    /// The objects for which this phase is done, under their names below `from`.
    pub done: Vec<Path>,
    /// The objects for which it is not known to be done, under their names below `from`. A store
    /// that answers with an error may have done the work all the same.
    pub remaining: Vec<Path>,
    /// That the lock was lost, or what the store said first.
    pub source: object_store::Error,
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirError::EmptyPath { verb } => write!(
                f,
                "{verb} refuses the empty path, which is the whole store: is a variable unset? \
                 name a folder"
            ),
            DirError::InvalidPath { verb, source } => write!(
                f,
                "{verb}: {source}; give slash-separated names without `.`, `..` or empty segments"
            ),
            DirError::Overlap { verb, from, to } if from == to => {
                write!(f, "{verb} `{from}` onto itself would change nothing; give another target")
            }
            DirError::Overlap { verb, from, to } => write!(
                f,
                "{verb} `{from}` -> `{to}`: one of the folders lies in the other; give a target \
                 outside, or go by way of a third folder"
            ),
            DirError::NotFound { verb, path, is_object: false } => {
                write!(f, "{verb}: there is no object below `{path}/`; check the name")
            }
            DirError::NotFound { verb, path, is_object: true } => write!(
                f,
                "{verb}: there is no object below `{path}/`, but `{path}` is itself an object; \
                 for one object use `rename`, `copy` or `delete`"
            ),
            DirError::AlreadyExists { verb, to, found } => write!(
                f,
                "{verb}: the target `{to}` exists (found `{found}`); choose another, delete it \
                 first, or give `.overwrite(true)` to merge into it"
            ),
            DirError::OutsideView { verb, needed, held } => write!(
                f,
                "{verb} needs `{needed}`, but the view holds `{held}`; ask for a view that covers it"
            ),
            DirError::Store { verb, path, source } => {
                write!(f, "{verb}: looking at `{path}` failed, nothing was changed: {source}")
            }
            DirError::Lock(error) => error.fmt(f),
            DirError::Incomplete(state) => state.fmt(f),
        }
    }
}

/// How many roots an error names: a batch of deletes has a thousand.
const ROOTS: usize = 4;

/// The roots of a request, the first few of them.
fn roots(request: &Request) -> String {
    let more = request.roots().count().saturating_sub(ROOTS);
    if more == 0 {
        return request.to_string();
    }
    let some = request.roots().take(ROOTS).map(|(access, node)| format!("{access} {node}"));
    format!("{}, and {more} more", some.collect::<Vec<_>>().join(", "))
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (LockError::NotGranted { request, .. } | LockError::Lost { request, .. }) = self;
        if let Some(label) = request.get_label() {
            write!(f, "{label}: ")?;
        }
        let roots = roots(request);
        match self {
            LockError::NotGranted { source, .. } => {
                write!(f, "asking for the lock `{roots}` failed, nothing was done: {source}")
            }
            LockError::Lost { begun: false, .. } => {
                write!(f, "the lock `{roots}` is lost, so nothing was done; ask for it again")
            }
            LockError::Lost { begun: true, .. } => write!(
                f,
                "the lock `{roots}` was lost meanwhile, so others may have been there at the same \
                 time; look at what is there before you go on"
            ),
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Incomplete { verb, phase, from, to, done, remaining, source } = self;
        let (done, all) = (done.len(), done.len() + remaining.len());
        let to = to.as_ref().map_or("", |to| to.as_ref());
        // What others may have done since nobody here knows, so there is no advice to go on
        // blindly.
        let is_lost = LockError::of(source).is_some();
        match (verb, phase) {
            (_, Phase::Copy) if is_lost => write!(
                f,
                "{verb} `{from}` -> `{to}` stopped while copying, with {done} of {all} objects \
                 copied and none deleted; if nobody else was there, `.overwrite(true)` goes on: \
                 {source}"
            ),
            (Verb::Rename, Phase::Delete) if is_lost => write!(
                f,
                "{verb} `{from}` -> `{to}` stopped while deleting the sources, with {done} of \
                 {all} deleted, when every copy stood below `{to}`; if nobody else was there, \
                 delete_dir(\"{from}\") finishes the rename: {source}"
            ),
            (_, Phase::Delete) if is_lost => write!(
                f,
                "{verb} `{from}` stopped with {done} of {all} objects deleted; if nobody else was \
                 there, call it again to delete the rest: {source}"
            ),
            (_, Phase::Copy) => write!(
                f,
                "{verb} `{from}` -> `{to}` failed while copying, with {done} of {all} objects \
                 copied: every object still stands below `{from}`, and nothing was deleted; give \
                 `.overwrite(true)` to go on, or delete_dir(\"{to}\") to undo: {source}"
            ),
            (Verb::Rename, Phase::Delete) => write!(
                f,
                "{verb} `{from}` -> `{to}` failed while deleting the sources, with {done} of {all} \
                 deleted: `{to}` is whole, and the rest of `{from}` stands twice; \
                 delete_dir(\"{from}\") finishes the rename: {source}"
            ),
            (_, Phase::Delete) => write!(
                f,
                "{verb} `{from}` failed with {done} of {all} objects deleted; call it again to \
                 delete the rest: {source}"
            ),
        }
    }
}

impl Error for DirError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            DirError::InvalidPath { source, .. } => Some(source),
            DirError::Store { source, .. } => Some(source),
            DirError::Lock(error) => Some(error),
            DirError::Incomplete(state) => Some(&state.source),
            _ => None,
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LockError::NotGranted { source, .. } => Some(&**source),
            LockError::Lost { .. } => None,
        }
    }
}

impl From<LockError> for object_store::Error {
    fn from(error: LockError) -> object_store::Error {
        object_store::Error::Generic { store: crate::store::NAME, source: error.into() }
    }
}

/// So that `?` works in a function that speaks [`object_store::Result`]: what is missing or exists
/// becomes the store's own error, all else [`Generic`](object_store::Error::Generic).
impl From<DirError> for object_store::Error {
    fn from(error: DirError) -> object_store::Error {
        match &error {
            DirError::NotFound { path, .. } => {
                object_store::Error::NotFound { path: path.to_string(), source: error.into() }
            }
            DirError::AlreadyExists { to, .. } => {
                object_store::Error::AlreadyExists { path: to.to_string(), source: error.into() }
            }
            _ => object_store::Error::Generic { store: crate::store::NAME, source: error.into() },
        }
    }
}
