//! Workload 5: a write lock on a directory ends while 1,000 tasks wait below it.
//!
//! The call that releases is what is timed: the thread that runs it, such as a server's event loop,
//! is stuck for that long.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::RwLock;
use tokio::task::yield_now;
use treelock::{Request, TreeLock};

use crate::measure::{Bench, Contender, time};
use crate::report::{Report, Table, nanoseconds};

const WAITERS: usize = 1_000;

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let below: Vec<_> = (0..WAITERS)
        .map(|index| Request::new().write(format!("/top/dir/leaf{index}")).expect("it is valid"))
        .collect();
    let same = Request::new().read("/top").expect("it is valid");
    let readers = vec![same; WAITERS];
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers");
    let compared = bench.compare(
        bench.rounds(),
        vec![
            Contender::new("treelock, 1,000 writers below the node", || tree(&runtime, &below)),
            Contender::new("treelock, 1,000 readers of the node", || tree(&runtime, &readers)),
            Contender::new("tokio RwLock, 1,000 readers", || tokio_readers(&runtime)),
        ],
    );
    let title = "5 Length of the one release that frees 1,000 waiting tasks";
    let mut table = Table::new(title, ["", "call", "per waiter"]);
    for (index, name) in compared.names().iter().enumerate() {
        let call = compared.median(index);
        table.row([name.clone(), nanoseconds(call), nanoseconds(call / WAITERS as f64)]);
    }
    report.tables.push(table);
}

/// Queues the requests behind a write of `/top` and times its release, in ns.
fn tree(runtime: &Runtime, requests: &[Request]) -> f64 {
    runtime.block_on(async {
        let lock = TreeLock::new();
        let top = Request::new().write("/top").expect("it is valid");
        let guard = lock.acquire(&top).await;
        let tasks = requests.iter().map(|request| {
            let acquire = lock.acquire(request);
            tokio::spawn(async move { drop(acquire.await) })
        });
        let tasks: Vec<_> = tasks.collect();
        settle().await;
        let length = time(|| drop(guard));
        for task in tasks {
            task.await.expect("no task panics");
        }
        length.as_nanos() as f64
    })
}

fn tokio_readers(runtime: &Runtime) -> f64 {
    runtime.block_on(async {
        let lock = Arc::new(RwLock::new(()));
        let guard = lock.write().await;
        let tasks = (0..WAITERS).map(|_| {
            let lock = Arc::clone(&lock);
            tokio::spawn(async move { drop(lock.read_owned().await) })
        });
        let tasks: Vec<_> = tasks.collect();
        settle().await;
        let length = time(|| drop(guard));
        for task in tasks {
            task.await.expect("no task panics");
        }
        length.as_nanos() as f64
    })
}

/// Lets every spawned task run until it waits. The runtime's queue is first in, first out.
async fn settle() {
    for _ in 0..2 * WAITERS {
        yield_now().await;
    }
}
