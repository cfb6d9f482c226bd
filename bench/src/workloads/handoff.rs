//! Workload 4: many tasks wait for one node. How long does it take to pass from one to the next?
//!
//! First all waiters queue up, untimed. Then the holder releases, and the time runs until the last
//! waiter is done. Each waiter yields while it holds; without that, a lock that wakes all waiters
//! at once looks cheap. Everything runs in one current-thread runtime, so that only the hand-off is
//! timed and not the communication between processors.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::{LocalSet, yield_now};
use treelock::{Request, TreeLock};

use crate::measure::{Bench, Comparison, Contender};
use crate::report::{Bound, Line, Plot, Report, Table, count, nanoseconds, ratio};

/// The number of hand-offs in one sample, reached by repetition if there are few waiters.
const HANDOFFS: usize = 20_000;

/// Something to queue for; the tasks share it by reference count.
trait Queue: 'static {
    type Held<'a>;

    fn new() -> Self;

    async fn hold(&self, write: bool) -> Self::Held<'_>;

    fn pass(&self, held: Self::Held<'_>) {
        drop(held);
    }
}

/// treelock on the root or, with `LEAF`, on a leaf at depth 4.
struct Tree<const LEAF: bool> {
    lock: TreeLock,
    read: Request,
    write: Request,
}

impl<const LEAF: bool> Queue for Tree<LEAF> {
    type Held<'a> = treelock::Guard;

    fn new() -> Self {
        let path = if LEAF { "/photos/2025/may/one" } else { "/" };
        let read = Request::new().read(path).expect("the path is valid");
        let write = Request::new().write(path).expect("the path is valid");
        Tree { lock: TreeLock::new(), read, write }
    }

    async fn hold(&self, write: bool) -> treelock::Guard {
        self.lock.acquire(if write { &self.write } else { &self.read }).await
    }
}

/// The floor: a permit that is passed on, first come, first served; it does not distinguish
/// readers.
struct Chain(Notify);

impl Queue for Chain {
    type Held<'a> = ();

    fn new() -> Self {
        let permit = Notify::new();
        permit.notify_one();
        Chain(permit)
    }

    async fn hold(&self, _write: bool) {
        self.0.notified().await;
    }

    fn pass(&self, _held: ()) {
        self.0.notify_one();
    }
}

/// tokio's own queue.
struct Global(RwLock<()>);

/// One of tokio's two guards; it is held but never read.
#[expect(dead_code, reason = "a guard only needs to be dropped")]
enum GlobalHeld<'a> {
    Read(RwLockReadGuard<'a, ()>),
    Write(RwLockWriteGuard<'a, ()>),
}

impl Queue for Global {
    type Held<'a> = GlobalHeld<'a>;

    fn new() -> Self {
        Global(RwLock::default())
    }

    async fn hold(&self, write: bool) -> GlobalHeld<'_> {
        if write {
            GlobalHeld::Write(self.0.write().await)
        } else {
            GlobalHeld::Read(self.0.read().await)
        }
    }
}

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let sizes: &[usize] = &[10, 1_000, 100_000];
    let chain = writers(bench, sizes);
    goals(&chain, report);
    report.tables.push(chain_table(sizes, &chain));
    report.plots.push(plot(sizes, &chain));
    report.tables.push(mixed(bench, sizes));
}

const LEAF: usize = 0;
const ROOT: usize = 3;
const NOTIFY: usize = 6;

fn writers(bench: &Bench, sizes: &[usize]) -> Comparison {
    let mut contenders = Vec::new();
    contenders.extend(sizes.iter().map(|&size| queue::<Tree<true>>("treelock, leaf", size, 0)));
    contenders.extend(sizes.iter().map(|&size| queue::<Tree<false>>("treelock, root", size, 0)));
    contenders.extend(sizes.iter().map(|&size| queue::<Chain>("Notify chain", size, 0)));
    contenders.extend(sizes.iter().map(|&size| queue::<Global>("global RwLock", size, 0)));
    bench.compare(bench.few_rounds(), contenders)
}

