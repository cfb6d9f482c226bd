//! Waiting, in a thread or in a future, with a limit and without, and giving up.

use std::{thread, time::Duration};

use tokio::runtime::Builder;
use treelock::Request;
use treelock_etcd::{Error, EtcdLock, Wait};

use crate::{
    asking::{LONG, lock, within, write},
    server::{Cluster, runtime},
};

/// Longer than etcd takes to answer, shorter than anybody holds a lock here.
const MOMENT: Duration = Duration::from_millis(300);

/// The ticket of the only one who waits.
fn waiting_ticket(lock: &EtcdLock) -> u64 {
    loop {
        let snapshot = lock.snapshot().wait().expect("it works");
        if let Some(entry) = snapshot.waiting().next() {
            return entry.ticket;
        }
        thread::yield_now();
    }
}

/// The crate's thread needs no other one; nor do its futures.
#[test]
fn blocking_and_any_executor() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster, 15);
    let guard = lock.acquire(&write("a")).wait().expect("a cluster that works");
    let error = lock.try_acquire(&write("a/b")).wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    let mut acquire = lock.acquire(&write("/"));
    assert!(acquire.wait_timeout(Duration::from_millis(50)).is_none());
    let error = acquire.give_up().wait().expect_err("it is held");
    assert!(error.is_timeout(), "{error}");
    let mut acquire = lock.acquire(&write("/"));
    assert!(acquire.wait_deadline(std::time::Instant::now()).is_none());
    let error = acquire.give_up().wait().expect_err("it is held");
    assert!(error.is_timeout(), "{error}");
    assert!(lock.blocked(&write("a")).wait().expect("it works").is_some());
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || lock.acquire(&write("a/b")).wait()
    });
    waiting_ticket(&lock);
    guard.release().wait();
    drop(waiter.join().expect("no panic").expect("it is free"));
    lock.settled().wait();
    assert!(lock.snapshot().wait().expect("it works").entries.is_empty());
    // An executor that knows nothing of tokio.
    futures_executor::block_on(async {
        let guard = lock.acquire(&write("a")).await.expect("it works");
        assert!(lock.try_acquire(&write("a")).await.is_err());
        guard.release().await;
    });
}

/// A blocking thread of a runtime may wait, and so may, if it must, one that should drive futures:
/// the crate's thread does the work.
#[test]
fn waiting_in_the_threads_of_runtimes() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster, 15);
    let pair = {
        let lock = lock.clone();
        move || lock.acquire(&write("a")).wait().expect("it works").release().wait()
    };
    let blocking = pair.clone();
    runtime().block_on(async {
        let done = tokio::task::spawn_blocking(move || (0..20).for_each(|_| blocking()));
        within("it is done", done).await.expect("no panic");
    });
    let current = Builder::new_current_thread().enable_all().build().expect("a runtime");
    // More often than tokio lets a task have what is ready before it yields.
    current.block_on(async { (0..200).for_each(|_| pair()) });
    runtime().block_on(async {
        let done = tokio::spawn(async move { (0..200).for_each(|_| pair()) });
        within("it is done", done).await.expect("no panic");
    });
}

/// A request that is waited for with a limit keeps its place: a later one does not overtake,
/// whether the limit is a thread's or that of a runtime.
#[test]
fn a_limit_keeps_the_place() {
    let Some(cluster) = Cluster::start(1) else { return };
    let (lock, other) = (lock(&cluster, 15), lock(&cluster, 15));
    let holder = lock.acquire(&write("a")).wait().expect("a cluster that works");
    let mut first = lock.acquire(&write("a/b"));
    assert!(first.wait_timeout(MOMENT).is_none());
    let place = first.ticket().expect("it is in line");
    let mut later = other.acquire(&write("a"));
    assert!(later.wait_timeout(MOMENT).is_none());
    let blocked = first.blocked().wait().expect("it works").expect("somebody is in the way");
    assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), 1));
    holder.release().wait();
    // Nobody has polled the first one since.
    assert!(later.wait_timeout(MOMENT).is_none(), "a later one has overtaken");
    let blocked = later.blocked().wait().expect("it works").expect("the first is in the way");
    assert_eq!(blocked.ticket, place);
    runtime().block_on(async {
        let guard = within("it is granted", &mut first).await.expect("it works");
        assert_eq!(guard.ticket(), place);
        assert!(tokio::time::timeout(MOMENT, &mut later).await.is_err());
        guard.release().await;
        within("it is granted", &mut later).await.expect("it works").release().await;
    });
    assert_eq!(lock.rescued() + other.rescued(), 0);
}

