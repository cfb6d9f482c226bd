//! Workload 6: waiters give up, at the front, in the middle and at the back of a long queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::sync::RwLock;
use treelock::{Request, TreeLock};
use treelock_bench::poll::ready;

use crate::measure::{Bench, Comparison, Contender, time};
use crate::report::{Report, Table, count, nanoseconds, ratio};

/// How many of the waiters give up in one sample.
const CANCELLED: usize = 200;

/// Where in the queue the cancelled waiters are.
#[derive(Clone, Copy)]
enum Place {
    Front,
    Middle,
    Back,
}

/// What the waiters wait for.
#[derive(Clone, Copy)]
enum Lock {
    Tree,
    Tokio,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let sizes = [1_000, 100_000];
    let header = ["", "1,000 waiting", "100,000 waiting", "growth"];
    let mut table = Table::new("6 One cancelled waiter among many", header);
    for (lock_name, lock) in [("treelock", Lock::Tree), ("tokio RwLock", Lock::Tokio)] {
        for (place_name, place) in
            [("front", Place::Front), ("middle", Place::Middle), ("back", Place::Back)]
        {
            let contender = |&size| Contender::new("", move || cancel(lock, size, place));
            let compared = bench.compare(bench.few_rounds(), sizes.iter().map(contender).collect());
            row(&mut table, format!("{lock_name}, {place_name}"), &compared);
        }
    }
    let contender = |&size| Contender::new("", move || release_after(size));
    let compared = bench.compare(bench.few_rounds(), sizes.iter().map(contender).collect());
    row(&mut table, "treelock, the release after all gave up".into(), &compared);
    table.note(format!("The median of samples of {} cancellations.", count(CANCELLED as f64)));
    report.tables.push(table);
}

fn row(table: &mut Table, name: String, compared: &Comparison) {
    let times = (0..2).map(|size| nanoseconds(compared.median(size)));
    table.row([name].into_iter().chain(times).chain([ratio(compared.ratio(1, 0))]));
}

type Waiter = Pin<Box<dyn Future<Output = Box<dyn Send>> + Send>>;

/// Queues waiters behind one holder, each polled once.
fn wait(lock: Lock, waiters: usize) -> (Box<dyn Send>, Vec<Option<Waiter>>) {
    let tree = TreeLock::new();
    let request = Request::new().write("/photos/2025/may/one").expect("the path is valid");
    let global = Arc::new(RwLock::new(()));
    let ask = || -> Waiter {
        let (acquire, global) = (tree.acquire(&request), Arc::clone(&global));
        match lock {
            Lock::Tree => Box::pin(async { Box::new(acquire.await) as _ }),
            Lock::Tokio => Box::pin(async { Box::new(global.write_owned().await) as _ }),
        }
    };
    let held = ready(ask());
    let mut queue = Vec::with_capacity(waiters);
    for _ in 0..waiters {
        let mut waiter = ask();
        let waiting = waiter.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(waiting, "the lock is held");
        queue.push(Some(waiter));
    }
    (held, queue)
}

/// Returns the ns per cancellation.
fn cancel(lock: Lock, waiters: usize, place: Place) -> f64 {
    let (held, mut queue) = wait(lock, waiters);
    let start = match place {
        Place::Front => 0,
        Place::Middle => (waiters - CANCELLED) / 2,
        Place::Back => waiters - CANCELLED,
    };
    let gone = &mut queue[start..start + CANCELLED];
    let length = time(|| gone.iter_mut().for_each(|waiter| *waiter = None));
    // The rest is cancelled from the back: if the holder went first, all would be granted.
    while queue.pop().is_some() {}
    drop(held);
    length.as_nanos() as f64 / CANCELLED as f64
}

/// Returns the ns of the release that follows when the whole queue has given up.
fn release_after(waiters: usize) -> f64 {
    let (held, queue) = wait(Lock::Tree, waiters);
    drop(queue);
    time(|| drop(held)).as_nanos() as f64
}
