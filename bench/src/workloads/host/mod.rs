//! Workload 13: processes of one host, without a server.

mod calls;
mod cliffs;
mod crew;
mod handoff;
mod pairs;
mod place;

use crate::measure::Bench;
use crate::report::Report;

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    pairs::run(bench, report);
    calls::run(bench, report);
    handoff::run(bench, report);
    cliffs::run(bench, report);
}
