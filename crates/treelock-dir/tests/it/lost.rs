//! Learning that the lock was lost (C21).

use std::{
    fs,
    future::Future,
    io,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use treelock::Wait;
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Guard};

use crate::{
    helper::{Helper, is_alone},
    scratch::{AcquireWithin, LONG, Scratch, eventually, write},
};

fn lost(guard: &Guard) -> Polled<()> {
    Polled::new(guard.lost())
}

fn assert_resolves(lost: &mut Polled<()>) {
    eventually("it learns of the loss", || lost.wakes() > 0);
    assert!(lost.poll().is_some());
}

/// A way to remove a table from its place.
type Lose = fn(&Scratch) -> io::Result<()>;

const WAYS: [(&str, Lose); 5] = [
    ("the table is removed", |scratch| fs::remove_file(scratch.table())),
    ("the table is renamed", |scratch| fs::rename(scratch.table(), scratch.path().join("old"))),
    ("another is put in its place", |scratch| {
        let other = scratch.path().join("other");
        fs::copy(scratch.table(), &other)?;
        fs::rename(other, scratch.table())
    }),
    ("the directory is removed", |scratch| fs::remove_dir_all(scratch.lock.path())),
    ("the directory is renamed", |scratch| {
        fs::rename(scratch.lock.path(), scratch.path().join("elsewhere"))
    }),
];

#[test]
fn a_holder_learns_of_every_loss() {
    for (way, lose) in WAYS {
        let scratch = Scratch::new();
        let one = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        let two = scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
        let [mut first, mut second, mut moved] = [lost(&one), lost(&one), lost(&two)];
        let mut given_up = lost(&two);
        assert!(given_up.poll().is_none());
        drop(given_up);
        for future in [&mut first, &mut second, &mut moved] {
            assert!(future.poll().is_none(), "nothing has happened yet");
        }
        assert!(moved.poll_elsewhere().is_none());
        lose(&scratch).expect("a scratch directory");
        [&mut first, &mut second, &mut moved].into_iter().for_each(assert_resolves);
        assert!(!one.is_valid() && !two.is_valid(), "{way}");
        // A future that is created later knows it at once.
        let mut late = lost(&one);
        eventually("the loss is known", || late.poll().is_some());
        // And there is a new, empty table, for a handle that has not just seen the old one.
        eventually("the new table is used", || {
            scratch.lock.try_acquire(&write("a")).wait().is_ok()
        });
    }
}

#[test]
fn a_directory_above_is_renamed() {
    let scratch = Scratch::new();
    let above = scratch.path().join("above");
    let lock = DirLock::new(above.join("deep/locks"));
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut lost = lost(&guard);
    assert!(lost.poll().is_none());
    fs::rename(&above, scratch.path().join("elsewhere")).expect("a scratch directory");
    assert_resolves(&mut lost);
}

/// A holder that starts to listen only after the loss still learns of it.
#[test]
fn a_loss_before_anybody_listened() {
    for (way, lose) in WAYS.into_iter().filter(|(way, _)| !way.contains("directory")) {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        lose(&scratch).expect("a scratch directory");
        let mut lost = lost(&guard);
        if lost.poll().is_none() {
            assert_resolves(&mut lost);
        }
        assert!(!guard.is_valid(), "{way}");
    }
}

/// Other changes in the directory, or to the table's permissions, are not a loss.
#[test]
fn other_changes_are_no_loss() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut lost = lost(&guard);
    assert!(lost.poll().is_none());
    for _ in 0..50 {
        let other = scratch.lock.path().join("other");
        fs::write(&other, "").expect("room");
        fs::rename(&other, other.with_extension("old")).expect("a scratch directory");
        fs::remove_file(other.with_extension("old")).expect("a scratch directory");
        drop(scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way"));
        assert!(lost.poll().is_none() && guard.is_valid());
    }
    fs::remove_file(scratch.table()).expect("a table");
    assert_resolves(&mut lost);
}

