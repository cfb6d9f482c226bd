//! The workloads, numbered as in the project's performance goals.

mod cancel;
#[cfg(feature = "cluster")]
mod cluster;
mod depth;
mod handoff;
mod held;
mod host;
mod instructions;
mod memory;
mod mixed;
mod names;
mod release;
mod roots;
mod sibling;
mod threads;

use crate::measure::Bench;
use crate::report::Report;

/// The name for `--only`, a title, and the code.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Bench, &mut Report),
}

/// All workloads, in the order of their numbers (10 is Python's and is elsewhere).
pub(crate) const ALL: &[Workload] = &[
    Workload { name: "depth", title: "1 depth of the path", run: depth::run },
    Workload { name: "held", title: "2 locks held elsewhere", run: held::run },
    Workload { name: "roots", title: "3 several roots at once", run: roots::run },
    Workload { name: "handoff", title: "4 hand-off between waiters", run: handoff::run },
    Workload { name: "release", title: "5 one release for 1,000 waiters", run: release::run },
    Workload { name: "cancel", title: "6 cancelling waiters", run: cancel::run },
    Workload { name: "mixed", title: "7 mixed file operations", run: mixed::run },
    Workload { name: "threads", title: "8 threads", run: threads::run },
    Workload { name: "memory", title: "9 memory per lock", run: memory::run },
    Workload { name: "names", title: "11 long names, wide directories", run: names::run },
    Workload { name: "ir", title: "12 instructions", run: instructions::run },
    Workload { name: "host", title: "13 processes of one host", run: host::run },
    #[cfg(feature = "cluster")]
    Workload { name: "cluster", title: "14 machines, through etcd", run: cluster::run },
];
