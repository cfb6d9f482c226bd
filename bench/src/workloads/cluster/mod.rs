//! Workload 14: locks between machines, against etcd's own Lock API, on clusters that the workload
//! starts itself.
//!
//! Everything runs twice: with etcd's data on disk, where making writes durable takes most of the
//! time, and in memory, where what is left is what a lock costs by itself. Both run on one machine,
//! so the network costs nothing.

mod client;
mod contended;
mod crowd;
mod held;
mod metrics;
mod pair;
mod server;
mod sharing;
mod tally;

use self::server::{Cluster, Data};
use crate::measure::Bench;
use crate::report::{Report, Table};

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    for data in [Data::Disk, Data::Memory] {
        if let Err(reason) = on(bench, report, data) {
            let mut table = Table::new(format!("14 Cluster, {data}"), [""]);
            table.note(format!("Not measured: {reason}"));
            report.tables.push(table);
        }
    }
}

fn on(bench: &Bench, report: &mut Report, data: Data) -> Result<(), String> {
    let one = Cluster::start(1, data)?;
    pair::run(bench, report, &one);
    contended::run(bench, report, &one);
    crowd::run(bench, report, &one);
    sharing::run(bench, report, &one);
    drop(one);
    held::run(bench, report, data)?;
    if let Data::Disk = data {
        let three = Cluster::start(3, data)?;
        pair::run(bench, report, &three);
        contended::run(bench, report, &three);
    }
    Ok(())
}
