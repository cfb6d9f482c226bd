//! What can go wrong with any engine, in one type: [`Error`].

use std::{any::Any, error, fmt};

use treelock::{Blocked, NodeError, engine::EngineError};

use crate::address_error::AddressError;

/// Why a lock was not granted, could not be asked, or could not be opened.
///
/// Its sentence is that of the engine. The predicates say what to do: [`blocked`](Error::blocked)
/// and [`is_timeout`](Error::is_timeout): somebody else has it; [`is_lost`](Error::is_lost): ask
/// again; [`is_unavailable`](Error::is_unavailable): try later; otherwise something has to be put
/// right first.
///
/// # Examples
///
/// ```
/// use treelock_any::{AnyLock, Error, Wait, treelock::Request};
///
/// let lock = AnyLock::open("memory:")?;
/// let request = Request::new().write("a")?.with_label("first");
/// let _guard = lock.try_acquire(&request).wait()?;
/// match lock.try_acquire(&request).wait() {
///     Err(Error::Blocked(blocked)) => assert_eq!(blocked.label.as_deref(), Some("first")),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Somebody is in the way: of a try, or of a request that gave up.
    Blocked(Box<Blocked>),
    /// A name is not that of a node.
    Node(NodeError),
    /// A text names no lock.
    Address(AddressError),
    /// The lock's engine is not built in.
    NotBuiltIn {
        /// The feature of the crate `treelock-any` that has it.
        feature: &'static str,
    },
    /// What the engine says.
    Engine(EngineFailure),
}

/// What an engine says that is not in the common words. Its sentence is the engine's own.
///
/// # Examples
///
/// See [`Error::downcast_ref`].
pub struct EngineFailure(Box<dyn ErasedError>);

/// [`EngineError`] without its conversions, which need a known type.
trait ErasedError: error::Error + Send + Sync {
    fn is_lost(&self) -> bool;
    fn is_unavailable(&self) -> bool;
    fn as_any(&self) -> &dyn Any;
}

impl<E: EngineError> ErasedError for E {
    fn is_lost(&self) -> bool {
        EngineError::is_lost(self)
    }

    fn is_unavailable(&self) -> bool {
        EngineError::is_unavailable(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Error {
    /// Returns what an engine says, in the common words if they have it.
    pub(crate) fn of_engine(error: impl EngineError) -> Error {
        match error.blocked() {
            Some(blocked) => Error::Blocked(Box::new(blocked.clone())),
            None => Error::Engine(EngineFailure(Box::new(error))),
        }
    }

    /// Returns who is in the way, if that is why.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{AnyLock, Wait, treelock::Request};
    ///
    /// let lock = AnyLock::open("memory:")?;
    /// let request = Request::new().write("a")?;
    /// let guard = lock.try_acquire(&request).wait()?;
    /// assert_eq!(lock.try_acquire(&request).wait().unwrap_err().blocked().unwrap().ahead, 1);
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            Error::Blocked(blocked) => Some(blocked),
            _ => None,
        }
    }

    /// Returns whether somebody else has it: of a try, or until the time was over.
    ///
    /// # Examples
    ///
    /// See [`blocked`](Error::blocked).
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.blocked().is_some()
    }

    /// Returns whether the place in the line was lost, so that asking again may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::AnyLock;
    ///
    /// assert!(!AnyLock::open("no such thing").unwrap_err().is_lost());
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            Error::Engine(failure) => failure.0.is_lost(),
            _ => false,
        }
    }

    /// Returns whether the engine could not be reached, so that asking later may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::AnyLock;
    ///
    /// assert!(!AnyLock::open("no such thing").unwrap_err().is_unavailable());
    /// ```
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Engine(failure) => failure.0.is_unavailable(),
            _ => false,
        }
    }

    /// Returns the engine's own error, if it is of this type.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "dir")] {
    /// use treelock_any::{AnyLock, Wait, treelock_dir};
    ///
    /// let lock = AnyLock::open("dir:/dev/null/locks")?;
    /// let error = lock.snapshot().wait().unwrap_err();
    /// assert!(matches!(error.downcast_ref(), Some(treelock_dir::Error::Io { .. })));
    /// # }
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn downcast_ref<E: EngineError>(&self) -> Option<&E> {
        match self {
            Error::Engine(failure) => failure.0.as_any().downcast_ref(),
            _ => None,
        }
    }
}

impl EngineError for Error {
    fn blocked(&self) -> Option<&Blocked> {
        Error::blocked(self)
    }

    fn is_lost(&self) -> bool {
        Error::is_lost(self)
    }

    fn is_unavailable(&self) -> bool {
        Error::is_unavailable(self)
    }
}

impl From<Blocked> for Error {
    fn from(blocked: Blocked) -> Error {
        Error::Blocked(Box::new(blocked))
    }
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Error {
        Error::Node(error)
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Error {
        Error::Address(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Node(error) => error.fmt(f),
            Error::Address(error) => write!(f, "the text names no lock: {error}"),
            Error::NotBuiltIn { feature } => write!(
                f,
                "the lock \"{feature}:\" is not built in; switch on the feature `{feature}` of \
                 treelock-any"
            ),
            Error::Engine(failure) => failure.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Engine(failure) => failure.0.source(),
            _ => None,
        }
    }
}

impl fmt::Debug for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl error::Error for EngineFailure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source()
    }
}
