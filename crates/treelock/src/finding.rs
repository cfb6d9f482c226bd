//! What an engine says of the place where it keeps its locks: whether they work there, and what is odd.

use std::fmt;

/// How much a [`Finding`] matters.
///
/// # Examples
///
/// ```
/// use treelock::engine::Severity;
///
/// assert!(Severity::Bad > Severity::Odd);
/// assert_eq!(Severity::Good.to_string(), "good");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Severity {
    /// As it should be.
    Good,
    /// Locks work, but somebody should look.
    Odd,
    /// Locks do not work here.
    Bad,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Good => "good",
            Severity::Odd => "odd",
            Severity::Bad => "bad",
        })
    }
}

/// Something that an engine found when it was asked to check itself.
///
/// # Examples
///
/// ```
/// use treelock::engine::{Finding, Severity};
///
/// let finding = Finding::odd("10 bytes are left", "make room");
/// assert_eq!(finding.severity, Severity::Odd);
/// assert_eq!(finding.to_string(), "10 bytes are left; make room");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { severity, what: what.into(), advice: advice.into() }
    }

    /// Returns something that is as it should be. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(treelock::engine::Finding::good("locks are seen").advice, "");
    /// ```
    #[must_use]
    pub fn good(what: impl Into<String>) -> Finding {
        Finding::new(Severity::Good, what, "")
    }

    /// Returns something that somebody should look at, and what to do about it. For those who write an engine.
    ///
    /// # Examples
    ///
    /// See [`Finding`].
    #[must_use]
    pub fn odd(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding::new(Severity::Odd, what, advice)
    }

    /// Returns something with which locks do not work, and what to do about it. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::{Finding, Severity};
    ///
    /// assert_eq!(Finding::bad("a lock is not seen by others", "use another disk").severity, Severity::Bad);
    /// ```
    #[must_use]
    pub fn bad(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding::new(Severity::Bad, what, advice)
    }
}

/// What was found, and after a semicolon what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}
