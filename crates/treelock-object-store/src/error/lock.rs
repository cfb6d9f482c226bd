//! The lock's part in an error: the lock was not granted, or it was lost.

use std::error::Error;
use std::fmt;
use std::iter;

use treelock::engine::EngineError;
use treelock::{Blocked, Request};

/// How this crate names itself in an [`object_store::Error`].
pub(crate) const STORE_NAME: &str = "LockedStore";

/// How many roots a message names: a batch of deletes has a thousand.
const ROOTS_PER_MESSAGE_MAX: usize = 4;

/// Why a lock prevented an operation, or made its result uncertain.
///
/// Only locks that can fail cause this: those [between processes](crate#several-processes). The
/// value is somewhere in the [`object_store::Error`] or [`FolderError`](crate::FolderError) of an
/// operation; [`of`](LockError::of) finds it.
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
    /// The engine did not grant the lock. Nothing of this request was done; earlier batches of a
    /// `delete_stream` have reported what they did.
    #[non_exhaustive]
    NotGranted {
        /// What was requested.
        request: Request,
        /// The blocker, if that is the reason.
        blocked: Option<Box<Blocked>>,
        /// Whether the request lost its place in line, so that asking again may succeed.
        is_lost: bool,
        /// Whether the engine could not be reached, so that trying later may succeed.
        is_unavailable: bool,
        /// The engine's error, which says what to do.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The lock was held and then lost: its lease ended, or it was taken away.
    #[non_exhaustive]
    Lost {
        /// What was held.
        request: Request,
        /// Whether work had begun. In that case it may or may not be done, and others may have been
        /// there at the same time, so what was read may mix two states.
        begun: bool,
    },
}

impl LockError {
    /// Keeps the content of an engine's error, without its type.
    pub(crate) fn not_granted<E: EngineError>(request: Request, error: E) -> LockError {
        LockError::NotGranted {
            request,
            blocked: error.blocked().cloned().map(Box::new),
            is_lost: error.is_lost(),
            is_unavailable: error.is_unavailable(),
            source: error.into(),
        }
    }

    /// Returns the blocker, if that is why the lock was not granted.
    ///
    /// # Examples
    ///
    /// See [`is_lost`](LockError::is_lost).
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            LockError::NotGranted { blocked, .. } => blocked.as_deref(),
            LockError::Lost { .. } => None,
        }
    }

    /// Returns whether a held lock, or the request's place in line, was lost, so that asking again
    /// may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_object_store::LockError;
    /// fn should_ask_again(error: &object_store::Error) -> bool {
    ///     LockError::of(error).is_some_and(|lock| {
    ///         lock.is_lost() || lock.is_unavailable() || lock.blocked().is_some()
    ///     })
    /// }
    /// # let _ = should_ask_again;
    /// ```
    pub fn is_lost(&self) -> bool {
        match self {
            LockError::NotGranted { is_lost, .. } => *is_lost,
            LockError::Lost { .. } => true,
        }
    }

    /// Returns whether the lock was held and then lost.
    pub(crate) fn was_held(&self) -> bool {
        matches!(self, LockError::Lost { .. })
    }

    /// Returns whether the engine could not be reached, so that trying later may succeed.
    ///
    /// # Examples
    ///
    /// See [`is_lost`](LockError::is_lost).
    pub fn is_unavailable(&self) -> bool {
        matches!(self, LockError::NotGranted { is_unavailable: true, .. })
    }

    /// Returns the first one among an error and its sources.
    pub(crate) fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a LockError> {
        iter::successors(Some(error), |&error| error.source())
            .find_map(|error| error.downcast_ref())
    }
}

/// Prints the roots of a request, the first few of them.
fn roots(request: &Request) -> String {
    let more = request.roots().count().saturating_sub(ROOTS_PER_MESSAGE_MAX);
    if more == 0 {
        return request.to_string();
    }
    let first = request.roots().take(ROOTS_PER_MESSAGE_MAX);
    let first: Vec<_> = first.map(|(access, node)| format!("{access} {node}")).collect();
    format!("{}, and {more} more", first.join(", "))
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (LockError::NotGranted { request, .. } | LockError::Lost { request, .. }) = self;
        if let Some(label) = request.label() {
            write!(f, "{label}: ")?;
        }
        let roots = roots(request);
        match self {
            LockError::NotGranted { .. } => {
                write!(f, "the lock `{roots}` was not granted, so nothing was done")
            }
            LockError::Lost { begun: false, .. } => {
                write!(f, "the lock `{roots}` was lost, so nothing was done; ask for it again")
            }
            LockError::Lost { begun: true, .. } => write!(
                f,
                "the lock `{roots}` was lost during the work, so others may have been there at the \
                 same time; look at what is there before you go on"
            ),
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
        object_store::Error::Generic { store: STORE_NAME, source: error.into() }
    }
}
