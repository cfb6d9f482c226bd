//! Workload 2: the same pair while up to 1e6 other locks are held.

use treelock_bench::paths;
use treelock_bench::peers::{Bolt, DavMemLs, LockDb, NodeLocks, Peer, Sharded, Single, Treelock};

use crate::measure::{Bench, Comparison};
use crate::report::{Bound, Line, Plot, Report, Table, count, nanoseconds, ratio};

/// The depth of the measured path and of the held ones.
const DEPTH: usize = 4;

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let sizes: &[usize] = bench.pick(&[0, 1_000, 100_000, 1_000_000], &[0, 1_000, 100_000]);
    // Peers that cost kilobytes per held lock stop at 1e5, or the benchmark would need gigabytes.
    let small = &sizes[..3];
    let unrelated = compare::<Treelock>(bench, sizes, unrelated);
    report.goal(
        "1e5 unrelated locks held: time",
        unrelated.ratio(2, 0),
        Bound::at_most(1.15, 1.05),
    );
    let named = |name: &str, comparison| (name.to_owned(), comparison);
    let all = [
        named("treelock, unrelated", unrelated),
        named("treelock, sharing 3 ancestors", compare::<Treelock>(bench, sizes, sharing)),
        named(
            NodeLocks::<Single>::NAME,
            compare::<NodeLocks<Single>>(bench, small, self::unrelated),
        ),
        named(
            NodeLocks::<Sharded>::NAME,
            compare::<NodeLocks<Sharded>>(bench, small, self::unrelated),
        ),
        named(Bolt::<10>::NAME, compare::<Bolt<10>>(bench, small, self::unrelated)),
        named(LockDb::<false>::NAME, compare::<LockDb>(bench, small, self::unrelated)),
        named(DavMemLs::NAME, compare::<DavMemLs>(bench, small, self::unrelated)),
    ];
    report.tables.push(table(sizes, &all));
    report.plots.push(plot(sizes, all));
}

/// Returns a path that shares nothing with the measured ones except the root.
fn unrelated(index: usize) -> String {
    paths::below_top(&format!("held{}", index % 1_000), DEPTH, index)
}

/// Returns a path in the same directory as the measured ones.
fn sharing(index: usize) -> String {
    paths::path(DEPTH, index + paths::LEAVES)
}

fn compare<P: Peer>(bench: &Bench, sizes: &[usize], held: fn(usize) -> String) -> Comparison {
    let paths = paths::cycle(DEPTH);
    let peers: Vec<_> = sizes.iter().map(|_| P::new()).collect();
    let mut guards = Vec::new();
    for (peer, &size) in peers.iter().zip(sizes) {
        guards.extend((0..size).map(|index| peer.write(&held(index))));
    }
    let contenders = peers.iter().map(|peer| bench.pairs(peer, &paths)).collect();
    bench.compare(bench.rounds(), contenders)
}

fn table(sizes: &[usize], all: &[(String, Comparison)]) -> Table {
    let held = sizes.iter().map(|&size| format!("{} held", count(size as f64)));
    let header = [String::new()].into_iter().chain(held).chain(["1e5 / 0".into()]);
    let mut table = Table::new("2 One pair at depth 4 while others are held", header);
    for (name, comparison) in all {
        let mut row = vec![name.clone()];
        for index in 0..sizes.len() {
            let measured = index < comparison.names().len();
            row.push(if measured { nanoseconds(comparison.median(index)) } else { "–".into() });
        }
        row.push(ratio(comparison.ratio(2, 0)));
        table.row(row);
    }
    table
}

/// Zero has no place on a logarithmic axis, so it is drawn where 10 would be.
const ZERO: f64 = 10.0;

fn plot(sizes: &[usize], all: [(String, Comparison); 7]) -> Plot {
    let place = |size: usize| if size == 0 { ZERO } else { size as f64 };
    let line = |(name, comparison): (String, Comparison)| {
        let count = comparison.names().len();
        let point = |index: usize| (place(sizes[index]), comparison.median(index));
        Line { name, points: (0..count).map(point).collect() }
    };
    Plot {
        file: "held.svg",
        title: "Acquire and release one write lock at depth 4 while others are held",
        x_label: "locks held by others",
        y_label: "time per pair",
        ticks: sizes.iter().map(|&size| (place(size), count(size as f64))).collect(),
        lines: all.into_iter().map(line).collect(),
    }
}
