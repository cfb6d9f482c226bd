//! What a request does with a sub-tree: [`Access`].

use std::fmt;

use crate::mode::Mode;

/// What a request does with a sub-tree.
///
/// # Examples
///
/// ```
/// use treelock::Access;
///
/// assert!(!Access::Read.conflicts(Access::Read));
/// assert_eq!(Access::Write.to_string(), "write");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Access {
    /// Shared: others may read too, nobody may write.
    Read,
    /// Exclusive: nobody else may read or write.
    Write,
}

impl Access {
    /// Returns whether two accesses to one node conflict, so that two requests cannot both have them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Access;
    /// assert!(Access::Read.conflicts(Access::Write));
    /// ```
    #[must_use]
    pub const fn conflicts(self, other: Access) -> bool {
        matches!(self, Access::Write) || matches!(other, Access::Write)
    }

    pub(crate) const fn mode(self) -> Mode {
        match self {
            Access::Read => Mode::Shared,
            Access::Write => Mode::Exclusive,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Access::Read => "read",
            Access::Write => "write",
        })
    }
}
