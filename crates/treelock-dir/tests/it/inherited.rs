//! Children that inherit a lock, and which processes keep one.

use std::process::Command;

use crate::{
    helper::Helper,
    scratch::{Scratch, write},
};
use treelock::Wait;

/// A child that inherited the lock keeps it when its parent is killed, and is found.
#[test]
fn a_child_keeps_the_lock() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut sleep = Command::new("sleep");
    guard.inherit(sleep.arg("600")).expect("a free descriptor");
    let mut child = sleep.spawn().expect("sleep is everywhere");
    drop(sleep);
    let mut both = vec![std::process::id(), child.id()];
    both.sort_unstable();
    assert_eq!(lock.processes(guard.ticket()).expect("/proc"), both);
    // Dropping the guard releases for the child too.
    drop(guard);
    drop(lock.try_acquire(&write("a")).wait().expect("released"));
    // A guard that is never dropped is as one whose process was killed.
    let ticket = {
        let guard = lock.try_acquire(&write("a")).wait().expect("free again");
        let ticket = guard.ticket();
        std::mem::forget(guard);
        ticket
    };
    assert_eq!(lock.processes(ticket).expect("/proc"), [std::process::id()]);
    child.kill().expect("our child");
    child.wait().expect("our child");
}

/// An inherited descriptor has a number that scripts do not use for their own.
#[test]
fn an_inherited_descriptor_has_a_high_number() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut list = Command::new("sh");
    guard.inherit(list.args(["-c", "ls -l /proc/$$/fd"])).expect("a free descriptor");
    let listed = String::from_utf8(list.output().expect("sh is everywhere").stdout);
    let listed = listed.expect("a scratch path of letters");
    let table = format!(" -> {}", scratch.table().display());
    let descriptors = listed.lines().filter_map(|line| line.strip_suffix(&table));
    let numbers: Vec<u32> =
        descriptors.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert!(matches!(numbers[..], [100..=u32::MAX]), "{numbers:?} in\n{listed}");
}

/// Tickets of another table, which have the same numbers, are not taken for tickets of this one.
#[test]
fn processes_at_another_table_are_not_found() {
    let [one, two] = [(); 2].map(|()| Scratch::new());
    let holder = Helper::holding(&one.lock, "a");
    let guard = two.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    assert_eq!(one.lock.snapshot().wait().expect("a table").entries[0].ticket, guard.ticket());
    assert_eq!(one.lock.processes(guard.ticket()).expect("/proc"), [holder.pid()]);
    assert_eq!(two.lock.processes(guard.ticket()).expect("/proc"), [std::process::id()]);
}
