//! What an engine reports about the place where it keeps its locks: whether they work there, and
//! anything unusual.

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
    /// Everything is as it should be.
    Good,
    /// Locks work, but someone should take a look.
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

/// Something that an engine found when it was asked to check where it keeps its locks.
///
/// # Examples
///
/// ```
/// use treelock::engine::{Finding, Severity};
///
/// let finding = Finding::odd("10 bytes are left", "free some space");
/// assert_eq!(finding.severity, Severity::Odd);
/// assert_eq!(finding.to_string(), "10 bytes are left; free some space");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was found, in a sentence.
    pub what: String,
    /// What to do about it; empty if nothing needs doing.
    pub advice: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { severity, what: what.into(), advice: advice.into() }
    }

    /// Returns a finding that everything is as it should be. For engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(treelock::engine::Finding::good("locks are visible to others").advice, "");
    /// ```
    #[must_use]
    pub fn good(what: impl Into<String>) -> Finding {
        Finding::new(Severity::Good, what, "")
    }

    /// Returns a finding that someone should look at, with advice. For engine authors.
    ///
    /// # Examples
    ///
    /// See [`Finding`].
    #[must_use]
    pub fn odd(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding::new(Severity::Odd, what, advice)
    }

    /// Returns a finding that prevents locks from working, with advice. For engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::{Finding, Severity};
    ///
    /// let finding = Finding::bad("a lock is not visible to others", "use another disk");
    /// assert_eq!(finding.severity, Severity::Bad);
    /// ```
    #[must_use]
    pub fn bad(what: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding::new(Severity::Bad, what, advice)
    }
}

/// Prints what was found, then a semicolon and the advice.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}
