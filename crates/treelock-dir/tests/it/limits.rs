//! Limits of the kernel: no more file descriptors, no more threads.

use std::{fs::File, process::Command, time::Duration};

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
    // Who joins, looks, or passes a lock on needs a descriptor. Who only asks and waits does not.
    assert_no_more(fresh.try_acquire(&write("b")).wait(), EMFILE, "open the lock table");
    assert_no_more(fresh.acquire_within(&write("a"), LONG), EMFILE, "open the lock table");
    assert_no_more(lock.snapshot().wait(), EMFILE, "open the lock table");
    // Without inotify the thread checks by itself.
    let lost = guard.lost();
    let inherited = guard.inherit(&mut Command::new("true"));
    assert_no_more(inherited, EMFILE, "open the lock table");
    assert!(guard.is_valid());
    let crowd: Vec<Guard> = (0..200)
        .map(|i| lock.try_acquire(&write(&format!("b/{i}"))).wait().expect("it needs none"))
        .collect();
    let refused = lock.acquire_within(&write("a"), Duration::from_millis(1));
    assert!(refused.expect_err("it is held").blocked().is_some());
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    drop((guard, crowd));
    eventually("it is woken", || waits.wakes() > 0);
    let guard = waits.poll().expect("it is granted").expect("waiting needs no descriptor");
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

/// If no thread can be started, a request that blocks its own thread waits all the same, and
/// notices the death of others. A future cannot be woken, so it fails at once and is not in the way
/// of others.
#[test]
fn no_more_threads() {
    // No one else has this user's ID, and root has no limit.
    let user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    if !is_alone("limits::no_more_threads", &[&user]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    let [mut holder, mut later] = ["a", "d"].map(|node| Helper::holding(lock, node));
    let own = lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    let (_, most) = getrlimit(Resource::RLIMIT_NPROC).expect("there is a limit");
    setrlimit(Resource::RLIMIT_NPROC, 1, most).expect("less is allowed");
    let doing = "start a thread to wait on";
    let no_more = |result: Result<Guard, Error>| assert_no_more(result, nix::libc::EAGAIN, doing);
    for node in ["a", "b", "d"] {
        let mut task = Polled::new(lock.acquire(&write(node)));
        no_more(task.poll().expect("it is told at once"));
    }
    let limited = lock.acquire_within(&write("a"), Duration::from_millis(30));
    assert!(limited.expect_err("it is held").blocked().is_some());
    assert!(lock.try_acquire(&write("a")).wait().expect_err("it is held").blocked().is_some());
    assert_eq!(
        lock.snapshot().wait().expect("a table").entries.len(),
        3,
        "nothing was left behind"
    );
    holder.strike();
    drop(lock.acquire_within(&write("a"), LONG).expect("the holder is dead"));
    // Nothing can listen for a loss now, and a false alarm is better than a missed loss. Later it
    // can.
    assert!(Polled::new(own.lost()).poll().is_some(), "it is told at once");
    assert!(own.is_valid(), "nothing is lost");
    let lost = own.lost();
    drop(own);
    setrlimit(Resource::RLIMIT_NPROC, most, most).expect("as it was");
    let other = lock.try_acquire(&write("c")).wait().expect("nothing is in the way");
    let mut lost_later = Polled::new(other.lost());
    assert!(lost_later.poll().is_none(), "a listener exists");
    assert!(Polled::new(lost).poll().is_none(), "released, not lost");
    let mut waits = Polled::new(lock.acquire(&write("d")));
    assert!(waits.poll().is_none());
    assert!(later.end().success());
    eventually("it is woken", || waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
}

/// Requests need no descriptors of their own.
#[test]
fn a_crowd_has_few_descriptors() {
    if !is_alone("limits::a_crowd_has_few_descriptors", &[&[]]) {
        return;
    }
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let one = descriptors();
    let crowd = scratch.crowd(500);
    let locks = Scratch::locks_of_this_process();
    assert_eq!((descriptors(), locks), (one, 1));
    drop(crowd);
    assert_eq!(descriptors(), one);
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
