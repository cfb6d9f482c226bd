//! The words for verbs and phases, as errors, labels and progress print them.

use std::fmt;

/// A verb for folders, in errors and progress. Prints as the method's name.
///
/// # Examples
///
/// ```
/// assert_eq!(treelock_object_store::Verb::Rename.to_string(), "rename_folder");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// [`rename_folder`](crate::Folders::rename_folder).
    Rename,
    /// [`copy_folder`](crate::Folders::copy_folder).
    Copy,
    /// [`delete_folder`](crate::Folders::delete_folder).
    Delete,
    /// [`list_folder`](crate::Folders::list_folder).
    List,
    /// [`read_folder`](crate::LockedStore::read_folder).
    Read,
    /// [`write_folder`](crate::LockedStore::write_folder).
    Write,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Verb::Rename => "rename_folder",
            Verb::Copy => "copy_folder",
            Verb::Delete => "delete_folder",
            Verb::List => "list_folder",
            Verb::Read => "read_folder",
            Verb::Write => "write_folder",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a folder verb is doing: first all copies, then all deletes.
///
/// # Examples
///
/// ```
/// assert_eq!(treelock_object_store::Phase::Copy.to_string(), "copy");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Copying; every source still exists.
    Copy,
    /// Deleting; every copy exists already.
    Delete,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Copy => "copy",
            Phase::Delete => "delete",
        })
    }
}
