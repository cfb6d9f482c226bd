//! Disks and their contents: full, read-only, owned by others, and non-files in the table's place.
//!
//! A disk that can be filled is a small one in memory, mounted by a process with its own mount
//! namespace.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use treelock::{Request, Wait, engine::Severity};
use treelock_dir::{DirLock, Error, Guard};

use crate::{
    helper::is_alone,
    scratch::{AcquireWithin, LONG, Scratch, long, write},
};

/// Returns whether this process may mount, because it was started for a test; see [`is_alone`].
fn may_mount(test: &str) -> bool {
    let ways: [&[&str]; 2] = [&["unshare", "--mount"], &["unshare", "--map-root-user", "--mount"]];
    is_alone(test, &ways)
}

fn mount(options: &str, what: &Path, at: &Path) {
    fs::create_dir_all(at).expect("a scratch directory");
    let mut mount = Command::new("mount");
    let status = mount.args(options.split(' ')).arg(what).arg(at).status();
    assert!(status.expect("mount is everywhere").success(), "mount {options} at {at:?}");
}

/// Returns a lock on a new disk of this size; the lock has not been created yet.
fn small_disk(scratch: &Scratch, size: &str) -> DirLock {
    let disk = scratch.path().join("disk");
    mount(&format!("-t tmpfs -o size={size}"), Path::new("none"), &disk);
    DirLock::new(disk.join("locks"))
}

/// Fills the disk to the last byte.
fn fill(lock: &DirLock) -> std::path::PathBuf {
    let path = lock.path().with_file_name("filler");
    let mut filler = File::create(&path).expect("an empty file needs no room");
    while let Ok(1..) = filler.write(&[1; 4096]) {}
    path
}

fn assert_full(error: &Error) {
    let full = matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull);
    assert!(full && error.to_string().contains("; free some space, or use"), "{error}");
}

#[test]
fn a_table_cannot_be_made_on_a_full_disk() {
    if !may_mount("disks::a_table_cannot_be_made_on_a_full_disk") {
        return;
    }
    let lock = small_disk(&Scratch::new(), "64k");
    let filler = fill(&lock);
    for _ in 0..3 {
        assert_full(&lock.try_acquire(&write("a")).wait().expect_err("the disk is full"));
        assert_full(&lock.acquire_within(&write("a"), LONG).expect_err("the disk is full"));
        assert!(lock.snapshot().wait().expect("an empty table").entries.is_empty());
        let found = lock.check().wait().expect("a directory that can be checked");
        assert!(found.iter().any(|f| f.to_string().contains("free some space")), "{found:?}");
        assert!(!lock.path().exists() || !lock.path().join("table").exists(), "made by nobody");
    }
    fs::remove_file(filler).expect("made above");
    drop(lock.try_acquire(&write("a")).wait().expect("there is room"));
    drop(DirLock::new(lock.path()).try_acquire(&write("a")).wait().expect("it is a good table"));
}

#[test]
fn a_table_that_cannot_grow() {
    if !may_mount("disks::a_table_that_cannot_grow") {
        return;
    }
    let lock = small_disk(&Scratch::new(), "300k");
    let first = lock.try_acquire(&write("first")).wait().expect("a new lock is free");
    let filler = fill(&lock);
    let ask = |number: usize| lock.try_acquire(&write(&format!("dir/{number}"))).wait();
    let mut guards: Vec<Guard> = (0..).map_while(|number| ask(number).ok()).collect();
    assert!(!guards.is_empty(), "a new table has room for some");
    for _ in 0..3 {
        assert_full(&ask(10_000).expect_err("there is no room"));
        assert_full(&lock.acquire_within(&write("first"), LONG).expect_err("there is no room"));
        let live = lock.snapshot().wait().expect("a table").entries.len();
        assert_eq!(live, guards.len() + 1, "nothing of the refused request is left");
        let found = lock.check().wait().expect("a directory that can be checked");
        assert!(found.iter().any(|finding| finding.what.contains("bytes are left")), "{found:?}");
    }
    // Releasing works, and makes room for the same amount.
    drop(guards.pop());
    assert_full(
        &lock.try_acquire(&long("long")).wait().expect_err("there is no room for several cells"),
    );
    guards.push(ask(10_001).expect("one has left"));
    assert_full(&ask(10_002).expect_err("there is no room"));
    // One that waits takes a place too, and is granted without room.
    let held = guards.swap_remove(0);
    drop(guards.pop());
    let mut waits = lock.acquire(held.request());
    assert!(waits.wait_timeout(Duration::ZERO).is_none(), "it is held");
    assert_full(&ask(10_003).expect_err("there is no room"));
    drop(held);
    guards.push(waits.wait_timeout(LONG).expect("it is free").expect("it needs no room"));
    assert_eq!(lock.snapshot().wait().expect("a table").held().count(), guards.len() + 1);
    fs::remove_file(filler).expect("made above");
    guards.extend((20_000..20_100).map(|number| ask(number).expect("there is room again")));
    assert_eq!(lock.snapshot().wait().expect("a table").entries.len(), guards.len() + 1);
    drop((guards, first));
    drop(lock.try_acquire(&write("/")).wait().expect("all have left"));
}

