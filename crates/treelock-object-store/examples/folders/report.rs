//! The table, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::args::Args;
use crate::check::Damage;
use crate::scheme::Kind;
use crate::source::Source;
use crate::worker::Notes;

const OPERATIONS: [&str; 6] = ["read", "audit", "write", "rename", "copy", "delete"];

#[derive(Serialize)]
pub(crate) struct Report {
    source: String,
    workers: u32,
    folders: u32,
    latency_ms: u64,
    seed: u64,
    pub(crate) rounds: Vec<Round>,
}

#[derive(Serialize)]
pub(crate) struct Round {
    kind: Kind,
    seconds: f64,
    operations: u64,
    operations_per_second: f64,
    by_kind: BTreeMap<&'static str, u64>,
    refused: u64,
    failed: u64,
    torn_seen: u64,
    torn_left: u64,
    files_lost: usize,
    first_torn: Option<String>,
    first_failed: Option<String>,
}

impl Round {
    pub(crate) fn new(kind: Kind, seconds: f64, notes: Notes, damage: Damage) -> Round {
        let operations: u64 = notes.done.values().sum();
        Round {
            kind,
            seconds,
            operations,
            operations_per_second: operations as f64 / seconds,
            by_kind: notes.done,
            refused: notes.refused,
            failed: notes.failed,
            torn_seen: notes.torn,
            torn_left: damage.torn,
            files_lost: damage.lost,
            first_torn: notes.first_torn,
            first_failed: notes.first_failed,
        }
    }

    fn is_clean(&self) -> bool {
        self.torn_seen == 0 && self.torn_left == 0 && self.files_lost == 0
    }
}

impl Report {
    pub(crate) fn new(args: &Args, source: &Source) -> Report {
        Report {
            source: source.to_string(),
            workers: args.workers,
            folders: args.folders,
            latency_ms: args.latency,
            seed: args.seed,
            rounds: Vec::new(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|error| format!("{{\"error\":{error:?}}}"))
    }

    fn round(&self, kind: Kind) -> Option<&Round> {
        self.rounds.iter().find(|round| round.kind == kind)
    }

    pub(crate) fn is_treelock_clean(&self) -> bool {
        self.round(Kind::Treelock).is_some_and(Round::is_clean)
    }

    fn row(
        &self,
        f: &mut fmt::Formatter<'_>,
        name: &str,
        cell: impl Fn(&Round) -> String,
    ) -> fmt::Result {
        write!(f, "\n{name:<24}")?;
        self.rounds.iter().try_for_each(|round| write!(f, "{:>18}", cell(round)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { source, workers, folders, latency_ms, seed, .. } = self;
        writeln!(f, "\n{source}")?;
        writeln!(
            f,
            "{folders} folders in {} places, {workers} workers, {latency_ms} ms per store call, \
             seed {seed}",
            2 * folders
        )?;
        self.row(f, "", |round| round.kind.title().to_string())?;
        self.row(f, "operations per second", |round| {
            format!("{:.0}", round.operations_per_second)
        })?;
        for name in OPERATIONS {
            self.row(f, &format!("  {name}"), |round| {
                round.by_kind.get(name).copied().unwrap_or(0).to_string()
            })?;
        }
        self.row(f, "refused", |round| round.refused.to_string())?;
        self.row(f, "failed", |round| round.failed.to_string())?;
        self.row(f, "torn folders seen", |round| round.torn_seen.to_string())?;
        self.row(f, "torn folders left", |round| round.torn_left.to_string())?;
        self.row(f, "files lost", |round| round.files_lost.to_string())?;
        writeln!(f)?;
        for round in &self.rounds {
            for (what, example) in [("torn", &round.first_torn), ("failed", &round.first_failed)] {
                if let Some(example) = example {
                    writeln!(f, "{}, {what}, for example: {example}", round.kind.title())?;
                }
            }
        }
        self.verdict(f)
    }
}

impl Report {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(global), Some(tree)) = (self.round(Kind::GlobalLock), self.round(Kind::Treelock))
        else {
            return Ok(());
        };
        let times = tree.operations_per_second / global.operations_per_second;
        let torn = tree.torn_seen + tree.torn_left;
        let state = if tree.is_clean() { "Every folder stayed whole" } else { "NOT CLEAN" };
        write!(
            f,
            "{state} under treelock: {torn} torn, {} lost, at {times:.1} times the rate of one \
             global lock.",
            tree.files_lost
        )
    }
}
