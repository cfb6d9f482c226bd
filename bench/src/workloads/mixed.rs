//! Workload 7: the operations of a file server. 70 % read a file, 20 % write one, 5 % rename (write
//! two), 5 % copy (read one, write one); 16 entries in each directory, files at depth 4, popularity
//! by Zipf's law at each level.
//!
//! With an empty critical section the single global lock would win, so each operation yields or
//! takes a millisecond, as a disk or a network does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::task::yield_now;
use treelock::{Guard, Request, TreeLock};
use treelock_bench::paths::{Random, Zipf};
use treelock_bench::peers::{NodeHeld, NodeLocks, Registry, Sharded, Single};

use crate::measure::{Bench, Comparison, Contender};
use crate::report::{Bound, Report, Table, count, ratio};

/// The paths to lock, for reading and for writing.
struct Operation {
    reads: Vec<String>,
    writes: Vec<String>,
}

/// A way to lock an operation's files.
trait Files: Clone + Send + Sync + 'static {
    type Held: Send;

    fn new() -> Self;

    fn lock(&self, operation: &Operation) -> impl Future<Output = Self::Held> + Send;
}

/// No lock at all: the theoretical maximum, and incorrect.
#[derive(Clone)]
struct Unlocked;

impl Files for Unlocked {
    type Held = ();

    fn new() -> Self {
        Unlocked
    }

    async fn lock(&self, _operation: &Operation) {}
}

#[derive(Clone)]
struct Global(Arc<RwLock<()>>);

/// One of tokio's two guards; it is held but never read.
#[expect(dead_code, reason = "a guard only needs to be dropped")]
enum GlobalHeld {
    Read(OwnedRwLockReadGuard<()>),
    Write(OwnedRwLockWriteGuard<()>),
}

impl Files for Global {
    type Held = GlobalHeld;

    fn new() -> Self {
        Global(Arc::default())
    }

    async fn lock(&self, operation: &Operation) -> GlobalHeld {
        let lock = Arc::clone(&self.0);
        if operation.writes.is_empty() {
            GlobalHeld::Read(lock.read_owned().await)
        } else {
            GlobalHeld::Write(lock.write_owned().await)
        }
    }
}

impl Files for TreeLock {
    type Held = Guard;

    fn new() -> Self {
        TreeLock::new()
    }

    async fn lock(&self, operation: &Operation) -> Guard {
        let mut request = Request::new();
        for path in &operation.reads {
            request = request.read(path).expect("the paths are valid");
        }
        for path in &operation.writes {
            request = request.write(path).expect("the paths are valid");
        }
        self.acquire(&request).await
    }
}

impl<R: Registry> Files for NodeLocks<R> {
    type Held = Vec<NodeHeld<R>>;

    fn new() -> Self {
        Self::default()
    }

    async fn lock(&self, operation: &Operation) -> Vec<NodeHeld<R>> {
        let reads = operation.reads.iter().map(|path| (path, false));
        let mut roots: Vec<_> =
            reads.chain(operation.writes.iter().map(|path| (path, true))).collect();
        // Locking one node after the other can deadlock. An order on the files prevents it, as long
        // as no operation writes a directory.
        roots.sort();
        let mut held = Vec::with_capacity(roots.len());
        for (path, write) in roots {
            held.push(self.acquire(path, write).await);
        }
        held
    }
}

const UNLOCKED: usize = 0;
const GLOBAL: usize = 1;
const TREELOCK: usize = 2;

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let operations: Arc<[Operation]> = operations().into();
    let header = ["", "no lock", "global RwLock", "treelock", "node map (Mutex<HashMap>)"];
    let ratios = ["node map (DashMap)", "treelock / global", "treelock / no lock"];
    let title = "7 Mixed file operations per second";
    let mut table = Table::new(title, header.into_iter().chain(ratios));
    for tasks in [64, 1_024] {
        for (inside, milliseconds) in [("a yield", 0), ("1 ms", 1)] {
            let compared = compare(bench, &operations, tasks, milliseconds);
            let cells = (0..compared.names().len()).map(|index| count(compared.median(index)));
            let [by_global, by_none] =
                [GLOBAL, UNLOCKED].map(|peer| compared.ratio(TREELOCK, peer));
            let name = format!("{} tasks, {inside} inside", count(f64::from(tasks)));
            let ratios = [ratio(by_global), ratio(by_none)];
            table.row([name].into_iter().chain(cells).chain(ratios));
            if tasks == 64 && milliseconds == 1 {
                let name = "64 tasks, 1 ms inside: throughput vs.";
                report.goal(
                    format!("{name} the global RwLock"),
                    by_global,
                    Bound::at_least(25.0, None),
                );
                report.goal(format!("{name} no lock"), by_none, Bound::at_least(0.85, 0.9));
            }
        }
    }
    table.note(
        "At 1,024 tasks the popular files are the limit of any right lock: compare with the node \
         maps.",
    );
    report.tables.push(table);
}

