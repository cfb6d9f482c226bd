//! Bad neighbours: what processes, disks and people do to a lock table.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use treelock::Request;
use treelock_dir::{DirLock, Error, Severity};

fn scratch() -> (TempDir, DirLock) {
    let scratch = tempfile::tempdir().expect("a place for temporary files");
    let lock = DirLock::new(scratch.path().join("locks"));
    (scratch, lock)
}

fn write(node: &str) -> Request {
    Request::new().write(node).expect("a good node")
}

/// More than anything here takes, so that only what is lost is late.
const LONG: Duration = Duration::from_secs(20);

/// Another process that holds a lock until it is told to end, or is killed.
struct Other {
    child: Child,
    _input: ChildStdin,
}

/// This test binary again, as a process that holds `node` in `directory` until its input ends.
fn other(lock: &DirLock, node: &str) -> Other {
    let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
        .args(["neighbours::other_process", "--exact", "--nocapture", "--include-ignored"])
        .env("TREELOCK_TEST_DIR", lock.path())
        .env("TREELOCK_TEST_NODE", node)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let input = child.stdin.take().expect("piped");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let held = lines.map_while(Result::ok).any(|line| line.contains("it holds"));
    assert!(held, "the other process ended without the lock");
    Other { child, _input: input }
}

/// Not a test: what [`other`] starts.
#[test]
#[ignore = "a process that other tests start"]
fn other_process() {
    let Some(directory) = std::env::var_os("TREELOCK_TEST_DIR") else { return };
    let node = std::env::var("TREELOCK_TEST_NODE").expect("set with the directory");
    let guard =
        DirLock::new(directory).acquire_blocking(&write(&node)).expect("a table that works");
    println!("it holds");
    std::io::stdout().flush().expect("somebody listens");
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(guard);
}

/// C22: killed while it holds, its place is free at once, and nothing is left that anybody trips over.
#[test]
fn a_killed_holder_frees_its_place() {
    let (_scratch, lock) = scratch();
    let mut holder = other(&lock, "a");
    let error = lock.try_acquire(&write("a/b")).expect_err("somebody holds it");
    let process = error.blocked().and_then(|blocked| blocked.process.clone());
    assert_eq!(process.map(|process| process.pid), Some(holder.child.id()));
    holder.child.kill().expect("our child");
    let guard = lock.acquire_timeout(&write("a/b"), LONG).expect("free when it is dead");
    holder.child.wait().expect("our child");
    assert_eq!(lock.snapshot().expect("a table").entries.len(), 1);
    drop(guard);
    assert!(lock.snapshot().expect("a table").entries.is_empty());
}

/// A child that inherited the lock keeps it when its parent is killed, and is found.
#[test]
fn a_child_keeps_the_lock() {
    let (_scratch, lock) = scratch();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut sleep = Command::new("sleep");
    guard.inherit(sleep.arg("600")).expect("a free descriptor");
    let mut child = sleep.spawn().expect("sleep is everywhere");
    drop(sleep);
    let mut both = vec![std::process::id(), child.id()];
    both.sort_unstable();
    assert_eq!(lock.processes(guard.ticket()).expect("/proc"), both);
    // Dropping the guard releases for the child too.
    drop(guard);
    drop(lock.try_acquire(&write("a")).expect("released"));
    // A guard that is never dropped is as one whose process was killed.
    let ticket = {
        let guard = lock.try_acquire(&write("a")).expect("free again");
        let ticket = guard.ticket();
        std::mem::forget(guard);
        ticket
    };
    assert_eq!(lock.processes(ticket).expect("/proc"), [std::process::id()]);
    child.kill().expect("our child");
    child.wait().expect("our child");
}

