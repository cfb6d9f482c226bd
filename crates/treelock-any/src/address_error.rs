//! Why a text names no lock: [`AddressError`].

use std::{error, fmt};

/// Why a text names no lock: which part of it is wrong, and what would be right.
///
/// It never holds a password, even if the text does.
///
/// # Examples
///
/// ```
/// use treelock_any::Address;
///
/// let error = "etcd://a:2379/builds?ttl=soon".parse::<Address>().unwrap_err();
/// assert_eq!(error.part(), "ttl");
/// let says = r#"ttl: "soon" is not a duration; write whole seconds, minutes or hours, as in 15s"#;
/// assert_eq!(error.to_string(), says);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    part: &'static str,
    what: String,
}

impl AddressError {
    pub(crate) fn new(part: &'static str, what: impl fmt::Display) -> AddressError {
        AddressError { part, what: what.to_string() }
    }

    /// Returns the part of the text that is wrong: `scheme`, `path`, `endpoint`, `namespace`,
    /// `user`, `password`, `parameter`, or the name of a parameter.
    ///
    /// # Examples
    ///
    /// See [`AddressError`].
    #[must_use]
    pub fn part(&self) -> &'static str {
        self.part
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.what)
    }
}

impl error::Error for AddressError {}
