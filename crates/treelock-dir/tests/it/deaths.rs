//! Processes that are killed while they hold or wait (C22).

use treelock::{State, Wait};

use crate::{
    helper::{Helper, Part},
    scratch::{Scratch, eventually, waiters, write},
};

/// C22: when a process is killed while it holds, its place is free at once, and nothing is left
/// that hinders anything else.
#[test]
fn a_killed_holder_frees_its_place() {
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    let error = lock.try_acquire(&write("a/b")).wait().expect_err("it is held");
    let process = error.blocked().and_then(|blocked| blocked.process.clone());
    assert_eq!(process.map(|process| process.pid), Some(holder.pid()));
    holder.kill();
    let guard = lock.try_acquire(&write("a/b")).wait().expect("free when it is dead");
    assert_eq!(lock.snapshot().wait().expect("a table").entries.len(), 1);
    drop(guard);
    assert!(lock.snapshot().wait().expect("a table").entries.is_empty());
}

/// In a line of processes, those behind a killed one proceed when it is their turn, not before.
#[test]
fn a_killed_waiter_leaves_the_line() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut waiting: Vec<Helper> = (1..=3)
        .map(|count| {
            let helper = Part::new("hold", lock.path(), "a").start();
            eventually("it is in line", || waiters(lock).len() == count);
            helper
        })
        .collect();
    let line: Vec<u32> = waiting.iter().map(Helper::pid).collect();
    assert_eq!(waiters(lock), line);
    waiting.remove(1).kill();
    assert_eq!(waiters(lock), [line[0], line[2]]);
    waiting.remove(0).kill();
    assert_eq!(waiters(lock), [line[2]]);
    drop(guard);
    waiting[0].expect("holds");
    let snapshot = lock.snapshot().wait().expect("a table");
    assert_eq!((snapshot.entries.len(), snapshot.entries[0].state), (1, State::Held));
}
