//! Waiting with a limit, which keeps the place in line, and giving up (C13, C14).

use std::{
    thread,
    time::{Duration, Instant},
};

use treelock::Wait;
use treelock_dir::{Acquire, Error};

use crate::{
    helper::{Helper, Part},
    scratch::{LONG, Scratch, eventually, read, waiters, write},
};

/// Long enough for a request that could overtake to have done so.
const MOMENT: Duration = Duration::from_millis(20);

/// Returns a request that is in line and has already been waited for without success.
fn queued(scratch: &Scratch, node: &str) -> Acquire {
    let mut acquire = scratch.lock.acquire(&write(node));
    assert!(acquire.wait_timeout(Duration::from_millis(1)).is_none(), "it is held");
    acquire
}

/// A request whose time has run out stays in line: a later one waits behind it, even in another
/// process.
#[test]
fn a_limit_that_is_over_keeps_the_place() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let mut holder = Helper::holding(lock, "a");
    let mut acquire = queued(&scratch, "a/b");
    let ticket = acquire.ticket().expect("it is in line");
    let later = Part::new("hold", lock.path(), "a").start();
    eventually("the later one waits", || waiters(lock).len() == 2);
    for _ in 0..3 {
        assert!(acquire.wait_timeout(Duration::from_millis(1)).is_none(), "still held");
        assert!(acquire.wait_deadline(Instant::now()).is_none(), "still held");
        assert_eq!(acquire.ticket(), Some(ticket), "it keeps its place");
    }
    assert!(holder.end().success());
    // Nothing is polled meanwhile, and nothing overtakes.
    thread::sleep(MOMENT);
    let snapshot = lock.snapshot().wait().expect("a table");
    let held: Vec<u64> = snapshot.held().map(|entry| entry.ticket).collect();
    assert_eq!(held, [ticket], "the later one has not overtaken:\n{snapshot}");
    let guard = acquire.wait_timeout(LONG).expect("in time").expect("a table that works");
    assert_eq!(guard.ticket(), ticket);
    assert_eq!(waiters(lock), [later.pid()], "it goes on only when the first has left");
    guard.release().wait();
    later.expect("holds");
}

/// A request that gives up is told what was in the way, and the requests behind it proceed.
#[test]
fn who_gives_up_names_the_blocker_and_leaves_nothing() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let holder = Helper::holding(lock, "a/held");
    let acquire = queued(&scratch, "a");
    let behind = Part::new("hold", lock.path(), "a/free").start();
    eventually("the one behind waits", || waiters(lock).len() == 2);
    let error = acquire.give_up().wait().expect_err("the holder is in the way");
    assert!(error.is_timeout());
    let blocked = error.blocked().expect("something is in the way");
    assert_eq!((blocked.blocker.to_string().as_str(), blocked.ahead), ("write /a/held", 1));
    assert_eq!(blocked.process.as_ref().map(|process| process.pid), Some(holder.pid()));
    behind.expect("holds");
    assert_eq!(lock.snapshot().wait().expect("a table").entries.len(), 2);
    drop((holder, behind));
    eventually("both are gone", || lock.blocked(&write("/")).wait().expect("a table").is_none());
    scratch.assert_at_rest();
}

/// A request that gives up without having seen its grant gets the guard, whichever process was in
/// the way.
#[test]
fn who_gives_up_when_granted_meanwhile_gets_the_guard() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let held = lock.acquire(&read("a/c")).wait().expect("a new lock is free");
    let mut holder = Helper::holding(lock, "a/b");
    let acquire = queued(&scratch, "a");
    let ticket = acquire.ticket();
    drop(held);
    assert!(holder.end().success());
    let guard = acquire.give_up().wait().expect("all have left");
    assert_eq!(Some(guard.ticket()), ticket);
    let snapshot = lock.snapshot().wait().expect("a table");
    assert_eq!((snapshot.entries.len(), snapshot.held().count()), (1, 1), "{snapshot}");
    assert!(guard.is_valid());
    guard.release().wait();
    scratch.assert_at_rest();
}

/// A request that gives up before it is made is a try.
#[test]
fn who_gives_up_before_it_asks_tries() {
    let scratch = Scratch::new();
    let guard = scratch.lock.acquire(&write("a")).give_up().wait().expect("a new lock is free");
    let error = scratch.lock.acquire(&write("a")).give_up().wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    drop(guard);
    scratch.assert_at_rest();
}

/// A request that gives up behind a damaged table is told so at once, and leaves nothing.
#[test]
fn who_gives_up_behind_nobody_knows_whom_is_told() {
    let scratch = Scratch::new();
    let holder = scratch.lock.acquire(&write("a")).wait().expect("a new lock is free");
    let acquire = queued(&scratch, "a");
    scratch.raw_table().set_len(0).expect("a scratch file");
    let error = acquire.give_up().wait().expect_err("still held, for all it knows");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.is_unavailable() && !error.is_timeout());
    drop(holder);
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("it is begun anew"));
    scratch.assert_at_rest();
}

/// A request that gives up behind one whose process has died gets the guard.
#[test]
fn who_gives_up_behind_the_dead_gets_the_guard() {
    let scratch = Scratch::new();
    let dies = scratch.lock.acquire(&write("a/b")).wait().expect("a new lock is free");
    let acquire = queued(&scratch, "a");
    let ticket = acquire.ticket();
    scratch.die(dies);
    let guard = acquire.give_up().wait().expect("nobody who lives is in the way");
    assert_eq!(Some(guard.ticket()), ticket);
    drop(guard);
    scratch.assert_at_rest();
}

/// An answer that is dropped gives back the guard that it contains.
#[test]
fn a_dropped_answer_leaves_nothing() {
    let scratch = Scratch::new();
    let holder = scratch.lock.acquire(&write("a")).wait().expect("a new lock is free");
    let [one, two] = [(); 2].map(|()| queued(&scratch, "a"));
    let entries = || scratch.lock.snapshot().wait().expect("a table").entries.len();
    drop(one.give_up());
    assert_eq!(entries(), 2);
    drop(holder);
    drop(two.give_up());
    assert_eq!(entries(), 0);
    scratch.assert_at_rest();
}
