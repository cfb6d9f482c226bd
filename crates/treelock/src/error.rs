//! What can go wrong with an in-process lock, in one type: [`Error`].

use std::{error, fmt};

use crate::{blocked::Blocked, node_error::NodeError};

/// Why an in-process lock was not granted.
///
/// No verb of [`TreeLock`](crate::TreeLock) returns this type, since each returns the one error
/// that it can have. It is for functions that both build requests and try to lock, so that `?`
/// works on either error, and for code that works with any engine.
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
    /// A text does not name a node.
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

/// Has no source, because its message is already that of the cause.
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
