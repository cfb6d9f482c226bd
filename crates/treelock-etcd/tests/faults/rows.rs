//! What is run: the rows of the table, and how much of each.

use std::{future::Future, pin::Pin};

use crate::{answers, loads, plan::Plan, report::Line, troubles};

/// Its future stays on one thread; what runs beside it is spawned.
type Run = fn(Plan) -> Pin<Box<dyn Future<Output = Line>>>;

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How much of it each run of the tests does, and how much the long run.
    pub(crate) short: u64,
    pub(crate) long: u64,
    /// How much at most is done on one cluster.
    pub(crate) batch: u64,
    /// How many of the runs that go on at once it counts for.
    pub(crate) weight: u32,
    pub(crate) run: Run,
}

macro_rules! row {
    ($name:literal, $short:expr, $long:expr, $batch:expr, $weight:expr, $run:path) => {
        Row {
            name: $name,
            short: $short,
            long: $long,
            batch: $batch,
            weight: $weight,
            run: |plan| Box::pin($run(plan)),
        }
    };
}

/// Returns the rows, in an order that keeps all runs busy.
pub(crate) fn table() -> Vec<Row> {
    vec![
        row!("none", 5_000, 1_000_000, 5_000, 2, loads::none),
        row!("answers lost", answers::SINGLE, answers::ALL, 8, 1, answers::lost),
        row!("clients killed or paused", 10, 300, 10, 1, loads::clients),
        row!("members killed", 4, 100, 10, 1, loads::members),
        row!("partitions", 7, 100, 4, 1, loads::partitions),
        row!("leader paused for less than the TTL", 3, 100, 10, 1, loads::short_pauses),
        row!("leader paused for longer than the TTL", 1, 50, 5, 1, loads::long_pauses),
        row!("move-leader and rolling restart", 2, 50, 10, 1, loads::moves),
        row!("compaction and cut watches", 5, 200, 20, 1, loads::watches),
        row!("no space", 1, 10, 1, 1, troubles::no_space),
        row!("disk full", 1, 10, 1, 1, troubles::disk_full),
        row!("passwords", 1, 10, 1, 1, troubles::passwords),
    ]
}
