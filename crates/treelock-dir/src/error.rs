//! What can go wrong. Each message says what happened, to what, and what to do.

use std::{error, fmt, io, path::PathBuf};

use nix::libc;
use treelock::{Blocked, NodeError};

/// Why a lock was not granted, or why the table could not be read.
///
/// The predicates say how to react. [`is_timeout`](Error::is_timeout) and
/// [`blocked`](Error::blocked): another request has the lock. [`is_lost`](Error::is_lost): ask
/// again. [`is_unavailable`](Error::is_unavailable): try later. All other errors need a fix first.
///
/// # Examples
///
/// ```
/// use treelock::{Request, Wait};
/// use treelock_dir::{DirLock, Error};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let path = scratch.path().join("locks");
/// let lock = DirLock::new(path);
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
    /// Another request is in the way of a try, or of a request that gave up.
    Blocked(Box<Blocked>),
    /// A text does not name a node.
    Node(NodeError),
    /// The operating system refused an operation.
    #[non_exhaustive]
    Io {
        /// The operation, as in "write the lock table".
        doing: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// The directory is on a file system that several hosts share. Its locks do not end with a
    /// process of this host.
    #[non_exhaustive]
    Shared {
        /// The directory.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// The file in the table's place is not a lock table of this version.
    #[non_exhaustive]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
    /// The table was emptied or cut short while requests in it were live, or it cannot be
    /// determined which request is in the way. So it is unknown which requests hold locks.
    #[non_exhaustive]
    Damaged {
        /// The table.
        path: PathBuf,
    },
    /// The table is one of an earlier version of this crate, and processes that use that version
    /// have it in use. One that is not in use is begun anew.
    #[non_exhaustive]
    Former {
        /// The table.
        path: PathBuf,
    },
    /// A process has been changing the table, or joining it, for all the time that there was to
    /// wait, which otherwise takes microseconds. It may be stopped.
    #[non_exhaustive]
    Stuck {
        /// The table.
        path: PathBuf,
        /// The process, if it is known.
        process: Option<u32>,
    },
    /// The table was removed or replaced while the request waited, so the request has lost its
    /// place in line.
    #[non_exhaustive]
    Lost {
        /// The path of the former table.
        path: PathBuf,
    },
    /// The request takes more bytes than a table can store for one request.
    #[non_exhaustive]
    TooLarge {
        /// How many bytes it takes.
        bytes: usize,
        /// How many bytes it may take.
        most: usize,
    },
}

impl Error {
    /// Returns the blocker, if that is the reason.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("a")?;
    /// let guard = lock.try_acquire(&request).wait()?;
    /// assert_eq!(lock.try_acquire(&request).wait().unwrap_err().blocked().unwrap().ahead, 1);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            Error::Blocked(blocked) => Some(blocked),
            _ => None,
        }
    }

    /// Returns whether another request has the lock: after a failed try, or when the time ran out.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("a")?;
    /// let guard = lock.try_acquire(&request).wait()?;
    /// assert!(lock.try_acquire(&request).wait().unwrap_err().is_timeout());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.blocked().is_some()
    }

    /// Returns whether the table was lost while the request waited, so that asking again may
    /// succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("a")?;
    /// let guard = lock.try_acquire(&request).wait()?;
    /// let mut waits = lock.acquire(&request);
    /// assert!(waits.wait_timeout(std::time::Duration::ZERO).is_none());
    /// std::fs::remove_dir_all(lock.path()).unwrap();
    /// assert!(waits.blocked().wait().unwrap_err().is_lost());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost { .. })
    }

    /// Returns whether the table cannot be used now, so that trying later may succeed: the system
    /// has run out of file descriptors, threads, memory or disk space, or the table was damaged
    /// while in use.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_dir::Error;
    /// let error = Error::from("".parse::<treelock::Node>().unwrap_err());
    /// assert!(!error.is_unavailable());
    /// ```
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Error::Io { source, .. } => is_scarcity(source),
            Error::Damaged { .. } | Error::Former { .. } | Error::Stuck { .. } => true,
            _ => false,
        }
    }
}

/// Returns whether the system has run out of something that others may give back.
fn is_scarcity(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::EAGAIN | libc::ENOLCK))
        || matches!(error.kind(), OutOfMemory | QuotaExceeded | StorageFull)
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

/// Adds the operation and the file to an error of the system.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing, path: path.to_path_buf(), source: source.into() })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Node(error) => error.fmt(f),
            Error::Io { doing, path, source } => {
                write!(f, "cannot {doing} {path:?}: {source}{}", advice(source))
            }
            Error::Shared { path, kind } => write!(
                f,
                "{path:?} is on {kind}, which several hosts may share; use a directory on a \
                 local disk or in memory",
            ),
            Error::Foreign { path, what } => write!(
                f,
                "{path:?} is not a lock table of this version ({what}); use another directory",
            ),
            Error::Damaged { path } => write!(
                f,
                "the lock table {path:?} was emptied, cut short or damaged while in use, so it is \
                 unknown which requests hold locks; wait until the processes that use it have \
                 ended, or end them",
            ),
            Error::Former { path } => write!(
                f,
                "the lock table {path:?} is in use by processes with an earlier version of \
                 treelock; wait until they have ended, or end them, and try again",
            ),
            Error::Stuck { path, process: Some(pid) } => write!(
                f,
                "process {pid} is holding up the lock table {path:?}: it may be stopped; resume \
                 it (kill -CONT {pid}) or end it, and try again",
            ),
            Error::Stuck { path, process: None } => write!(
                f,
                "a process is holding up the lock table {path:?}: it may be stopped; see \
                 `treelock doctor`, resume it or end it, and try again",
            ),
            Error::Lost { path } => write!(
                f,
                "the lock table {path:?} was removed or replaced while the request waited; try \
                 again",
            ),
            Error::TooLarge { bytes, most } => write!(
                f,
                "the request takes {bytes} bytes, but a lock table has room for only {most}; \
                 request fewer or wider roots",
            ),
        }
    }
}

