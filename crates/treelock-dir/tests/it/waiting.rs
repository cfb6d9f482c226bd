//! Waiting, with or without a limit, and what is in the way meanwhile (C14).

use std::{
    fs,
    future::Future,
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::Wait;
use treelock_conformance::{Polled, Task};
use treelock_dir::Error;

use crate::{
    helper::{Helper, is_alone},
    scratch::{AcquireWithin, LONG, Scratch, eventually, write},
};

/// A request whose timeout has passed leaves the line, and takes no longer than necessary to report
/// the blocker.
#[test]
fn a_time_out_behind_another_process() {
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    for timeout in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(5)] {
        let error = lock.acquire_within(&write("a/b"), timeout).expect_err("it is held");
        let blocked = error.blocked().expect("something is in the way");
        assert_eq!(blocked.process.as_ref().map(|process| process.pid), Some(holder.pid()));
        assert_eq!(lock.snapshot().wait().expect("a table").entries.len(), 1);
    }
    assert!(holder.end().success());
    drop(lock.acquire_within(&write("a/b"), Duration::ZERO).expect("nothing is in the way"));
}

/// A holder that had to wait is shown as held since it was granted, not since it was requested.
#[test]
fn one_who_waited_holds_since_it_was_granted() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    // Long enough to be distinguished from no time at all.
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    drop(guard);
    let guard = waits.poll().expect("it is granted").expect("a table that works");
    let age = lock.snapshot().wait().expect("a table").entries[0].age;
    assert!(age <= start.elapsed(), "{age:?}, of at most {:?}", start.elapsed());
    drop(guard);
}

/// A waiter is told of the requests ahead of it, and not of those behind it or of itself.
#[test]
fn one_who_waits_is_behind_those_ahead() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut line = [(); 3].map(|()| Box::pin(lock.acquire(&write("a"))));
    for acquire in &mut line {
        assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    for (before, acquire) in line.iter().enumerate() {
        let blocked = acquire.blocked().wait().expect("a table").expect("it is held");
        assert_eq!((blocked.ahead, blocked.ticket), (before + 1, guard.ticket()));
    }
}

/// A waiter in a table that was replaced is not told of requests that no other process sees any
/// more.
#[test]
fn a_lost_place_is_behind_nobody() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut acquire = Box::pin(scratch.lock.acquire(&write("a")));
    assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(acquire.blocked().wait().expect("a table").is_some());
    fs::remove_file(scratch.table()).expect("a table");
    assert!(acquire.blocked().wait().expect_err("its place is lost").is_lost());
    drop(guard);
}

#[test]
fn a_waiter_whose_table_is_replaced_is_told() {
    let remove_file = |scratch: &Scratch| fs::remove_file(scratch.table());
    let remove_all = |scratch: &Scratch| fs::remove_dir_all(scratch.lock.path());
    let rename = |scratch: &Scratch| fs::rename(scratch.lock.path(), scratch.path().join("old"));
    for lose in [remove_file, remove_all, rename] as [fn(&Scratch) -> std::io::Result<()>; 3] {
        let scratch = Scratch::new();
        let lock = &scratch.lock;
        let mut holder = Helper::holding(lock, "a");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.acquire_within(&write("a"), LONG));
            eventually("it is in line", || {
                lock.snapshot().wait().expect("a table").waiting().count() > 0
            });
            lose(&scratch).expect("a scratch directory");
            assert!(holder.end().success(), "releasing does not fail");
            let error = waiter.join().expect("no panic").expect_err("its place is lost");
            assert!(error.is_lost(), "{error}");
            drop(lock.try_acquire(&write("a")).wait().expect("a new table"));
        });
    }
}

/// A timeout takes effect even if it cannot be determined what is in the way.
#[test]
fn a_time_out_ends_though_nobody_knows_who_is_in_the_way() {
    let lose: [fn(&Scratch, u64); 2] = [
        |scratch, _| scratch.raw_table().set_len(0).expect("a scratch file"),
        |scratch, ticket| {
            let cell = scratch.cells(ticket)[0];
            scratch.raw_table().set_len(cell).expect("a scratch file");
        },
    ];
    for lose in lose {
        let scratch = &Scratch::new();
        let lock = &scratch.lock;
        let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| lock.acquire_within(&write("a"), Duration::from_millis(300)));
            let waiting = || lock.snapshot().wait().expect("a table").waiting().count() == 1;
            eventually("it waits", waiting);
            lose(scratch, guard.ticket());
            eventually("its time is over", || waits.is_finished());
            let error = waits.join().expect("no panic").expect_err("the other still holds");
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        });
        drop(guard);
    }
}

/// A process that waited for another keeps no lock on its ticket when that has left.
#[test]
fn who_has_waited_keeps_no_lock() {
    if !is_alone("waiting::who_has_waited_keeps_no_lock", &[&[]]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    assert!(holder.end().success());
    eventually("it is woken", || waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
    eventually("only its own life is locked", || Scratch::locks_of_this_process() == 1);
}