fn compare(bench: &Bench, operations: &Arc<[Operation]>, tasks: u32, inside: u64) -> Comparison {
    let window = Duration::from_millis(bench.pick(500, 100));
    let inside = Duration::from_millis(inside);
    let plan = Plan { operations: Arc::clone(operations), tasks, inside, window };
    let contenders = vec![
        plan.contender::<Unlocked>("no lock"),
        plan.contender::<Global>("global RwLock"),
        plan.contender::<TreeLock>("treelock"),
        plan.contender::<NodeLocks<Single>>(Single::NAME),
        plan.contender::<NodeLocks<Sharded>>(Sharded::NAME),
    ];
    bench.compare(bench.few_rounds().min(5), contenders)
}

/// What all contenders have in common.
#[derive(Clone)]
struct Plan {
    operations: Arc<[Operation]>,
    tasks: u32,
    inside: Duration,
    window: Duration,
}

impl Plan {
    /// Returns a contender whose sample is operations per second.
    fn contender<F: Files>(&self, name: &str) -> Contender<'static> {
        let threads = thread::available_parallelism().map_or(2, usize::from);
        let runtime = Builder::new_multi_thread().worker_threads(threads).enable_time().build();
        let runtime = runtime.expect("threads can be started");
        let plan = self.clone();
        Contender::new(name, move || plan.serve::<F>(&runtime))
    }

    fn serve<F: Files>(&self, runtime: &Runtime) -> f64 {
        let files = F::new();
        let stop = Arc::new(AtomicBool::new(false));
        let finished = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        runtime.block_on(async {
            let tasks = (0..self.tasks as usize).map(|task| {
                let work = self.clone().client(task, files.clone(), Arc::clone(&stop));
                let finished = Arc::clone(&finished);
                runtime.spawn(async move {
                    finished.fetch_add(work.await, Ordering::Relaxed);
                })
            });
            let tasks: Vec<_> = tasks.collect();
            tokio::time::sleep(self.window).await;
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await.expect("no task panics");
            }
        });
        finished.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
    }

    /// Runs one client until told to stop. Returns how many operations it did.
    async fn client<F: Files>(self, task: usize, files: F, stop: Arc<AtomicBool>) -> u64 {
        let mut done = 0;
        // Every client starts at a different place in the same long list.
        let start = task * self.operations.len() / self.tasks as usize;
        for operation in self.operations.iter().cycle().skip(start) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let held = files.lock(operation).await;
            if self.inside.is_zero() {
                yield_now().await;
            } else {
                tokio::time::sleep(self.inside).await;
            }
            drop(held);
            done += 1;
        }
        done
    }
}

fn operations() -> Vec<Operation> {
    let mut random = Random::new(7);
    let zipf = Zipf::new(16);
    let file = move |random: &mut Random| -> String {
        (0..4).map(|_| format!("/dir{:02}", zipf.draw(random))).collect()
    };
    let mut operation = || {
        let path = file(&mut random);
        let mut other = file(&mut random);
        while other == path {
            other = file(&mut random);
        }
        match random.unit() {
            read if read < 0.70 => Operation { reads: vec![path], writes: vec![] },
            write if write < 0.90 => Operation { reads: vec![], writes: vec![path] },
            rename if rename < 0.95 => Operation { reads: vec![], writes: vec![path, other] },
            _copy => Operation { reads: vec![path], writes: vec![other] },
        }
    };
    (0..65_536).map(|_| operation()).collect()
}
