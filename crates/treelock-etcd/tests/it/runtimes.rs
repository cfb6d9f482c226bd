//! The lock in whatever runtime it is used in: by whose connections etcd is asked, and what happens when they fail.

use std::{
    fs,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use futures_executor::block_on;
use tokio::runtime::{Builder, Runtime};
use treelock_etcd::{EtcdLock, Options};

use crate::{
    leases::{LONG, within, write},
    server::{Cluster, runtime},
};

fn lock(cluster: &Cluster) -> EtcdLock {
    EtcdLock::new(&Options::new(cluster.endpoints()))
}

fn threads(count: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(count).enable_all().build().expect("threads")
}

async fn pair(lock: &EtcdLock) {
    let guard = within("it is free", lock.acquire(&write("a"))).await.expect("it works");
    within("it is released", guard.release()).await;
}

/// How many connections there are to the first member.
fn connections(cluster: &Cluster) -> usize {
    let endpoint = &cluster.members[0].endpoint;
    let port: u16 = endpoint.rsplit_once(':').expect("a port").1.parse().expect("a port");
    let (remote, established) = (format!(":{port:04X}"), "01");
    let all = fs::read_to_string("/proc/self/net/tcp").expect("/proc is there");
    let is_to_it = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|to| to.ends_with(&remote)) && fields.next() == Some(established)
    };
    all.lines().filter(is_to_it).count()
}

/// Each of several threads has connections of its own, until it ends; all others share ours.
#[test]
fn a_runtime_of_several_threads_asks_for_itself() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    let one_thread = Builder::new_current_thread().enable_all().build().expect("a runtime");
    one_thread.block_on(pair(&lock));
    let ours = connections(&cluster);
    drop(lock.blocking().acquire(&write("a")).expect("it works"));
    one_thread.block_on(pair(&lock));
    assert_eq!(connections(&cluster), ours);

    let [first, second] = [threads(1), threads(2)];
    for runtime in [&first, &second, &first, &second] {
        runtime.block_on(pair(&lock));
        runtime
            .block_on(runtime.spawn({
                let lock = lock.clone();
                async move { pair(&lock).await }
            }))
            .expect("no panic");
    }
    assert_eq!(connections(&cluster), ours + 2);
    drop((first, second));
    let third = threads(1);
    third.block_on(async {
        let one_more = async {
            while connections(&cluster) != ours + 1 {
                pair(&lock).await;
            }
        };
        within("the others' are closed", one_more).await;
    });
    drop(lock);
    third.block_on(async {
        let none = async {
            while connections(&cluster) >= ours {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("all are closed", none).await;
    });
}

/// Guards and waiters are nobody's: they go on where they are used.
#[test]
fn what_a_runtime_leaves_behind_goes_on() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    let first = threads(1);
    let guard = first.block_on(lock.acquire(&write("a"))).expect("it works");
    let mut waiter = pin!(lock.acquire(&write("a/b")));
    let mut begun = pin!(lock.acquire(&write("b")));
    first.block_on(async {
        let entered = std::future::poll_fn(|context| {
            assert!(waiter.as_mut().poll(context).is_pending());
            if waiter.ticket().is_some() { Poll::Ready(()) } else { Poll::Pending }
        });
        within("it is in line", entered).await;
    });
    {
        let _entered = first.enter();
        let mut context = Context::from_waker(Waker::noop());
        assert!(begun.as_mut().poll(&mut context).is_pending());
    }
    drop(first);
    assert!(guard.is_valid());
    let begun = block_on(begun).expect("it works");
    block_on(begun.release());
    threads(1).block_on(guard.release());
    drop(block_on(waiter).expect("it is free"));
    lock.blocking().settled();
    assert!(lock.blocking().snapshot().expect("it works").entries.is_empty());
}

/// Whoever needs neither sockets nor timers may have a runtime without them.
#[test]
fn a_runtime_that_has_no_sockets() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("threads");
    for _ in 0..3 {
        let guard = runtime.block_on(lock.acquire(&write("a"))).expect("it works");
        runtime.block_on(guard.release());
        drop(runtime.block_on(lock.try_acquire(&write("b"))).expect("it works"));
        let limit = LONG;
        drop(runtime.block_on(lock.acquire_timeout(&write("b"), limit)).expect("it works"));
    }
}

/// A thread that waits as if it were no runtime's drives nothing meanwhile. Nobody should do that; it works.
#[test]
fn who_blocks_the_only_thread_of_a_runtime() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster);
    let runtime = threads(1);
    let blocks = runtime.spawn(async move {
        for _ in 0..3 {
            let guard = block_on(lock.acquire(&write("a"))).expect("it works");
            block_on(guard.release());
        }
    });
    runtime.block_on(within("it is served", blocks)).expect("no panic");
}

/// A future that nobody polls keeps its place in the line, and nothing that others need.
#[test]
fn who_stops_to_poll_keeps_nobody() {
    let Some(cluster) = Cluster::start(1) else { return };
    for polls in 1..12 {
        let lock = lock(&cluster);
        let mut stops = pin!(lock.acquire(&write(&format!("stops/{polls}"))));
        let mut granted = None;
        for _ in 0..polls {
            let _entered = runtime().enter();
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(guard) = stops.as_mut().poll(&mut context) {
                granted = Some(guard.expect("it works"));
                break;
            }
            thread::sleep(Duration::from_micros(300));
        }
        runtime().block_on(async {
            pair(&lock).await;
            drop(within("it is free", lock.try_acquire(&write("b"))).await.expect("it works"));
        });
        drop(block_on(lock.acquire(&write("a"))).expect("it is free"));
        let granted = match granted {
            Some(guard) => guard,
            None => block_on(stops).expect("it works"),
        };
        assert!(granted.is_valid());
        block_on(granted.release());
    }
}
