//! Workload 11: long and non-ASCII components, and a directory with 1e6 children.

use treelock_bench::paths;
use treelock_bench::peers::{Peer, Treelock};

use crate::measure::Bench;
use crate::report::{Report, Table, nanoseconds, ratio};

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let children = bench.pick(1 << 20, 1 << 17);
    let long = "a-rather-long-name-".repeat(13);
    let spread = |component: &str| -> Vec<_> {
        let parents = format!("/{component}").repeat(3);
        (0..paths::LEAVES).map(|leaf| format!("{parents}/{component}{leaf}")).collect()
    };
    let sets = [
        ("components of 5 bytes".to_owned(), paths::cycle(4)),
        ("components of 248 bytes".to_owned(), spread(&long)),
        ("non-ASCII, 3 bytes per letter".to_owned(), spread("写真の中")),
        (format!("{children} children, one after the other"), wide(children)),
    ];
    let lock = Treelock::new();
    let contenders = sets.iter().map(|(name, paths)| bench.pairs(&lock, paths).named(name));
    let compared = bench.compare(bench.rounds(), contenders.collect());
    let title = "11 One uncontended pair at depth 4, by name (treelock, from text)";
    let mut table = Table::new(title, ["", "time", "vs. the first"]);
    for (index, name) in compared.names().iter().enumerate() {
        let time = nanoseconds(compared.median(index));
        table.row([name.clone(), time, ratio(compared.ratio(index, 0))]);
    }
    report.tables.push(table);
}

/// Returns the children of one directory, in an order that no cache can predict.
fn wide(children: usize) -> Vec<String> {
    let shuffled = |index: usize| index.wrapping_mul(0x9E37_79B1) & (children - 1);
    (0..children).map(|index| paths::path(4, shuffled(index))).collect()
}
