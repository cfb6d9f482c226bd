//! Why a folder verb did not do its work.

use std::error::Error;
use std::fmt;
use std::iter;

use object_store::path::Path;
use treelock::{Blocked, NodeError};

use crate::error::incomplete::Incomplete;
use crate::error::lock::{LockError, STORE_NAME};
use crate::verb::Verb;

/// Why a folder verb did not do its work: what happened, to what, and what to do.
///
/// All variants but [`Incomplete`](FolderError::Incomplete) mean that nothing was changed. What the
/// store or the lock's engine said is the [`source`](Error::source), and not in the sentence.
///
/// # Examples
///
/// ```
/// # use object_store::memory::InMemory;
/// # use treelock_object_store::{FolderError, Folders, LockedStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = LockedStore::new(InMemory::new());
/// let error = store.delete_folder("").await.unwrap_err();
/// assert!(matches!(error, FolderError::EmptyPath { .. }));
/// assert_eq!(
///     error.to_string(),
///     "delete_folder refuses the empty path, which is the whole store: is a variable unset? \
///      name a folder"
/// );
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FolderError {
    /// The path is empty or `/`, the whole store: most likely an unset variable.
    #[non_exhaustive]
    EmptyPath {
        /// The verb that was asked for.
        verb: Verb,
    },
    /// The text is not a path: it has `.`, `..`, an empty segment or a control character.
    #[non_exhaustive]
    InvalidPath {
        /// The verb that was asked for.
        verb: Verb,
        /// The text.
        text: String,
        /// What is wrong with it.
        source: object_store::path::Error,
    },
    /// The two folders are the same, or one lies in the other.
    #[non_exhaustive]
    Overlap {
        /// The verb that was asked for.
        verb: Verb,
        /// The source folder.
        from: Path,
        /// The target folder.
        to: Path,
    },
    /// There is no object below the folder.
    #[non_exhaustive]
    NotFound {
        /// The verb that was asked for.
        verb: Verb,
        /// The folder that has nothing in it.
        path: Path,
        /// Whether an *object* of exactly that name exists, which the folder verbs leave alone.
        is_object: bool,
    },
    /// The target holds an object already, and [`overwrite`](crate::FolderJob::overwrite) was not
    /// given.
    #[non_exhaustive]
    AlreadyExists {
        /// The verb that was asked for.
        verb: Verb,
        /// The target folder.
        to: Path,
        /// An object that was found there: one below `to`, or `to` itself.
        found: Path,
    },
    /// The folder lies outside what the [`LockedView`](crate::LockedView) has locked.
    #[non_exhaustive]
    OutsideView {
        /// The verb that was asked for.
        verb: Verb,
        /// What the verb would need, as the lock prints it.
        needed: String,
        /// What the view holds, as the lock prints it.
        held: String,
    },
    /// The store failed before anything was changed.
    #[non_exhaustive]
    Store {
        /// The verb that was asked for.
        verb: Verb,
        /// The folder that could not be looked at.
        path: Path,
        /// What the store said.
        source: object_store::Error,
    },
    /// A text does not name a node of the lock. It comes from a [`Request`](treelock::Request) of
    /// your own: paths of the store all name one.
    Node(NodeError),
    /// The lock was not granted, or was lost before anything was changed. Never with a
    /// [`TreeLock`](treelock::TreeLock).
    Lock(LockError),
    /// The store failed half-way, or the lock was lost. No object is lost; the value says what is
    /// where.
    Incomplete(Box<Incomplete>),
}

impl FolderError {
    /// Returns who is in the way, if that is why the lock was not granted: see
    /// [`LockError::blocked`].
    ///
    /// # Examples
    ///
    /// See [`is_lost`](FolderError::is_lost).
    pub fn blocked(&self) -> Option<&Blocked> {
        LockError::of(self)?.blocked()
    }

    /// Returns whether the lock was lost: see [`LockError::is_lost`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_object_store::FolderError;
    /// fn advice(error: &FolderError) -> &'static str {
    ///     match error {
    ///         FolderError::Incomplete(_) if error.is_lost() => "others may have been there",
    ///         FolderError::Incomplete(_) => "the store failed half-way",
    ///         error if error.is_lost() => "nothing was changed: ask again",
    ///         error if error.is_unavailable() => "nothing was changed: ask later",
    ///         error if error.blocked().is_some() => "nothing was changed: somebody else is there",
    ///         _ => "nothing was changed: see what it says",
    ///     }
    /// }
    /// # let _ = advice;
    /// ```
    pub fn is_lost(&self) -> bool {
        LockError::of(self).is_some_and(LockError::is_lost)
    }

