//! The findings of tidy: what they say, and about what.

use std::fmt;

/// What a finding is about. The order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Columns,
    Lengths,
    Circles,
    Contract,
    Links,
    Dependencies,
    Facts,
    Sentences,
}

impl Kind {
    pub(super) const ALL: [Self; 8] = [
        Self::Columns,
        Self::Lengths,
        Self::Circles,
        Self::Contract,
        Self::Links,
        Self::Dependencies,
        Self::Facts,
        Self::Sentences,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

/// One thing that is not tidy: where it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    file: String,
    line: Option<usize>,
    text: String,
}

impl Finding {
    /// A finding about a file as a whole.
    pub(super) fn of(kind: Kind, file: &str, text: impl Into<String>) -> Self {
        Self { kind, file: file.into(), line: None, text: text.into() }
    }

    /// A finding about one line of a file, counted from 1.
    pub(super) fn at(kind: Kind, file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::of(kind, file, text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}: {}", self.kind, self.text)
    }
}
