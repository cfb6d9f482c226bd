//! Workload 3: requests with one to eight roots: disjoint, siblings, nested.

use std::hint::black_box;

use treelock::{Request, TreeLock};
use treelock_bench::paths;
use treelock_bench::poll::ready;

use crate::measure::{Bench, Contender};
use crate::report::{Report, Table, nanoseconds};

/// How the roots of one request are related.
#[derive(Clone, Copy)]
enum Shape {
    /// Different top directories, depth 4.
    Disjoint,
    /// One directory at depth 3.
    Siblings,
    /// Each below the previous one, from depth 1; reads, with a write at the deepest.
    Nested,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let counts = [1, 2, 4, 8];
    let header = ["", "1 root", "2 roots", "4 roots", "8 roots"];
    let mut table = Table::new("3 One uncontended pair with several roots (treelock)", header);
    for (name, shape) in [
        ("disjoint, depth 4", Shape::Disjoint),
        ("siblings, depth 4", Shape::Siblings),
        ("nested, read /a … write the deepest", Shape::Nested),
    ] {
        let lock = TreeLock::new();
        let roots = counts.map(|count| (0..count).map(|n| root(shape, n, count)).collect());
        let mut contenders: Vec<_> = roots.iter().map(|roots| text(bench, &lock, roots)).collect();
        contenders.extend(roots.iter().map(|roots| prebuilt(bench, &lock, roots)));
        let comparison = bench.compare(bench.rounds(), contenders);
        for (start, source) in [(0, "from text"), (counts.len(), "prebuilt")] {
            let times = (0..counts.len()).map(|n| nanoseconds(comparison.median(start + n)));
            table.row([format!("{name}; {source}")].into_iter().chain(times));
        }
    }
    report.tables.push(table);
}

type Roots = Vec<(bool, String)>;

/// Returns whether the root is written, and where it is.
fn root(shape: Shape, index: usize, count: usize) -> (bool, String) {
    match shape {
        Shape::Disjoint => (true, paths::below_top(&format!("top{index}"), 4, 0)),
        Shape::Siblings => (true, paths::path(4, index)),
        Shape::Nested => {
            let deepest = index + 1 == count;
            let path: String = (0..=index).map(|level| format!("/dir{level:02}")).collect();
            (deepest, path)
        }
    }
}

fn request(roots: &Roots) -> Request {
    roots.iter().fold(Request::new(), |request, (write, path)| {
        let more = if *write { request.write(path) } else { request.read(path) };
        more.expect("the paths are valid")
    })
}

fn text<'a>(bench: &Bench, lock: &'a TreeLock, roots: &'a Roots) -> Contender<'a> {
    bench.timed("", move |count| {
        for _ in 0..count {
            drop(black_box(ready(lock.acquire(&request(black_box(roots))))));
        }
    })
}

fn prebuilt<'a>(bench: &Bench, lock: &'a TreeLock, roots: &Roots) -> Contender<'a> {
    let request = request(roots);
    bench.timed("", move |count| {
        for _ in 0..count {
            drop(black_box(ready(lock.acquire(black_box(&request)))));
        }
    })
}
