//! Limits of the kernel: no more file descriptors, no more threads.

use std::{fs::File, process::Command};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use treelock::Wait;
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Error, Guard};

use crate::{
    helper::{Helper, is_alone},
    lost::somebody_listens,
    scratch::{AcquireWithin, LONG, Scratch, eventually, write},
};

/// Checks that the error says that the system has run out of something, and what was being done.
fn assert_no_more<T>(result: Result<T, Error>, errno: i32, doing: &str) {
    match result.map(drop) {
        Err(Error::Io { doing: done, source, .. }) => {
            assert_eq!((done, source.raw_os_error()), (doing, Some(errno)));
        }
        other => panic!("there is no more: {other:?}"),
    }
}

#[test]
fn no_more_file_descriptors() {
    if !is_alone("limits::no_more_file_descriptors", &[&[]]) {
        return;
    }
    use nix::libc::EMFILE;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NOFILE, 64, most).expect("less is allowed");
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut rest: Vec<File> = Vec::new();
    rest.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    let fresh = DirLock::new(lock.path());
    assert_no_more(lock.try_acquire(&write("b")).wait(), EMFILE, "open the lock table");
    assert_no_more(lock.acquire_within(&write("a"), LONG), EMFILE, "open the lock table");
    assert_no_more(lock.snapshot().wait(), EMFILE, "open the lock table");
    assert_no_more(fresh.try_acquire(&write("b")).wait(), EMFILE, "open the lock table");
    // Without inotify the thread checks by itself.
    let lost = guard.lost();
    let inherited = guard.inherit(&mut Command::new("true"));
    assert_no_more(inherited, EMFILE, "duplicate the descriptor of");
    assert!(guard.is_valid());
    // What was released can be requested again, because its descriptor is kept.
    drop(guard);
    let guard = lock.try_acquire(&write("a")).wait().expect("releasing needs no descriptor");
    rest.clear();
    assert_eq!(
        lock.snapshot().wait().expect("a table").entries.len(),
        1,
        "nothing was left behind"
    );
    drop(fresh.try_acquire(&write("b")).wait().expect("there are descriptors again"));
    drop(lost);
    let mut lost = Polled::new(guard.lost());
    assert!(lost.poll().is_none());
    eventually("it has looked once", somebody_listens);
    std::fs::remove_file(lock.path().join("table")).expect("a table");
    eventually("the thread has looked", || lost.wakes() > 0);
    assert!(lost.poll().is_some());
}

/// A request that waits for another process needs a thread. If none can be started, the request
/// fails at once and is not in the way of others.
#[test]
fn no_more_threads() {
    // No one else has this user's ID, and root has no limit.
    let user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    if !is_alone("limits::no_more_threads", &[&user]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    let own = lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NPROC, 1, most).expect("less is allowed");
    let doing = "start a thread to wait on";
    let no_more = |result: Result<Guard, Error>| assert_no_more(result, nix::libc::EAGAIN, doing);
    no_more(lock.acquire(&write("a")).wait());
    no_more(lock.acquire_within(&write("a"), LONG));
    let mut task = Polled::new(lock.acquire(&write("a")));
    no_more(task.poll().expect("it is told at once"));
    assert!(lock.try_acquire(&write("a")).wait().expect_err("it is held").blocked().is_some());
    assert_eq!(
        lock.snapshot().wait().expect("a table").entries.len(),
        2,
        "nothing was left behind"
    );
    // Nothing can listen for a loss now, and a false alarm is better than a missed loss. Later it
    // can.
    assert!(Polled::new(own.lost()).poll().is_some(), "it is told at once");
    assert!(own.is_valid(), "nothing is lost");
    let lost = own.lost();
    // Waiting for this process does not need a thread.
    let mut waits = Polled::new(lock.acquire(&write("b")));
    assert!(waits.poll().is_none());
    drop(own);
    assert!(waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
    setrlimit(Resource::RLIMIT_NPROC, most, most).expect("as it was");
    let other = lock.try_acquire(&write("c")).wait().expect("nothing is in the way");
    let mut lost_later = Polled::new(other.lost());
    assert!(lost_later.poll().is_none(), "a listener exists");
    assert!(Polled::new(lost).poll().is_none(), "released, not lost");
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    assert!(holder.end().success());
    eventually("it is woken", || waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
}

/// A handle keeps some of the files that it opened, but not all that a crowd needed.
#[test]
fn a_crowd_leaves_few_descriptors() {
    if !is_alone("limits::a_crowd_leaves_few_descriptors", &[&[]]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let one = descriptors();
    let ask =
        |i: usize| lock.try_acquire(&write(&i.to_string())).wait().expect("nothing is in the way");
    let crowd: Vec<_> = (0..50).map(ask).collect();
    assert!(descriptors() >= one + 49, "each has one of its own");
    drop(crowd);
    assert_eq!(descriptors(), one + 15);
}

/// A closed lock keeps no unused file or thread, and can be used again.
#[test]
fn a_closed_lock_keeps_nothing() {
    if !is_alone("limits::a_closed_lock_keeps_nothing", &[&[]]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let before = descriptors();
    for _ in 0..3 {
        let ask = |i: usize| {
            lock.try_acquire(&write(&i.to_string())).wait().expect("nothing is in the way")
        };
        let mut crowd: Vec<_> = (0..5).map(ask).collect();
        let lost = crowd[0].lost();
        eventually("it listens", somebody_listens);
        let held = crowd.pop().expect("there are five");
        drop((crowd, lost));
        lock.close().wait();
        assert!(held.is_valid(), "what is held stays held");
        assert!(lock.try_acquire(&write("4")).wait().is_err(), "what is held stays held");
        drop(held);
        lock.close().wait();
        eventually("all is closed", || descriptors() == before);
        assert!(!somebody_listens());
    }
}