/// Returns what to do about an error of the system, if that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => return "; close some, or raise the limit",
        Some(libc::EAGAIN) => return "; end some threads, or raise the limit",
        Some(libc::ELOOP) => return "; it is a symbolic link, which is not followed",
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; use a directory that you may write to, or ask its owner for access"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; use a writable directory",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or use a directory on another disk"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; part of the path is a file where a directory is expected"
        }
        _ => "",
    }
}

/// Has no source, because the message already includes the cause.
impl error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors say what happened, to what, and what to do.
    #[test]
    fn what_errors_of_the_system_say() {
        let io = |kind: io::ErrorKind| Error::Io {
            doing: "write the lock table",
            path: "/locks/table".into(),
            source: io::Error::new(kind, "as the system says"),
        };
        let begins = r#"cannot write the lock table "/locks/table": as the system says"#;
        for (kind, advice) in [
            (
                io::ErrorKind::PermissionDenied,
                "; use a directory that you may write to, or ask its owner for access",
            ),
            (io::ErrorKind::ReadOnlyFilesystem, "; use a writable directory"),
            (io::ErrorKind::StorageFull, "; free some space, or use a directory on another disk"),
            (io::ErrorKind::QuotaExceeded, "; free some space, or use a directory on another disk"),
            (
                io::ErrorKind::NotADirectory,
                "; part of the path is a file where a directory is expected",
            ),
            (
                io::ErrorKind::AlreadyExists,
                "; part of the path is a file where a directory is expected",
            ),
            (io::ErrorKind::Other, ""),
        ] {
            assert_eq!(io(kind).to_string(), format!("{begins}{advice}"));
            assert!(error::Error::source(&io(kind)).is_none(), "the message includes it");
            assert!(!io(kind).is_lost() && !io(kind).is_timeout() && io(kind).blocked().is_none());
            let scarce = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&kind);
            assert_eq!(io(kind).is_unavailable(), scarce, "{kind}");
        }
        for (errno, advice) in [
            (libc::EMFILE, "; close some, or raise the limit"),
            (libc::ENFILE, "; close some, or raise the limit"),
            (libc::EAGAIN, "; end some threads, or raise the limit"),
            (libc::ELOOP, "; it is a symbolic link, which is not followed"),
        ] {
            let source = io::Error::from_raw_os_error(errno);
            let error = Error::Io { doing: "open the lock table", path: "/locks".into(), source };
            assert!(error.to_string().ends_with(advice), "{error}");
            assert_eq!(error.is_unavailable(), errno != libc::ELOOP, "{error}");
        }
    }

    #[test]
    fn what_errors_of_the_table_say() {
        for (error, says) in [
            (
                Error::Shared { path: "/net/locks".into(), kind: "NFS" },
                "\"/net/locks\" is on NFS, which several hosts may share; use a directory on \
                 a local disk or in memory",
            ),
            (
                Error::Foreign {
                    path: "/locks/table".into(),
                    what: "version 7 instead of 2".into(),
                },
                "\"/locks/table\" is not a lock table of this version (version 7 instead of 2); \
                 use another directory",
            ),
            (
                Error::Damaged { path: "/locks/table".into() },
                "the lock table \"/locks/table\" was emptied, cut short or damaged while in use, \
                 so it is unknown which requests hold locks; wait until the processes that use \
                 it have ended, or end them",
            ),
            (
                Error::Lost { path: "/locks/table".into() },
                "the lock table \"/locks/table\" was removed or replaced while the request \
                 waited; try again",
            ),
            (
                Error::TooLarge { bytes: 100, most: 90 },
                "the request takes 100 bytes, but a lock table has room for only 90; request \
                 fewer or wider roots",
            ),
        ] {
            assert_eq!(error.to_string(), says);
            assert!(error::Error::source(&error).is_none() && error.blocked().is_none());
            assert_eq!(error.is_lost(), matches!(error, Error::Lost { .. }));
            assert_eq!(error.is_unavailable(), matches!(error, Error::Damaged { .. }));
        }
    }

    #[test]
    fn a_wrong_name_says_what_is_wrong() {
        let wrong = "a/../b".parse::<treelock::Node>().expect_err("not a node");
        let error = Error::from(wrong.clone());
        assert_eq!(error.to_string(), wrong.to_string());
        assert!(error::Error::source(&error).is_none(), "the message includes it");
        assert!(!error.is_timeout() && !error.is_lost() && !error.is_unavailable());
    }
}
