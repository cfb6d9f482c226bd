//! What can go wrong with a lock in memory, in one type: [`Error`].

use std::{error, fmt};

use crate::{blocked::Blocked, node_error::NodeError};

/// Why a lock in memory was not granted.
///
/// No verb of [`TreeLock`](crate::TreeLock) returns it, since each returns the one thing that can go wrong
/// with it. It is for functions that build requests and try for locks, so that `?` works on both, and for
/// code that works with any engine.
///
/// # Examples
///
/// ```
/// use treelock::{Error, Guard, Request, TreeLock, Wait};
///
/// fn clean(lock: &TreeLock, folder: &str) -> Result<Guard, Error> {
///     let request = Request::new().write(folder)?;
///     Ok(lock.try_acquire(&request).wait()?)
/// }
///
/// let lock = TreeLock::new();
/// assert!(matches!(clean(&lock, ""), Err(Error::Node(_))));
/// let _guard = clean(&lock, "target")?;
/// assert!(matches!(clean(&lock, "target"), Err(Error::Blocked(_))));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Another request is in the way.
    Blocked(Box<Blocked>),
    /// A text names no node.
    Node(NodeError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Node(error) => error.fmt(f),
        }
    }
}

/// The sentence is that of the cause, so there is no other source.
impl error::Error for Error {}

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
