//! Workload 1: one uncontended pair at depth 1 to 32, against every peer.

use std::hint::black_box;

use treelock::Request;
use treelock_bench::paths;
use treelock_bench::peers::{
    Bolt, DavMemLs, Global, LockDb, NodeLocks, Peer, Sharded, Single, Treelock,
};
use treelock_bench::poll::ready;

use crate::measure::{Bench, Comparison, Contender};
use crate::report::{Bound, Line, Plot, Report, Table, nanoseconds};

const TREELOCK: usize = 0;
/// Where the goals' peers are among the contenders, and the goals.
const GOALS: [(usize, f64, f64); 6] =
    [(3, 0.35, 0.2), (4, 0.35, 0.2), (5, 0.6, 0.3), (6, 0.25, 0.1), (7, 0.15, 0.05), (8, 6.0, 3.0)];

/// The lines of the plot; all others coincide with one of them.
const PLOTTED: [usize; 8] = [0, 1, 3, 4, 5, 6, 7, 8];

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let depths: &[usize] = bench.pick(&[1, 2, 4, 8, 16, 32], &[1, 4, 8, 32]);
    let compared: Vec<_> = depths.iter().map(|&depth| (depth, compare(bench, depth))).collect();
    report.tables.push(table(&compared));
    report.plots.push(plot(&compared));
    for (depth, comparison) in &compared {
        if *depth == 4 {
            for (peer, must, stretch) in GOALS {
                let name = format!("{}: time, depth 4", comparison.names()[peer]);
                let measured = comparison.ratio(TREELOCK, peer);
                report.goal(name, measured, Bound::at_most(must, stretch));
            }
        }
    }
}

fn compare(bench: &Bench, depth: usize) -> Comparison {
    let paths = paths::cycle(depth);
    let treelock = Treelock::new();
    let (single, sharded) = (NodeLocks::<Single>::new(), NodeLocks::<Sharded>::new());
    let (lock_db, singly) = (LockDb::<false>::new(), LockDb::<true>::new());
    let (mem_ls, global) = (DavMemLs::new(), Global::new());
    // Bolt needs the depth at compile time and pays for room that it does not use.
    let (bolt, deep_bolt) = (Bolt::<10>::new(), Bolt::<32>::new());
    let contenders = vec![
        bench.pairs(&treelock, &paths).named("treelock"),
        prebuilt(bench, &treelock, &paths, "treelock, prebuilt request", Request::write),
        prebuilt(bench, &treelock, &paths, "treelock, prebuilt, read", Request::read),
        bench.pairs(&single, &paths),
        bench.pairs(&sharded, &paths),
        if depth <= 8 { bench.pairs(&bolt, &paths) } else { bench.pairs(&deep_bolt, &paths) },
        bench.pairs(&lock_db, &paths),
        bench.pairs(&mem_ls, &paths),
        bench.pairs(&global, &paths),
        bench.pairs(&singly, &paths),
    ];
    bench.compare(bench.rounds(), contenders)
}

type Ask<'p> = fn(Request, &'p String) -> Result<Request, treelock::NodeError>;

fn prebuilt<'a>(
    bench: &Bench,
    treelock: &'a Treelock,
    paths: &'a [String],
    name: &str,
    ask: Ask<'a>,
) -> Contender<'a> {
    let request = |path| ask(Request::new(), path).expect("the path is valid");
    let requests: Vec<_> = paths.iter().map(request).collect();
    let mask = requests.len() - 1;
    bench.timed(name, move |count| {
        for turn in 0..count {
            let request = black_box(&requests[turn as usize & mask]);
            drop(black_box(ready(treelock.0.acquire(request))));
        }
    })
}

fn table(compared: &[(usize, Comparison)]) -> Table {
    let depths = compared.iter().map(|(depth, _)| format!("depth {depth}"));
    let title = "1 One uncontended pair (write, from text), by depth";
    let mut table = Table::new(title, [String::new()].into_iter().chain(depths));
    for (index, name) in compared[0].1.names().iter().enumerate() {
        let times = compared.iter().map(|(_, comparison)| nanoseconds(comparison.median(index)));
        table.row([name.clone()].into_iter().chain(times));
    }
    table
}

fn plot(compared: &[(usize, Comparison)]) -> Plot {
    let names = compared[0].1.names();
    let line = |index: usize| {
        let point = |(depth, own): &(usize, Comparison)| (*depth as f64, own.median(index));
        Line { name: names[index].clone(), points: compared.iter().map(point).collect() }
    };
    Plot {
        file: "depth.svg",
        title: "Acquire and release one write lock",
        x_label: "depth of the path",
        y_label: "time per pair",
        ticks: compared.iter().map(|(depth, _)| (*depth as f64, depth.to_string())).collect(),
        lines: PLOTTED.map(line).into(),
    }
}
