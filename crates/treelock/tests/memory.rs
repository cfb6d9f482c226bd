//! Memory is proportional to live requests (C8): after all are gone it is back where it was, except
//! for the bounded cache of idle nodes. This is a separate binary with a single test, since it
//! counts all allocations.

use std::{
    alloc::System,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use cap::Cap;
use treelock::{Acquire, Guard, Request, TreeLock, Wait};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The maximum memory of 1,024 idle nodes with their ancestors: less than 2 KiB each, including
/// pages and names.
const CACHE: usize = 2 << 20;

fn allocated() -> usize {
    ALLOCATOR.allocated()
}

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a valid root")
}

fn hold(lock: &TreeLock, root: &str) -> Guard {
    lock.try_acquire(&write(root)).wait().expect("nothing is in the way")
}

fn queue(lock: &TreeLock, root: &str) -> Pin<Box<Acquire>> {
    let mut acquire = Box::pin(lock.acquire(&write(root)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(acquire.as_mut().poll(&mut context).is_pending());
    acquire
}

/// Runs the work on a lock whose cache is full, and returns how much memory that added.
fn growth(name: &str, work: impl FnOnce(&TreeLock)) -> usize {
    let lock = TreeLock::new();
    let empty = allocated();
    (0..5_000).for_each(|i| drop(hold(&lock, &format!("warm/up/{i}"))));
    let warm = allocated();
    assert!(warm - empty < CACHE, "{name}: the cache takes {} bytes", warm - empty);
    work(&lock);
    assert!(lock.snapshot().wait().entries.is_empty());
    let after = allocated();
    assert!(after - empty < CACHE, "{name}: {} bytes are left", after - empty);
    drop(lock);
    // The thread may keep a little memory of its own, such as its handle.
    assert!(allocated() < empty + 1024, "{name}: dropping the lock leaves memory behind");
    after.saturating_sub(warm)
}

#[test]
fn memory_follows_live_requests() {
    growth("1e6 distinct nodes, one after the other", |lock| {
        for i in 0..1_000_000 {
            drop(hold(lock, &format!("top{}/middle{}/leaf{i}", i % 7, i % 1009)));
        }
    });
    growth("1e5 held at once", |lock| {
        let guards: Vec<Guard> = (0..100_000).map(|i| hold(lock, &format!("a{i}/b/c"))).collect();
        drop(guards);
    });
    growth("1e6 held at once, sharing their ancestors", |lock| {
        let guards: Vec<Guard> = (0..1_000_000).map(|i| hold(lock, &format!("a/b/{i}"))).collect();
        drop(guards);
    });
    growth("1e5 held at once, released in another order", |lock| {
        let mut guards: Vec<Option<Guard>> =
            (0..100_000).map(|i| Some(hold(lock, &format!("a/b{i}/c")))).collect();
        (0..100_000).for_each(|i| guards[(i * 7919) % 100_000] = None);
    });
    growth("1e5 cancelled waiters, front, middle and back", |lock| {
        let holder = hold(lock, "a/b");
        let mut waiting: Vec<_> =
            (0..100_000).map(|i| Some(queue(lock, &format!("a/b/{i}")))).collect();
        (0..100_000).for_each(|i| waiting[(i * 7919) % 100_000] = None);
        drop(holder);
    });
    growth("1e5 waiters handed over", |lock| {
        let holder = hold(lock, "a");
        let waiting: Vec<_> = (0..100_000).map(|_| queue(lock, "a/b")).collect();
        drop(holder);
        for waiter in waiting {
            let mut waiter = pin!(waiter);
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(guard) = waiter.as_mut().poll(&mut context) else {
                panic!("the holder before it has released")
            };
            drop(guard);
        }
    });
    growth("long and deep names are not cached", |lock| {
        for i in 0..2_000 {
            drop(hold(lock, &format!("{}/{i}", "x".repeat(50_000))));
            drop(hold(lock, &format!("deep{}/{i}", "/y".repeat(500))));
        }
    });
    one_that_stays();
}

/// Checks that what stays costs a bounded factor, not the peak: one value keeps its whole page.
fn one_that_stays() {
    let lock = TreeLock::new();
    let empty = allocated();
    let stays = hold(&lock, "stays");
    let guards: Vec<Guard> = (0..100_000).map(|i| hold(&lock, &format!("a{i}/b"))).collect();
    let peak = allocated() - empty;
    drop(guards);
    let left = allocated() - empty;
    assert!(left < CACHE && left < peak / 20, "{left} bytes are left of {peak}");
    drop(stays);
}
