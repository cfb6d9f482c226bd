//! What a run prints.

use std::{fmt, time::Duration};

/// The outcome of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) faults: u64,
    pub(crate) sections: u64,
    pub(crate) overlaps: u64,
    pub(crate) rescued: u64,
    pub(crate) orphans: u64,
    /// Stale accesses that the resource has refused.
    pub(crate) refused: u64,
    /// Members that answered nothing although nothing was done to them any more, and were
    /// restarted.
    pub(crate) restarted: u64,
    /// Places and locks that were lost with their session.
    pub(crate) lost: u64,
    pub(crate) gap: Duration,
    pub(crate) behind_the_dead: Duration,
    pub(crate) took: Duration,
    /// What should not be.
    pub(crate) wrong: Vec<String>,
    /// Why it was not run, if it was not.
    pub(crate) left_out: Option<String>,
}

impl Line {
    /// This run and another one of the same fault, as one.
    pub(crate) fn with(mut self, other: Line) -> Line {
        self.name = other.name;
        self.faults += other.faults;
        self.sections += other.sections;
        self.overlaps += other.overlaps;
        self.rescued += other.rescued;
        self.orphans += other.orphans;
        self.refused += other.refused;
        self.restarted += other.restarted;
        self.lost += other.lost;
        self.gap = self.gap.max(other.gap);
        self.behind_the_dead = self.behind_the_dead.max(other.behind_the_dead);
        self.took += other.took;
        self.wrong.extend(other.wrong);
        self.left_out = self.left_out.or(other.left_out);
        self
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.left_out {
            return write!(f, "{}: SKIPPED: {why}", self.name);
        }
        write!(
            f,
            "{}: {} faults, {} sections, {} overlaps, {} rescued, {} orphans, {} stale accesses \
             refused, {} lost, longest gap {:.2} s",
            self.name,
            self.faults,
            self.sections,
            self.overlaps,
            self.rescued,
            self.orphans,
            self.refused,
            self.lost,
            self.gap.as_secs_f64(),
        )?;
        if !self.behind_the_dead.is_zero() {
            write!(f, ", {:.2} s behind a dead one", self.behind_the_dead.as_secs_f64())?;
        }
        if self.restarted > 0 {
            write!(f, ", {} members restarted", self.restarted)?;
        }
        let verdict = if self.wrong.is_empty() { "ok" } else { "FAILED" };
        write!(f, "; {verdict} ({:.0} s)", self.took.as_secs_f64())?;
        self.wrong.iter().try_for_each(|wrong| write!(f, "\n  {wrong}"))
    }
}