/// It says who was in the way, and nothing of it is left: those behind it go on.
#[test]
fn giving_up_names_the_blocker_and_leaves_nothing() {
    let Some(cluster) = Cluster::start(1) else { return };
    let (lock, other) = (lock(&cluster, 15), lock(&cluster, 15));
    let reader = Request::new().read("a").expect("a good node").with_label("a reader");
    let holder = lock.acquire(&reader).wait().expect("a cluster that works");
    for asked in [&lock, &other] {
        let mut writer = asked.acquire(&write("a/b"));
        assert!(writer.wait_timeout(MOMENT).is_none());
        // It waits for the writer, and for nobody else.
        let mut behind = other.acquire(&Request::new().read("a/b/c").expect("a good node"));
        assert!(behind.wait_timeout(MOMENT).is_none());
        let error = writer.give_up().wait().expect_err("the reader is in the way");
        let Error::Blocked(blocked) = &error else { panic!("{error:?}") };
        assert_eq!(blocked.label.as_deref(), Some("a reader"), "{error}");
        assert_eq!((blocked.ticket, blocked.ahead), (holder.ticket(), 1), "{error}");
        let behind = behind.wait_timeout(LONG).expect("nobody is in its way any more");
        behind.expect("it works").release().wait();
        let snapshot = lock.snapshot().wait().expect("it works");
        assert_eq!(snapshot.entries.len(), 1, "left behind:\n{snapshot}");
    }
}

/// What was granted and not seen is not lost by giving up, also if the thread's task had no time to
/// tell.
#[test]
fn giving_up_when_granted_gives_the_guard() {
    let Some(cluster) = Cluster::start(1) else { return };
    let (lock, other) = (lock(&cluster, 15), lock(&cluster, 15));
    for pause in [MOMENT, Duration::ZERO] {
        let holder = other.acquire(&write("a")).wait().expect("a cluster that works");
        let mut acquire = lock.acquire(&write("a"));
        assert!(acquire.wait_timeout(MOMENT).is_none());
        let ticket = acquire.ticket();
        holder.release().wait();
        thread::sleep(pause);
        let guard = acquire.give_up().wait().expect("it was granted");
        assert_eq!(Some(guard.ticket()), ticket);
        assert!(guard.is_valid());
        guard.release().wait();
    }
    assert!(lock.snapshot().wait().expect("it works").entries.is_empty());
}

/// A request that has not asked does so, and does not wait; one whose answer nobody takes leaves
/// all the same.
#[test]
fn giving_up_at_other_moments() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster, 15);
    let guard = lock.acquire(&write("a")).give_up().wait().expect("nobody is in the way");
    let error = lock.acquire(&write("a/b")).give_up().wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    for polls in 0..6 {
        let mut acquire = lock.acquire(&write("a/b"));
        for _ in 0..polls {
            assert!(acquire.wait_timeout(Duration::from_micros(200)).is_none());
        }
        let mut given_up = acquire.give_up();
        if polls % 2 == 0 {
            assert!(given_up.wait_timeout(Duration::ZERO).is_none());
            drop(given_up);
        } else {
            assert!(given_up.wait().expect_err("it is held").is_timeout());
        }
    }
    lock.settled().wait();
    assert_eq!(lock.snapshot().wait().expect("it works").entries.len(), 1);
    // A cluster that does not answer is not waited for longer than without a limit.
    drop(cluster);
    let mut acquire = lock.acquire(&write("b"));
    assert!(acquire.wait_timeout(Duration::ZERO).is_none());
    let error = acquire.give_up().wait_timeout(LONG).expect("it ends");
    let error = error.expect_err("nobody answers");
    assert!(error.is_unavailable() || error.is_lost(), "{error}");
}

/// The answer comes when the lock is lost, to a thread and to a future, and does not need the
/// guard.
#[test]
fn loss_is_an_answer() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster, 15);
    let guard = lock.acquire(&write("a")).wait().expect("a cluster that works");
    let (mut lost, mut also, mut never) = (guard.lost(), guard.lost(), guard.lost());
    assert_eq!(lost.wait_timeout(Duration::from_millis(50)), None);
    assert!(lock.revoke(guard.ticket()).wait().expect("it works"));
    assert_eq!(lost.wait_timeout(LONG), Some(()));
    assert!(!guard.is_valid());
    runtime().block_on(within("it is told", &mut also));
    drop(guard);
    assert_eq!(never.wait_timeout(LONG), Some(()), "it was lost before it was dropped");
    let guard = lock.acquire(&write("a")).wait().expect("it works");
    let mut never = guard.lost();
    guard.release().wait();
    assert_eq!(never.wait_timeout(Duration::from_millis(50)), None, "released, not lost");
}
