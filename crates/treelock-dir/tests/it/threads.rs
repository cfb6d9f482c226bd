//! The threads that wait for tickets of others.

use std::{
    fs,
    future::Future,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use treelock_conformance::{Polled, Task};
use treelock_dir::{Acquire, DirLock, Error, Guard};

use crate::{
    helper::is_alone,
    scratch::{AcquireWithin, LONG, Scratch, eventually, write},
};

/// How many threads may block on tickets, and the one that polls.
const MOST: usize = 64 + 1;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// Allows as many open files as possible, since each live request has one.
fn allow_many_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a process may use what it was given");
}

/// However many tickets were waited for, few threads are left, and none when the tickets have left.
#[test]
fn time_outs_leave_few_threads() {
    if !is_alone("threads::time_outs_leave_few_threads", &[&[]]) {
        return;
    }
    allow_many_files();
    let scratch = Scratch::new();
    // To this handle, those of the other are tickets of another process.
    let lock = DirLock::new(scratch.lock.path());
    let mut crowd = scratch.crowd(2000);
    let before = threads();
    for guard in &crowd {
        let limit = Duration::from_micros(100);
        let error = lock.acquire_within(guard.request(), limit).expect_err("it is held");
        assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
        // A thread that ends is there for a moment longer.
        eventually("few threads are left", || threads() <= before + MOST);
    }
    eventually("nothing is polled", || threads() < before + MOST);
    // Now there is no thread for this ticket, and yet its end is noticed soon.
    let last = crowd.pop().expect("there are many");
    let mut waits = Polled::new(lock.acquire(last.request()));
    assert!(waits.poll().is_none());
    let start = Instant::now();
    drop(last);
    eventually("it is woken", || waits.wakes() > 0);
    println!("woken after {:?}", start.elapsed());
    drop(waits.poll().expect("it is granted").expect("a table that works"));
    drop(crowd);
    eventually("all threads have ended", || threads() <= before);
    scratch.assert_at_rest();
}

/// Requests that wait for more tickets than there may be threads are all woken.
#[test]
fn more_tickets_than_threads() {
    if !is_alone("threads::more_tickets_than_threads", &[&[]]) {
        return;
    }
    allow_many_files();
    let scratch = Scratch::new();
    let lock = DirLock::new(scratch.lock.path());
    let crowd = scratch.crowd(300);
    let before = threads();
    let mut waits: Vec<Polled<_>> =
        crowd.iter().map(|guard| Polled::new(lock.acquire(guard.request()))).collect();
    assert!(waits.iter_mut().all(|task| task.poll().is_none()));
    assert!(threads() <= before + MOST, "{} threads, {before} before", threads());
    // Some give up, in any order.
    let mut number = 0;
    waits.retain(|_| {
        number += 1;
        number % 5 != 0
    });
    let mut second: Vec<Polled<_>> =
        crowd.iter().map(|guard| Polled::new(lock.acquire(guard.request()))).collect();
    assert!(second.iter_mut().all(|task| task.poll().is_none()));
    // The last first, so that tickets without threads leave too, and threads become free.
    for guard in crowd.into_iter().rev() {
        drop(guard);
    }
    let granted = |task: &mut Polled<Result<Guard, Error>>| {
        eventually("it is woken", || task.wakes() > 0);
        drop(task.poll().expect("it is granted").expect("a table that works"));
    };
    waits.iter_mut().for_each(granted);
    drop(waits);
    for task in &mut second {
        eventually("it is granted", || task.poll().is_some());
    }
    drop(second);
    eventually("all threads have ended", || threads() <= before);
    scratch.assert_at_rest();
}

/// A waker that panics does not end the thread that polls for others.
#[test]
fn a_waker_that_panics_while_others_are_polled() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let scratch = Scratch::new();
    let lock = DirLock::new(scratch.lock.path());
    let mut crowd = scratch.crowd(100);
    let mut waits: Vec<std::pin::Pin<Box<Acquire>>> =
        crowd.iter().map(|guard| Box::pin(lock.acquire(guard.request()))).collect();
    let waker = Waker::from(Arc::new(Panics));
    for task in &mut waits {
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // Those that block stay, and those that are polled leave one by one.
    for guard in crowd.drain(70..80) {
        drop(guard);
        std::thread::sleep(Duration::from_millis(2));
    }
    let last = crowd.pop().expect("there are more");
    let mut quiet = Polled::new(lock.acquire(last.request()));
    assert!(quiet.poll().is_none());
    drop(waits.pop());
    assert!(quiet.poll().is_none());
    drop(last);
    eventually("it is woken", || quiet.wakes() > 0);
    drop(quiet.poll().expect("it is granted").expect("a table that works"));
    drop((waits, crowd));
    scratch.assert_at_rest();
    drop(lock.acquire_within(&write("crowd"), LONG).expect("nobody is left"));
}
