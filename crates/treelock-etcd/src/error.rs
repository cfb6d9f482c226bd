//! What can go wrong: what happened, to what, and what to do about it.

use std::{error, fmt, time::Duration};

use treelock::{Blocked, NodeError};

/// Why a lock was not granted, or why etcd could not be asked.
///
/// The predicates tell what to do next:
///
/// - [`is_timeout`](Error::is_timeout) and [`blocked`](Error::blocked): somebody else has the lock.
/// - [`is_lost`](Error::is_lost): ask again.
/// - [`is_unavailable`](Error::is_unavailable): try again later.
/// - None of them: something has to be fixed first, and the error says what.
///
/// # Examples
///
/// ```
/// use treelock_etcd::Error;
///
/// let error = Error::NoSpace;
/// assert!(!error.is_lost() && !error.is_timeout() && !error.is_unavailable());
/// assert!(error.to_string().contains("compact"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Somebody is in the way: of a try, or still when the request gave up.
    Blocked(Box<Blocked>),
    /// No member of the cluster answered in time.
    #[non_exhaustive]
    Unavailable {
        /// What was attempted.
        doing: &'static str,
        /// For how long it was attempted.
        tried: Duration,
        /// What the last member said.
        last: String,
    },
    /// The request lost its place in the line: the session ended while it waited, or somebody took
    /// the place away ([`EtcdLock::revoke`](crate::EtcdLock::revoke)).
    Lost,
    /// etcd has no space left and accepts nothing new.
    NoSpace,
    /// The user or the password is wrong, or the user may not do this.
    #[non_exhaustive]
    Denied {
        /// What was attempted.
        doing: &'static str,
        /// What etcd says.
        what: String,
    },
    /// etcd refused something that it should not refuse.
    #[non_exhaustive]
    Refused {
        /// What was attempted.
        doing: &'static str,
        /// What etcd says.
        what: String,
    },
    /// The options cannot be right, whatever the cluster says.
    #[non_exhaustive]
    Options {
        /// Which option is wrong, and what to do.
        what: String,
    },
    /// No member can be reached the way it was configured: TLS on one side only, or a certificate
    /// that has expired, is missing, or is not trusted by the other side.
    #[non_exhaustive]
    Tls {
        /// The member that was looked at last.
        endpoint: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The request asks for something that the cluster's lock does not support.
    #[non_exhaustive]
    Unsupported {
        /// What that is.
        what: String,
    },
    /// The text of a node is not valid, so there is nothing to ask for.
    Node(NodeError),
}

impl Error {
    /// Says that a key is in the way that is not an entry of this lock.
    pub(crate) fn unreadable(key: &str) -> Error {
        Error::Refused {
            doing: "ask for a lock",
            what: format!(
                "{key} is in the way and is not an entry of this lock (see `treelock doctor`)"
            ),
        }
    }

    /// Returns who is in the way, if that is the reason.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(treelock_etcd::Error::Lost.blocked().is_none());
    /// ```
    #[must_use]
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            Error::Blocked(blocked) => Some(blocked),
            _ => None,
        }
    }

    /// Returns whether somebody else has the lock: at the moment of a try, or still when the
    /// request gave up.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!treelock_etcd::Error::Lost.is_timeout());
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Error::Blocked(_))
    }

    /// Returns whether the request lost its place in the line, so that asking again may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(treelock_etcd::Error::Lost.is_lost());
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost)
    }

    /// Returns whether no member of the cluster answered, so that asking later may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!treelock_etcd::Error::NoSpace.is_unavailable());
    /// ```
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }
}

impl From<Blocked> for Error {
    fn from(blocked: Blocked) -> Error {
        Error::Blocked(Box::new(blocked))
    }
}

/// So that `?` works on requests and on locks alike.
impl From<NodeError> for Error {
    fn from(error: NodeError) -> Error {
        Error::Node(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Node(error) => error.fmt(f),
            Error::Unavailable { doing, tried, last } => write!(
                f,
                "cannot {doing}: no etcd member answered for {:.1} s ({last}); check that the \
                 endpoints are right and that a majority of the members is running",
                tried.as_secs_f64()
            ),
            Error::Lost => f.write_str(
                "the request lost its place in the line, because the session with etcd ended or \
                 somebody took the place away; ask again",
            ),
            Error::NoSpace => f.write_str(
                "etcd has no space left and accepts nothing new; compact and defragment it, raise \
                 its quota, and disarm the alarm (`etcdctl alarm disarm`)",
            ),
            Error::Denied { doing, what } => write!(
                f,
                "etcd does not let this user {doing} ({what}); check that user and password are \
                 right, and that the user's role may read and write all keys of the namespace",
            ),
            Error::Refused { doing, what } => write!(f, "cannot {doing}: etcd says {what:?}"),
            Error::Tls { endpoint, what } => write!(f, "cannot talk to {endpoint}: {what}"),
            Error::Options { what } | Error::Unsupported { what } => f.write_str(what),
        }
    }
}

/// The sentence says everything, so a cause that it includes is not a source as well.
impl error::Error for Error {}
