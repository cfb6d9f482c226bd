//! What can go wrong, in words: what happened, to what, and what to do.

use std::{error, fmt, time::Duration};

use treelock::Blocked;

/// Why a lock was not granted, or etcd could not be asked.
///
/// The predicates say what to do: [`is_timeout`](Error::is_timeout) and [`blocked`](Error::blocked): somebody
/// else has it; [`is_lost`](Error::is_lost): ask again; [`is_unavailable`](Error::is_unavailable): try later;
/// all others: something has to be put right first.
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
    /// Somebody is in the way: of a try, or until the time was over.
    Blocked(Box<Blocked>),
    /// No member of the cluster answered within the time.
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// For how long it was tried.
        tried: Duration,
        /// What the last one said.
        last: String,
    },
    /// The place in the line is lost: the session ended while the request waited, or somebody took the place away
    /// ([`EtcdLock::revoke`](crate::EtcdLock::revoke)).
    Lost,
    /// etcd has no space left, so it takes nothing new.
    NoSpace,
    /// The user or the password is wrong, or the user may not do this.
    Denied {
        /// What was being done.
        doing: &'static str,
        /// What etcd says.
        what: String,
    },
    /// etcd refused something that should not be refused.
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What etcd says.
        what: String,
    },
    /// The options cannot be right, whatever the cluster says.
    Options {
        /// What is wrong with which, and what to do.
        what: String,
    },
    /// No member can be spoken to as it was configured: TLS on one side only, a certificate that has expired or
    /// that the other side does not trust, or one that is missing.
    Tls {
        /// The member that was looked at last.
        endpoint: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The request asks for something that the cluster's lock does not have.
    Unsupported {
        /// What that is.
        what: String,
    },
}

impl Error {
    /// Something is in the way that is not an entry of this lock.
    pub(crate) fn unreadable(what: &str) -> Error {
        Error::Refused {
            doing: "ask for a lock",
            what: format!(
                "{what} is in the way and is no entry of this lock (see `treelock doctor`)"
            ),
        }
    }

    /// Returns who is in the way, if that is why.
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

    /// Returns whether somebody else has it: of a try, or until the time was over.
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

    /// Returns whether the place in the line was lost, so that asking again may succeed.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Unavailable { doing, tried, last } => write!(
                f,
                "cannot {doing}: no etcd member answered for {:.1} s ({last}); see that the endpoints are \
                 right and that a majority of the members runs",
                tried.as_secs_f64()
            ),
            Error::Lost => f.write_str(
                "the request's place in the line is lost, since the session with etcd ended or somebody took it away; \
                 ask again",
            ),
            Error::NoSpace => f.write_str(
                "etcd has no space left and takes nothing new; compact and defragment it, raise its quota, and \
                 disarm the alarm (`etcdctl alarm disarm`)",
            ),
            Error::Denied { doing, what } => write!(
                f,
                "etcd does not let this user {doing} ({what}); see that user and password are right and \
                 that the user's role may read and write all keys of the namespace",
            ),
            Error::Refused { doing, what } => write!(f, "cannot {doing}: etcd says {what:?}"),
            Error::Tls { endpoint, what } => write!(f, "cannot speak to {endpoint}: {what}"),
            Error::Options { what } | Error::Unsupported { what } => f.write_str(what),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Blocked(blocked) => Some(&**blocked),
            _ => None,
        }
    }
}
