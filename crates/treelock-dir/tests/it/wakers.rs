//! Wakers that panic, and wakers that are no longer needed (C9).

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Wake, Waker},
};

use treelock_conformance::{Polled, Task};

use crate::{
    helper::is_alone,
    scratch::{Scratch, eventually, read, write},
};
use treelock::Wait;

/// A waker that panics does not prevent other wake-ups.
#[test]
fn a_waker_that_panics() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut quiet: Vec<_> = (0..4).map(|_| Polled::new(lock.acquire(&read("a")))).collect();
    assert!(quiet.iter_mut().all(|task| task.poll().is_none()));
    let mut loud: Vec<_> = (0..4).map(|_| Box::pin(lock.acquire(&read("a")))).collect();
    for task in &mut loud {
        let waker = Waker::from(Arc::new(Panics));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // Wakers are called by a thread of the table.
    drop(guard);
    for task in &mut quiet {
        eventually("it is woken anyway", || task.wakes() > 0);
        drop(task.poll().expect("it is granted").expect("a table that works"));
    }
    drop((quiet, loud));
    // That thread still wakes others.
    let guard = lock.try_acquire(&write("a")).wait().expect("all have left");
    let mut later = Polled::new(lock.acquire(&read("a")));
    assert!(later.poll().is_none());
    drop(guard);
    eventually("it is woken", || later.wakes() > 0);
    drop(later.poll().expect("it is granted").expect("a table that works"));
    scratch.assert_at_rest();
}

/// A waker that panics while the guard is dropped by a panic does not abort the process.
#[test]
fn a_waker_that_panics_in_a_panic() {
    if !is_alone("wakers::a_waker_that_panics_in_a_panic", &[&[]]) {
        return;
    }
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose, too");
        }
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut task = Box::pin(lock.acquire(&write("a")));
    let waker = Waker::from(Arc::new(Panics));
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        panic!("on purpose");
    }));
    let panicked = panicked.expect_err("it panics");
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"), "the first panic goes on");
    drop(task);
    scratch.assert_at_rest();
}

/// A request that is dropped drops its waker, even though the ticket that it waited for stays.
#[test]
fn who_gives_up_keeps_no_waker() {
    struct Quiet;
    impl Wake for Quiet {
        fn wake(self: Arc<Self>) {}
    }
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let [one, two] = [(); 2].map(|()| Arc::new(Quiet));
    let mut acquire = Box::pin(lock.acquire(&write("a")));
    for quiet in [&one, &two] {
        let waker = Waker::from(quiet.clone());
        assert!(acquire.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 2));
    drop(acquire);
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
    drop(guard);
}
