//! Users that share a directory, or are not allowed to. These tests need root, in order to become
//! other users.

use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    thread,
};

use nix::sys::stat::Mode;
use treelock::{Wait, engine::Severity};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::{Helper, Part, is_alone, is_possible},
    scratch::{Scratch, eventually, write},
};

const ONE: [&str; 6] = ["setpriv", "--reuid", "54301", "--regid", "54301", "--clear-groups"];
/// The command that runs a program as root.
const ROOT: [&str; 3] = ["setpriv", "--reuid", "0"];
const TWO: [&str; 6] = ["setpriv", "--reuid", "54302", "--regid", "54302", "--clear-groups"];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own file");
}

/// Returns a lock whose directory was created with these permissions, in a place that every user
/// can reach.
fn shared(mode: u32) -> Scratch {
    let scratch = Scratch::new();
    set_mode(scratch.path(), 0o755);
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    set_mode(scratch.lock.path(), mode);
    scratch
}

/// Starts a process that requests a node as this user, with a umask that hides its files from
/// others.
fn asking(user: &[&str], lock: &DirLock, node: &str) -> Helper {
    let secretive = ["sh", "-c", r#"umask 077; exec "$0" "$@""#];
    let wrap: Vec<&str> = user.iter().chain(&secretive).copied().collect();
    Part::wrapped(&wrap, "hold", lock.path(), node).start()
}

/// Two users exclude each other, whatever their umask and whichever came first.
#[test]
fn two_users_share_a_directory() {
    if !is_possible(&ONE) || !is_possible(&TWO) {
        return;
    }
    for mode in [0o777, 0o1777] {
        for [first, second] in [[&ONE, &TWO], [&TWO, &ONE]] {
            let scratch = shared(mode);
            let lock = &scratch.lock;
            let mut holder = asking(first, lock, "a");
            holder.expect("holds");
            asking(second, lock, "b").expect("holds");
            let waiter = asking(second, lock, "a/b");
            let waiters = || lock.snapshot().wait().expect("a table").waiting().count();
            eventually("the other user waits", || waiters() == 1);
            let pids: Vec<u32> = lock.processes(1).expect("/proc");
            assert_eq!(pids, [holder.pid()], "root sees whose ticket it is");
            assert!(holder.end().success());
            waiter.expect("holds");
            let odd = lock.check().wait().expect("a directory that can be checked");
            let odd = odd.iter().any(|f| f.severity == Severity::Odd && f.what.contains("remove"));
            assert_eq!(odd, mode == 0o777, "who may remove the table?");
        }
    }
}

/// In a world-writable directory where no user may remove the files of others, Linux can be
/// configured to refuse opening another user's file with `O_CREAT` (`fs.protected_regular`, as
/// systemd sets it).
#[test]
fn two_users_share_a_protected_directory() {
    let protected = fs::read_to_string("/proc/sys/fs/protected_regular").unwrap_or_default();
    if matches!(protected.trim(), "" | "0") {
        return println!("not tested here: fs.protected_regular is {:?}", protected.trim());
    }
    if !is_possible(&ONE) || !is_possible(&TWO) {
        return;
    }
    let scratch = shared(0o1777);
    asking(&ONE, &scratch.lock, "a").expect("holds");
    asking(&TWO, &scratch.lock, "b").expect("holds");
}

/// Two users create a table at the same moment: neither finds a half-made table of the other.
#[test]
fn two_users_make_a_table_at_once() {
    if !is_possible(&ONE) || !is_possible(&TWO) {
        return;
    }
    let scratch = shared(0o777);
    let start = |user| Part::wrapped(user, "make", scratch.lock.path(), "").start();
    let mut makers = [start(&ONE), start(&TWO)];
    for round in 0..300 {
        let name = round.to_string();
        let directory = scratch.lock.path().join(&name);
        fs::create_dir(&directory).expect("a scratch directory");
        set_mode(&directory, 0o777);
        makers.iter_mut().for_each(|maker| maker.tell(&name));
        for maker in &mut makers {
            assert_eq!(maker.line().as_deref(), Some("made"), "round {round}");
        }
    }
}

fn assert_denied<T>(result: Result<T, Error>) {
    match result.map(drop) {
        Err(error @ Error::Io { .. }) => {
            let Error::Io { source, .. } = &error else { unreachable!("as matched") };
            assert_eq!(source.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(error.to_string().contains("; use a directory that you may write"), "{error}");
        }
        other => panic!("not allowed: {other:?}"),
    }
}

/// A user who may read may look; a user who may not even read gets an error that says so.
#[test]
fn a_directory_without_rights() {
    // Root may do everything, so it becomes another user. Any other user need not.
    let user: &[&str] = if nix::unistd::geteuid().is_root() { &ONE } else { &[] };
    if !is_alone("users::a_directory_without_rights", &[user]) {
        return;
    }
    let scratch = Scratch::new();
    let (lock, directory) = (&scratch.lock, scratch.lock.path());
    fs::create_dir(directory).expect("a scratch directory");
    set_mode(directory, 0o500);
    assert_denied(lock.try_acquire(&write("a")).wait());
    assert!(lock.snapshot().wait().expect("there is no table").entries.is_empty());
    set_mode(directory, 0o700);
    let guard = lock.try_acquire(&write("a")).wait().expect("it may be made now");
    set_mode(&scratch.table(), 0o400);
    set_mode(directory, 0o500);
    let looker = DirLock::new(directory);
    assert_denied(looker.try_acquire(&write("b")).wait());
    assert_eq!(looker.snapshot().wait().expect("it can be read").held().count(), 1);
    assert!(looker.blocked(&write("a")).wait().expect("it can be read").is_some());
    let found = looker.check().wait().expect("a directory that can be checked");
    assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{found:?}");
    set_mode(directory, 0o000);
    assert_denied(looker.try_acquire(&write("b")).wait());
    assert_denied(looker.snapshot().wait());
    set_mode(directory, 0o700);
    set_mode(&scratch.table(), 0o600);
    drop(guard);
    drop(looker.try_acquire(&write("a")).wait().expect("it may be written again"));
}

/// Returns what `check` says first about the permissions of a directory and its table.
fn said_of_rights(directory: u32, table: u32, above: u32) -> (Severity, String) {
    let scratch = Scratch::new();
    let parent = scratch.path().join("above");
    let lock = DirLock::new(parent.join("locks"));
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    set_mode(&lock.path().join("table"), table);
    set_mode(lock.path(), directory);
    set_mode(&parent, above);
    let found = lock.check().wait().expect("a directory that can be checked");
    let finding = found.into_iter().nth(1).expect("the second is about rights");
    (finding.severity, format!("{}; {}", finding.what, finding.advice))
}

#[test]
fn rights_that_do_not_fit_are_odd() {
    for (directory, table, above, odd) in [
        (0o700, 0o600, 0o755, None),
        (0o2770, 0o660, 0o755, None),
        (0o1777, 0o666, 0o1777, None),
        (0o777, 0o666, 0o755, Some("any user may remove the table")),
        (0o770, 0o600, 0o755, Some("is open to more users than its table (mode 600)")),
        (0o755, 0o666, 0o755, Some("the table is open to more users (mode 666) than")),
        (0o755, 0o644, 0o755, Some("any user who may read it can stop all others from locking")),
        (0o700, 0o600, 0o777, Some("any user may replace")),
    ] {
        let (severity, said) = said_of_rights(directory, table, above);
        let expected = if odd.is_some() { Severity::Odd } else { Severity::Good };
        assert_eq!(severity, expected, "{directory:o} {table:o} {above:o}: {said}");
        assert!(odd.is_none_or(|odd| said.contains(odd)), "{said}");
    }
}

/// The table in a group's directory belongs to the group, even if new files in the directory do not
/// inherit its group.
#[test]
fn a_table_belongs_to_the_group_of_its_directory() {
    if !is_alone("users::a_table_belongs_to_the_group_of_its_directory", &[&ROOT]) {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    chown(scratch.lock.path(), None, Some(54303)).expect("root may");
    set_mode(scratch.lock.path(), 0o770);
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let table = fs::metadata(scratch.table()).expect("a table");
    assert_eq!((table.gid(), table.mode() & 0o777), (54303, 0o660));
}

/// A user who may not write to the directory may not read the table either, and so cannot hold the
/// latch forever.
#[test]
fn a_table_is_for_those_who_may_write_its_directory() {
    for (directory, table) in [(0o700, 0o600), (0o755, 0o600), (0o775, 0o660), (0o1777, 0o666)] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.lock.path()).expect("a scratch directory");
        set_mode(scratch.lock.path(), directory);
        drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
        let found = fs::metadata(scratch.table()).expect("a table").mode() & 0o777;
        assert_eq!(found, table, "{directory:o}: {found:o}");
    }
}

/// A table that is started in an empty file, left by a process that was about to create it, has the
/// permissions of a new one.
#[test]
fn a_table_that_was_only_begun_is_shared() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    set_mode(scratch.lock.path(), 0o777);
    fs::write(scratch.table(), "").expect("room");
    set_mode(&scratch.table(), 0o600);
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("it is empty"));
    assert_eq!(fs::metadata(scratch.table()).expect("a table").mode() & 0o777, 0o666);
}

/// A pipe that may only be read does not block a request.
#[test]
fn a_pipe_that_may_not_be_written() {
    let user: &[&str] = if nix::unistd::geteuid().is_root() { &ONE } else { &[] };
    if !is_alone("users::a_pipe_that_may_not_be_written", &[user]) {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    nix::unistd::mkfifo(&scratch.table(), Mode::S_IRUSR).expect("a scratch directory");
    let lock = scratch.lock.clone();
    let looks = thread::spawn(move || lock.snapshot().wait());
    eventually("it is refused", || looks.is_finished());
    let error = looks.join().expect("no panic").expect_err("it is no table");
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}