#[test]
fn garbage_in_a_record_counts_as_a_write_on_everything() {
    let (scratch, lock) = scratch();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let table = fs::OpenOptions::new().write(true).open(scratch.path().join("locks/table"));
    table.expect("the table").write_all_at(&[0xff; 200], 256 + 48).expect("room");
    assert!(lock.try_acquire(&write("b")).is_err(), "nobody knows what it is");
    let found = lock.check().expect("a place that can be looked at");
    assert!(found.iter().any(|f| f.severity == Severity::Odd && f.what.contains("damaged")));
    drop(guard);
    drop(lock.try_acquire(&write("b")).expect("its owner has left"));
}

#[test]
fn what_is_not_a_table_is_refused_and_kept() {
    let (scratch, lock) = scratch();
    fs::create_dir(scratch.path().join("locks")).expect("a scratch directory");
    let path = scratch.path().join("locks/table");
    let text = "a list of tables and chairs\n".repeat(100);
    fs::write(&path, &text).expect("room");
    let error = lock.try_acquire(&write("a")).expect_err("not a table");
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert!(lock.snapshot().is_err());
    assert_eq!(fs::read_to_string(&path).expect("still there"), text);
}

#[test]
fn a_table_cut_short_in_use_is_refused_until_its_users_have_left() {
    let (scratch, lock) = scratch();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let table = fs::OpenOptions::new().write(true).open(scratch.path().join("locks/table"));
    table.expect("the table").set_len(0).expect("a scratch file");
    let another = DirLock::new(lock.path());
    for lock in [&lock, &another] {
        let error = lock.try_acquire(&write("b")).expect_err("nobody knows who holds what");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    let before = guard.token();
    drop(guard);
    let guard = another.try_acquire(&write("a")).expect("nobody uses it any more");
    assert!(guard.token() > before);
}

/// C20: tokens grow, also when the directory is emptied by hand, and the holder learns of it (C21).
#[test]
fn tokens_grow_when_the_directory_is_emptied() {
    let (scratch, lock) = scratch();
    let mut last = treelock::FencingToken(0);
    for _ in 0..3 {
        for _ in 0..3 {
            let guard = lock.try_acquire(&write("a")).expect("free");
            assert!(guard.token() > last);
            last = guard.token();
        }
        let guard = lock.try_acquire(&write("a")).expect("free");
        fs::remove_file(scratch.path().join("locks/table")).expect("a table");
        assert!(!guard.is_valid());
        last = guard.token();
    }
}

#[test]
fn a_waiter_whose_table_is_replaced_is_told() {
    let (scratch, lock) = scratch();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.acquire_timeout(&write("a"), LONG));
        while lock.snapshot().expect("a table").waiting().count() == 0 {
            std::thread::yield_now();
        }
        fs::remove_file(scratch.path().join("locks/table")).expect("a table");
        drop(guard);
        let error = waiter.join().expect("no panic").expect_err("its place is lost");
        assert!(error.is_lost(), "{error}");
    });
}

/// More live requests than a new table has room for: it grows, and shows them all.
#[test]
fn a_thousand_live_tickets() {
    let (_scratch, lock) = scratch();
    // Two processes' worth of descriptors would be more than the usual limit, so fewer than it are open.
    let guards: Vec<_> = (0..400)
        .map(|i| lock.try_acquire(&write(&format!("dir/{i}"))).expect("unrelated"))
        .collect();
    let error = lock.try_acquire(&write("dir")).expect_err("all are below");
    assert_eq!(error.blocked().expect("blocked").ahead, guards.len());
    assert_eq!(lock.snapshot().expect("a table").held().count(), guards.len());
    drop(guards);
    drop(lock.try_acquire(&write("dir")).expect("all have left"));
}

#[test]
fn no_directory_no_requests() {
    let (_scratch, lock) = scratch();
    assert!(lock.snapshot().expect("nothing to read").entries.is_empty());
    assert!(!lock.path().exists(), "looking makes nothing");
    let below_a_file = DirLock::new("/dev/null/locks");
    let error = below_a_file.try_acquire(&write("a")).expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/locks"), "{error}");
}