/// A released guard has lost nothing, whatever happens to the table later.
#[test]
fn a_lock_that_was_released_is_never_lost() {
    let scratch = Scratch::new();
    let released = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let held = scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    let [mut never, mut unpolled, mut lost] = [lost(&released), lost(&released), lost(&held)];
    assert!(never.poll().is_none() && lost.poll().is_none());
    drop(released);
    fs::remove_file(scratch.table()).expect("a table");
    assert_resolves(&mut lost);
    assert!(never.poll().is_none(), "it was released before the table was removed");
    assert!(unpolled.poll().is_none(), "it was released before the table was removed");
}

/// Returns whether exactly one thread of this process is the listener and is asleep, according to
/// `/proc`.
pub(crate) fn somebody_listens() -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc").filter_map(Result::ok);
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let listeners: Vec<String> = stats.filter(|stat| stat.contains("(treelock-lost)")).collect();
    listeners.len() == 1 && listeners[0].contains(") S ")
}

/// A holder that polled before the loss and only listens afterwards learns of every kind of loss.
#[test]
fn one_who_listens_hears_of_every_loss() {
    if !is_alone("lost::one_who_listens_hears_of_every_loss", &[&[]]) {
        return;
    }
    let above: Lose = |scratch| fs::rename(scratch.path(), scratch.path().with_extension("old"));
    for (way, lose) in WAYS.into_iter().chain([("a directory above is renamed", above)]) {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        let mut lost = lost(&guard);
        assert!(lost.poll().is_none());
        eventually("it listens", somebody_listens);
        lose(&scratch).expect("a scratch directory");
        eventually(way, || lost.wakes() > 0);
        assert!(lost.poll().is_some());
        // Gives the scratch directory its name back, without which it would not be removed.
        let _ = fs::rename(scratch.path().with_extension("old"), scratch.path());
    }
}

/// Returns the names of the threads of this process that begin with `treelock`.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc");
    let name =
        |task: io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
    let mut names: Vec<String> = tasks.filter_map(name).map(|name| name.trim().into()).collect();
    names.retain(|name| name.starts_with("treelock"));
    names.sort_unstable();
    names
}

/// The threads that listen and wait end when there is nothing left to listen to or to wait for, and
/// close their descriptors.
#[test]
fn no_thread_is_left() {
    if !is_alone("lost::no_thread_is_left", &[&[]]) {
        return;
    }
    let descriptors = || fs::read_dir("/proc/self/fd").expect("/proc").count();
    let before = descriptors();
    for _ in 0..4 {
        let scratch = Scratch::new();
        let mut holder = Helper::holding(&scratch.lock, "other");
        let lock = DirLock::new(scratch.lock.path());
        let guard = lock.try_acquire(&write("a")).wait().expect("nothing is in the way");
        let [mut one, mut two] = [lost(&guard), lost(&guard)];
        assert!(one.poll().is_none() && two.poll().is_none());
        let mut waits = Polled::new(lock.acquire(&write("other")));
        assert!(waits.poll().is_none());
        // A thread sets its own name when it starts.
        let all = ["treelock-listen", "treelock-lost", "treelock-watch"];
        eventually("each has begun", || threads() == all);
        drop((guard, waits, one));
        assert!(holder.end().success());
        eventually("the threads that waited end", || threads() == ["treelock-lost"]);
        // Another guard of the same table does not need a thread of its own.
        let guard = lock.acquire_within(&write("a"), LONG).expect("nothing is in the way");
        let mut three = lost(&guard);
        assert!(three.poll().is_none());
        assert_eq!(threads(), ["treelock-lost"]);
        drop((lock, guard, two, three));
        eventually("the thread that listened ends", || threads().is_empty());
    }
    eventually("all is closed", || descriptors() == before);
}

/// A future that is dropped, or polled by another task, drops the waker that it was given before.
#[test]
fn no_waker_is_kept() {
    struct Quiet;
    impl Wake for Quiet {
        fn wake(self: Arc<Self>) {}
    }
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let [one, two] = [(); 2].map(|()| Arc::new(Quiet));
    let mut lost = Box::pin(guard.lost());
    for quiet in [&one, &two] {
        let waker = Waker::from(quiet.clone());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 2));
    drop(lost);
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
}
