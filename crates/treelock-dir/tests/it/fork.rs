//! Processes that fork and continue without `exec`: parent and child then have the same open file
//! descriptions, and with them the same locks.

use std::process::exit;

use nix::{
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, fork},
};
use treelock::Wait;
use treelock_conformance::{Polled, Task};
use treelock_dir::DirLock;

use crate::{
    helper::is_alone,
    lost::somebody_listens,
    scratch::{AcquireWithin, LONG, Scratch, eventually, write},
};

/// Forks. The child runs `work` and exits with 0 if that returns true.
#[expect(unsafe_code, reason = "the tests are about forking")]
fn in_a_child(work: impl FnOnce() -> bool) -> Pid {
    // SAFETY: the test is alone in its process, and its only other threads are waiting. So no lock
    // of the allocator or of `std` is held by a thread that the child lacks.
    match unsafe { fork() }.expect("one more process") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => exit(i32::from(!work())),
    }
}

fn assert_well(child: Pid) {
    assert_eq!(waitpid(child, None).expect("our child"), WaitStatus::Exited(child, 0));
}

fn is_held(lock: &DirLock, node: &str) -> bool {
    lock.try_acquire(&write(node)).wait().is_err_and(|error| error.blocked().is_some())
}

/// A child does not use what the parent used before; its requests are its own.
#[test]
fn a_child_asks_for_itself() {
    if !is_alone("fork::a_child_asks_for_itself", &[&[]]) {
        return;
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let go = scratch.path().join("go");
    let child = in_a_child(|| {
        let guard = lock.try_acquire(&write("a")).wait().expect("nothing is in the way");
        eventually("it may end", || go.exists());
        drop(guard);
        true
    });
    eventually("the child holds", || is_held(lock, "a"));
    std::fs::write(&go, "").expect("room");
    drop(lock.acquire_within(&write("a"), LONG).expect("the child has released"));
    assert_well(child);
    scratch.assert_at_rest();
}

/// What the parent holds remains the parent's: the child waits for it and cannot release it.
#[test]
fn a_child_cannot_release_what_its_parent_holds() {
    if !is_alone("fork::a_child_cannot_release_what_its_parent_holds", &[&[]]) {
        return;
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let mut guard = Some(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let lost = guard.as_ref().map(|guard| guard.lost());
    let child = in_a_child(|| {
        drop(guard.take());
        let still = is_held(lock, "a");
        drop(lock.clone());
        still && lock.acquire_within(&write("a"), LONG).is_ok()
    });
    eventually("the child waits", || {
        lock.snapshot().wait().expect("a table").waiting().count() == 1
    });
    assert!(is_held(lock, "a"));
    drop(guard.take());
    assert_well(child);
    drop(lost);
    scratch.assert_at_rest();
}

/// Even if a child drops all its handles and guards, its parent still learns of a loss.
#[test]
fn a_child_takes_no_listener_away() {
    if !is_alone("fork::a_child_takes_no_listener_away", &[&[]]) {
        return;
    }
    let Scratch { lock, .. } = Scratch::new();
    let table = lock.path().join("table");
    let mut all = Some((lock.try_acquire(&write("a")).wait().expect("a new lock is free"), lock));
    let (guard, _) = all.as_ref().expect("just made");
    let mut lost = Polled::new(guard.lost());
    assert!(lost.poll().is_none());
    eventually("it listens", somebody_listens);
    assert_well(in_a_child(|| {
        drop(all.take());
        true
    }));
    std::fs::remove_file(&table).expect("a table");
    eventually("the parent learns of the loss", || lost.wakes() > 0);
    assert!(lost.poll().is_some());
    drop(all);
}
