//! What can go wrong, in words: what happened, to what, and what to do.

use std::{error, fmt, io, path::PathBuf};

use nix::libc;
use treelock::Blocked;

/// Why a lock was not granted, or the table could not be read.
///
/// # Examples
///
/// ```
/// use treelock::Request;
/// use treelock_dir::{DirLock, Error};
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let path = scratch.path().join("locks");
/// let lock = DirLock::new(path);
/// let request = Request::new().write("a").unwrap().label("first");
/// let _guard = lock.try_acquire(&request)?;
/// match lock.try_acquire(&request) {
///     Err(Error::Blocked(blocked)) => assert_eq!(blocked.label.as_deref(), Some("first")),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Somebody is in the way: of a try, or until the time was over.
    Blocked(Box<Blocked>),
    /// The operating system refused something.
    Io {
        /// What was being done, as in "write the lock table".
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory lies on a file system that several hosts share, whose locks do not end with a
    /// process of this host.
    Shared {
        /// The directory.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// The file in the table's place is not a lock table of this version.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// The table was emptied or cut short while requests in it were live, so who holds what is
    /// unknown.
    Damaged {
        /// The table.
        path: PathBuf,
    },
    /// The table was removed or replaced while the request waited: its place in the line is lost.
    Lost {
        /// Where the table was.
        path: PathBuf,
    },
    /// The request takes more room than a table gives one.
    TooLarge {
        /// Bytes that it takes.
        bytes: usize,
        /// Bytes that it may take.
        most: usize,
    },
}

impl Error {
    /// Returns who is in the way, if that is why.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("a").unwrap();
    /// let guard = lock.try_acquire(&request)?;
    /// assert_eq!(lock.try_acquire(&request).unwrap_err().blocked().unwrap().ahead, 1);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    #[must_use]
    pub fn blocked(&self) -> Option<&Blocked> {
        match self {
            Error::Blocked(blocked) => Some(blocked),
            _ => None,
        }
    }

    /// Returns whether the table went away under the request, so that asking again may succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// let lost = treelock_dir::Error::Lost { path: "locks/table".into() };
    /// assert!(lost.is_lost());
    /// ```
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Error::Lost { .. })
    }
}

impl From<Blocked> for Error {
    fn from(blocked: Blocked) -> Error {
        Error::Blocked(Box::new(blocked))
    }
}

/// What is being done to which file, for the errors of the system.
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
            Error::Io { doing, path, source } => {
                write!(f, "cannot {doing} {path:?}: {source}{}", advice(source))
            }
            Error::Shared { path, kind } => write!(
                f,
                "{path:?} lies on {kind}, which several hosts may share; use a directory on a local \
                 disk or in memory",
            ),
            Error::Foreign { path, what } => {
                write!(
                    f,
                    "{path:?} is not a lock table of this version ({what}); use another directory"
                )
            }
            Error::Damaged { path } => write!(
                f,
                "the lock table {path:?} was emptied or cut short while in use, so who holds what is \
                 unknown; wait until those who use it end, or end them",
            ),
            Error::Lost { path } => write!(
                f,
                "the lock table {path:?} was removed or replaced while the request waited; ask again",
            ),
            Error::TooLarge { bytes, most } => write!(
                f,
                "the request takes {bytes} bytes, and a lock table gives it {most}; ask for fewer or \
                 wider roots",
            ),
        }
    }
}

/// What to do about an error of the system, if that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => return "; close some, or raise the limit",
        Some(libc::EAGAIN) => return "; end some threads, or raise the limit",
        Some(libc::ELOOP) => return "; a symbolic link in its place is not followed",
        _ => {}
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; use a directory that you may write, or ask its owner to let you"
        }
        io::ErrorKind::ReadOnlyFilesystem => "; use a directory that can be written",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room, or use a directory on another disk"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; a part of the path is a file, where a directory should be"
        }
        _ => "",
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Blocked(blocked) => Some(&**blocked),
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