    /// Returns whether the lock's engine could not be reached: see [`LockError::is_unavailable`].
    ///
    /// # Examples
    ///
    /// See [`is_lost`](FolderError::is_lost).
    pub fn is_unavailable(&self) -> bool {
        LockError::of(self).is_some_and(LockError::is_unavailable)
    }

    /// Makes one of what failed while a folder was looked at.
    pub(crate) fn store(verb: Verb, path: &Path, source: object_store::Error) -> FolderError {
        let path = path.clone();
        let object_store::Error::Generic { store, source } = source else {
            return FolderError::Store { verb, path, source };
        };
        match source.downcast() {
            Ok(lock) => FolderError::Lock(*lock),
            Err(source) => {
                let source = object_store::Error::Generic { store, source };
                FolderError::Store { verb, path, source }
            }
        }
    }
}

/// Not beside the type, because it looks into a [`FolderError::Lock`], which has the lock's
/// sentence and the lock's source, so that no sentence is printed twice.
impl LockError {
    /// Returns the lock's part in an error of this crate's operations; `None` if it has none.
    ///
    /// # Examples
    ///
    /// See [`LockError`].
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LockError> {
        let mut chain = iter::successors(Some(error), |&error| error.source());
        chain.find_map(|error| match error.downcast_ref() {
            Some(FolderError::Lock(lock)) => Some(lock),
            _ => error.downcast_ref(),
        })
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::EmptyPath { verb } => write!(
                f,
                "{verb} refuses the empty path, which is the whole store: is a variable unset? \
                 name a folder"
            ),
            FolderError::InvalidPath { verb, text, .. } => write!(
                f,
                "{verb}: {text:?} is not a path; give slash-separated names without `.`, `..`, \
                 empty segments or control characters"
            ),
            FolderError::Overlap { verb, from, to } if from == to => {
                write!(f, "{verb} `{from}` onto itself would change nothing; give another target")
            }
            FolderError::Overlap { verb, from, to } => write!(
                f,
                "{verb} `{from}` -> `{to}`: one of the folders lies in the other; give a target \
                 outside, or go by way of a third folder"
            ),
            FolderError::NotFound { verb, path, is_object: false } => {
                write!(f, "{verb}: there is no object below `{path}/`; check the name")
            }
            FolderError::NotFound { verb, path, is_object: true } => write!(
                f,
                "{verb}: there is no object below `{path}/`, but `{path}` is itself an object; \
                 for one object use `rename`, `copy` or `delete`"
            ),
            FolderError::AlreadyExists { verb, to, found } => write!(
                f,
                "{verb}: the target `{to}` exists (found `{found}`); choose another, delete it \
                 first, or give `.overwrite(true)` to merge into it"
            ),
            FolderError::OutsideView { verb, needed, held } => write!(
                f,
                "{verb} needs `{needed}`, but the view holds `{held}`; ask for a view that covers \
                 it"
            ),
            FolderError::Store { verb, path, .. } => {
                write!(f, "{verb}: the store failed to look at `{path}`, so nothing was changed")
            }
            FolderError::Node(error) => error.fmt(f),
            FolderError::Lock(error) => error.fmt(f),
            FolderError::Incomplete(state) => state.fmt(f),
        }
    }
}

impl Error for FolderError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            FolderError::InvalidPath { source, .. } => Some(source),
            FolderError::Store { source, .. } => Some(source),
            FolderError::Node(error) => error.source(),
            FolderError::Lock(error) => error.source(),
            FolderError::Incomplete(state) => state.source(),
            _ => None,
        }
    }
}

/// Lets `?` work in a function that builds requests.
impl From<NodeError> for FolderError {
    fn from(error: NodeError) -> FolderError {
        FolderError::Node(error)
    }
}

/// Lets `?` work in a function that returns [`object_store::Result`]: what is missing or exists
/// becomes the store's own error, all else [`Generic`](object_store::Error::Generic).
impl From<FolderError> for object_store::Error {
    fn from(error: FolderError) -> object_store::Error {
        match &error {
            FolderError::NotFound { path, .. } => {
                object_store::Error::NotFound { path: path.to_string(), source: error.into() }
            }
            FolderError::AlreadyExists { to, .. } => {
                object_store::Error::AlreadyExists { path: to.to_string(), source: error.into() }
            }
            _ => object_store::Error::Generic { store: STORE_NAME, source: error.into() },
        }
    }
}