fn assert_read_only(error: &Error) {
    let kind = ErrorKind::ReadOnlyFilesystem;
    let told = matches!(error, Error::Io { source, .. } if source.kind() == kind);
    assert!(told && error.to_string().contains("; use a writable directory"), "{error}");
}

/// A disk is mounted twice, once read-only. There the table can be read, and nothing more.
#[test]
fn a_read_only_disk() {
    if !may_mount("disks::a_read_only_disk") {
        return;
    }
    let scratch = Scratch::new();
    let lock = small_disk(&scratch, "1m");
    let view = scratch.path().join("view");
    mount("--bind", lock.path().parent().expect("a disk"), &view);
    mount("-o remount,bind,ro", Path::new("none"), &view);
    let nothing = DirLock::new(view.join("locks"));
    assert_read_only(
        &nothing.try_acquire(&write("a")).wait().expect_err("nothing can be made here"),
    );
    assert!(nothing.snapshot().wait().expect("there is no table").entries.is_empty());
    let guard = lock.try_acquire(&write("a").with_label("me")).wait().expect("a new lock is free");
    let looker = DirLock::new(view.join("locks"));
    assert_read_only(&looker.try_acquire(&write("b")).wait().expect_err("it cannot be written"));
    let snapshot = looker.snapshot().wait().expect("it can be read");
    assert_eq!(snapshot.held().count(), 1);
    let blocked =
        looker.blocked(&write("a/b")).wait().expect("it can be read").expect("it is held");
    assert_eq!(blocked.label.as_deref(), Some("me"));
    assert_eq!(looker.processes(guard.ticket()).expect("/proc"), [std::process::id()]);
    let found = looker.check().wait().expect("a directory that can be checked");
    assert_eq!(found.iter().map(|f| f.severity).max(), Some(Severity::Bad), "{found:?}");
    drop(guard);
    assert!(looker.snapshot().wait().expect("it can be read").entries.is_empty());
}

/// A symbolic link, which is not followed, wherever it leads; a directory; and a pipe, which does
/// not block a request.
#[test]
fn what_is_no_file_is_refused_and_kept() {
    type Make = fn(&Scratch);
    let make: [(&str, Make); 4] = [
        ("a link to a table", |scratch| {
            let other = Scratch::new();
            other.assert_at_rest();
            fs::rename(other.table(), scratch.path().join("target")).expect("a scratch file");
            symlink(scratch.path().join("target"), scratch.table()).expect("a scratch directory");
        }),
        ("a link to nothing", |scratch| {
            symlink(scratch.path().join("nothing"), scratch.table()).expect("a scratch directory");
        }),
        ("a directory", |scratch| fs::create_dir(scratch.table()).expect("a scratch directory")),
        ("a pipe", |scratch| {
            let status = Command::new("mkfifo").arg(scratch.table()).status();
            assert!(status.expect("mkfifo is everywhere").success());
        }),
    ];
    for (what, make) in make {
        let scratch = Scratch::new();
        fs::create_dir(scratch.lock.path()).expect("a scratch directory");
        make(&scratch);
        let refuses = |how: &str, asked: fn(DirLock) -> bool| {
            let (lock, (sender, receiver)) = (scratch.lock.clone(), channel());
            thread::spawn(move || sender.send(asked(lock)));
            let refused = receiver.recv_timeout(LONG);
            assert_eq!(refused, Ok(true), "{what}: {how} hangs, or is not refused");
        };
        refuses("try", |lock| lock.try_acquire(&write("a")).wait().is_err());
        refuses("asking", |lock| lock.acquire(&Request::new()).wait().is_err());
        refuses("looking", |lock| lock.snapshot().wait().is_err());
        refuses("a check", |lock| {
            let found = lock.check().wait().expect("a directory that can be checked");
            found.iter().any(|finding| finding.severity == Severity::Bad)
        });
        let kept = fs::symlink_metadata(scratch.table()).expect("it is still there");
        assert!(!kept.is_file(), "{what} was replaced");
        assert!(!scratch.path().join("nothing").exists(), "a link was followed");
    }
}

/// A disk with hardly any space left is reported as odd before it is full.
#[test]
fn a_small_disk_is_odd() {
    if !may_mount("disks::a_small_disk_is_odd") {
        return;
    }
    for (size, odd) in [("512k", true), ("8m", false)] {
        let found = small_disk(&Scratch::new(), size)
            .check()
            .wait()
            .expect("a directory that can be checked");
        let left = found.iter().any(|finding| finding.what.contains("bytes are left"));
        assert_eq!(left, odd, "{size}: {found:?}");
        assert!(found.iter().all(|finding| finding.severity < Severity::Bad), "{found:?}");
    }
}
