//! Workload 8: the same pairs from several threads at once.
//!
//! The control does the same work with a lock of its own per thread: what the machine can do at
//! most. "One mutex" is that control with a single mutex around each acquire and each release: what
//! a lock table behind one mutex can do at most.

use std::hint::black_box;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::RwLock;
use treelock::{Request, TreeLock, Wait};
use treelock_bench::paths;
use treelock_bench::peers::{NodeLocks, Peer, Sharded, Treelock};

use crate::measure::{Bench, Contender};
use crate::report::{Bound, Report, Table, ratio};

const DISJOINT: usize = 0;
const PRIVATE: usize = 2;
const ONE_MUTEX: usize = 3;

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let available = thread::available_parallelism().map_or(2, usize::from).max(2);
    let mut counts = vec![2];
    if available >= 4 {
        counts.push(available);
    }
    for threads in counts {
        let pairs = bench.pick(100_000, 30_000);
        let compared = bench.compare(bench.rounds(), contenders(threads, pairs));
        let title = format!("8 Pairs at depth 4 from {threads} threads");
        let mut table = Table::new(title, ["", "million pairs a second", "by the control"]);
        for (index, name) in compared.names().iter().enumerate() {
            let rate = format!("{:.2}", compared.median(index));
            table.row([name.clone(), rate, ratio(compared.ratio(index, PRIVATE))]);
        }
        report.tables.push(table);
        let by_private = compared.ratio(DISJOINT, PRIVATE);
        let by_mutex = compared.ratio(DISJOINT, ONE_MUTEX);
        let name = format!("{threads} threads, disjoint tops: throughput by");
        report.goal(format!("{name} private locks'"), by_private, Bound::at_least(0.7, 0.85));
        report.goal(format!("{name} one mutex's"), by_mutex, Bound::at_least(1.4, None));
    }
}

fn contenders(threads: usize, pairs: usize) -> Vec<Contender<'static>> {
    let disjoint = |thread| paths::below_top(&format!("top{thread}"), 4, thread);
    let below_one = |thread| paths::below_top("top", 4, thread);
    vec![
        shared::<Treelock>("treelock, disjoint top directories", threads, pairs, disjoint),
        shared::<Treelock>("treelock, all below one top directory", threads, pairs, below_one),
        Contender::new("control: a treelock per thread", move || {
            race(threads, pairs, |thread| {
                let (lock, path) = (Treelock::new(), disjoint(thread));
                move |_| drop(black_box(lock.write(black_box(&path))))
            })
        }),
        one_mutex(threads, pairs, disjoint),
        shared::<NodeLocks<Sharded>>("node map (DashMap), disjoint", threads, pairs, disjoint),
        read_mostly_tree(threads, pairs),
        read_mostly_tokio(threads, pairs),
    ]
}

/// Runs `pairs` operations on each thread, all at once; the sample is million pairs a second.
fn race<W, R>(threads: usize, pairs: usize, worker: W) -> f64
where
    W: Fn(usize) -> R + Sync,
    R: FnMut(usize),
{
    let barrier = Barrier::new(threads + 1);
    let start = thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, worker) = (&barrier, &worker);
            scope.spawn(move || {
                let mut work = worker(thread);
                (0..pairs / 10).for_each(&mut work);
                barrier.wait();
                (0..pairs).for_each(work);
            });
        }
        barrier.wait();
        Instant::now()
    });
    (threads * pairs) as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn shared<P: Peer>(
    name: &str,
    threads: usize,
    pairs: usize,
    path: impl Fn(usize) -> String + Sync + 'static,
) -> Contender<'static> {
    Contender::new(name, move || {
        let lock = P::new();
        race(threads, pairs, |thread| {
            let (lock, path) = (&lock, path(thread));
            move |_| drop(black_box(lock.write(black_box(&path))))
        })
    })
}

fn one_mutex(
    threads: usize,
    pairs: usize,
    path: impl Fn(usize) -> String + Sync + 'static,
) -> Contender<'static> {
    Contender::new("one mutex around the same", move || {
        let mutex = Mutex::new(());
        let locked = || mutex.lock().unwrap_or_else(PoisonError::into_inner);
        race(threads, pairs, |thread| {
            let (lock, path) = (TreeLock::new(), path(thread));
            move |_| {
                // Parsing and hashing need no mutex in any design.
                let request = Request::new().write(black_box(&path)).expect("it is valid");
                let entered = locked();
                let guard = treelock_bench::poll::ready(lock.acquire(&request));
                drop(entered);
                black_box(&guard);
                let entered = locked();
                drop(guard);
                drop(entered);
            }
        })
    })
}

/// Every hundredth operation writes.
fn writes(turn: usize) -> bool {
    turn % 100 == 99
}

fn read_mostly_tree(threads: usize, pairs: usize) -> Contender<'static> {
    Contender::new("treelock, read /, 1 % write /", move || {
        let lock = TreeLock::new();
        let read = Request::new().read("/").expect("it is valid");
        let write = Request::new().write("/").expect("it is valid");
        race(threads, pairs, |_| {
            let (lock, read, write) = (&lock, &read, &write);
            move |turn| {
                let request = if writes(turn) { write } else { read };
                drop(black_box(lock.acquire(request).wait()));
            }
        })
    })
}

fn read_mostly_tokio(threads: usize, pairs: usize) -> Contender<'static> {
    Contender::new("tokio RwLock, 1 % write", move || {
        let lock = RwLock::new(());
        race(threads, pairs, |_| {
            let lock = &lock;
            move |turn| {
                if writes(turn) {
                    drop(black_box(lock.blocking_write()));
                } else {
                    drop(black_box(lock.blocking_read()));
                }
            }
        })
    })
}