/// Compares the growth from 1e3 (second size) to 1e5 (third) with that of the bare chain.
fn goals(chain: &Comparison, report: &mut Report) {
    for (name, start) in [("leaf", LEAF), ("root", ROOT)] {
        let growth = |round: &[f64], start: usize| round[start + 2] / round[start + 1];
        report.goal(
            format!("hand-off on a {name}: growth 1e3 → 1e5 waiters, vs. Notify"),
            chain.derived(|round| growth(round, start) / growth(round, NOTIFY)),
            Bound::at_most(1.2, None),
        );
        report.goal(
            format!("hand-off on a {name}: time at 1e5 waiters, vs. Notify"),
            chain.ratio(start + 2, NOTIFY + 2),
            // The goal is about growth; the time itself is only a stretch goal.
            Bound::at_most(None, 1.5),
        );
    }
}

/// Returns a contender whose sample is ns per hand-off, with `readers` readers per writer.
fn queue<Q: Queue>(name: &str, waiters: usize, readers: usize) -> Contender<'static> {
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers");
    Contender::new(name, move || {
        let repeats = (HANDOFFS / waiters).max(1);
        let total: f64 = (0..repeats).map(|_| drain::<Q>(&runtime, waiters, readers)).sum();
        total / (repeats * waiters) as f64
    })
}

/// Queues all waiters and times how long they take, in ns.
fn drain<Q: Queue>(runtime: &Runtime, waiters: usize, readers: usize) -> f64 {
    let done = Rc::new(Notify::new());
    let [queued, left] = [0, waiters].map(|start| Rc::new(Cell::new(start)));
    LocalSet::new().block_on(runtime, async {
        let queue = Rc::new(Q::new());
        let first = queue.hold(true).await;
        for index in 0..waiters {
            let (queue, done) = (Rc::clone(&queue), Rc::clone(&done));
            let (queued, left) = (Rc::clone(&queued), Rc::clone(&left));
            tokio::task::spawn_local(async move {
                queued.set(queued.get() + 1);
                let held = queue.hold(index % (readers + 1) == 0).await;
                yield_now().await;
                queue.pass(held);
                left.set(left.get() - 1);
                if left.get() == 0 {
                    done.notify_one();
                }
            });
        }
        while queued.get() < waiters {
            yield_now().await;
        }
        let start = Instant::now();
        queue.pass(first);
        done.notified().await;
        start.elapsed().as_nanos() as f64
    })
}

fn header(sizes: &[usize]) -> impl Iterator<Item = String> {
    let sizes = sizes.iter().map(|&size| format!("{} waiters", count(size as f64)));
    [String::new()].into_iter().chain(sizes)
}

fn chain_table(sizes: &[usize], chain: &Comparison) -> Table {
    let title = "4 Hand-off from writer to writer, yielding while holding";
    let mut table = Table::new(title, header(sizes).chain(["1e5 / 1e3".into()]));
    for start in (0..chain.names().len()).step_by(sizes.len()) {
        let times = (0..sizes.len()).map(|size| nanoseconds(chain.median(start + size)));
        let growth = ratio(chain.ratio(start + 2, start + 1));
        table.row([chain.names()[start].clone()].into_iter().chain(times).chain([growth]));
    }
    table
}

/// Measures R:W 1, 10 and 100 on the leaf, on the root, and in one tokio RwLock.
fn mixed(bench: &Bench, sizes: &[usize]) -> Table {
    let mut table = Table::new("4 Hand-off with readers among the writers", header(sizes));
    for readers in [1, 10, 100] {
        let mut contenders = Vec::new();
        for &size in sizes {
            contenders.push(queue::<Tree<true>>("treelock, leaf", size, readers));
            contenders.push(queue::<Tree<false>>("treelock, root", size, readers));
            contenders.push(queue::<Global>("global RwLock", size, readers));
        }
        let compared = bench.compare(bench.few_rounds(), contenders);
        for peer in 0..3 {
            let name = format!("{}, R:W {readers}", compared.names()[peer]);
            let times = (0..sizes.len()).map(|size| nanoseconds(compared.median(size * 3 + peer)));
            table.row([name].into_iter().chain(times));
        }
    }
    table
}

fn plot(sizes: &[usize], chain: &Comparison) -> Plot {
    let line = |start: usize| {
        let point = |index: usize| (sizes[index] as f64, chain.median(start + index));
        Line { name: chain.names()[start].clone(), points: (0..sizes.len()).map(point).collect() }
    };
    Plot {
        file: "waiters.svg",
        title: "Hand-off from one waiting writer to the next",
        x_label: "waiters on one node",
        y_label: "time per hand-off",
        ticks: sizes.iter().map(|&size| (size as f64, count(size as f64))).collect(),
        lines: (0..chain.names().len()).step_by(sizes.len()).map(line).collect(),
    }
}
