//! Tables that are cut short, emptied, made longer, or replaced by something else; while they are
//! in use, and while they are not.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use nix::sys::stat::Mode;
use treelock::{Wait, engine::Severity};
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::{Helper, Part},
    raw::{MAGIC, PAGE},
    scratch::{AcquireWithin, LONG, Scratch, eventually, waiters, write},
    stopped::{Gate, lock_of},
};

/// Checks that each verb refuses what is in the table's place.
fn assert_foreign(lock: &DirLock, what: &str) {
    let foreign = |error: Error| assert!(matches!(error, Error::Foreign { .. }), "{what}: {error}");
    foreign(lock.try_acquire(&write("a")).wait().expect_err("not a table"));
    foreign(lock.acquire(&write("a")).wait().expect_err("not a table"));
    foreign(lock.acquire_within(&write("a"), LONG).expect_err("not a table"));
    foreign(lock.acquire(&write("a")).give_up().wait().expect_err("not a table"));
    let polled = Polled::new(lock.acquire(&write("a"))).poll();
    foreign(polled.expect("it is told at once").expect_err("not a table"));
    foreign(lock.snapshot().wait().expect_err("not a table"));
    foreign(lock.blocked(&write("a")).wait().expect_err("not a table"));
    foreign(lock.processes(1).expect_err("not a table"));
    let found = lock.check().wait().expect("a directory that can be checked");
    assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{what}: {found:?}");
}

#[test]
fn what_is_not_a_table_is_refused_and_kept() {
    let next = [&MAGIC[..], &3_u32.to_ne_bytes(), &[0; 9000]].concat();
    let almost = [&b"treelock tax\x02\0\0\0"[..], &[0; 50_000]].concat();
    for (what, bytes) in [
        ("a note", b"chairs\n".to_vec()),
        ("a longer note", b"a list of tables and chairs\n".repeat(100)),
        ("a note of this program", b"treelock table of 2050".repeat(50)),
        ("one byte", b"\n".to_vec()),
        ("some zeros", vec![0; 100]),
        ("many zeros", vec![0; 45_056]),
        ("a table of the next version", next),
        ("what only looks like a table", almost),
    ] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.lock.path()).expect("a scratch directory");
        fs::write(scratch.table(), &bytes).expect("room");
        assert_foreign(&scratch.lock, what);
        assert_eq!(fs::read(scratch.table()).expect("still there"), bytes, "{what}");
    }
}

#[test]
fn what_is_not_even_a_file_is_refused_and_kept() {
    let folder = |path: &Path| DirBuilder::new().create(path).expect("a scratch directory");
    let pipe = |path: &Path| nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    for (what, make) in [("a directory", folder as fn(&Path)), ("a pipe", pipe)] {
        let scratch = Scratch::new();
        fs::create_dir(scratch.lock.path()).expect("a scratch directory");
        make(&scratch.table());
        let before = fs::symlink_metadata(scratch.table()).expect("just made").file_type();
        // One that has no open table, in a thread, in case it hangs.
        let lock = scratch.lock.clone();
        let asks = thread::spawn(move || {
            let error = lock.try_acquire(&write("a")).wait().expect_err("not a table");
            assert!(matches!(error, Error::Foreign { .. } | Error::Io { .. }), "{error}");
            lock.acquire_within(&write("a"), LONG).expect_err("not a table");
            lock.snapshot().wait().expect_err("not a table");
            lock.blocked(&write("a")).wait().expect_err("not a table");
            let found = lock.check().wait().expect("a directory that can be checked");
            assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{found:?}");
        });
        eventually(what, || asks.is_finished());
        asks.join().expect("it is refused");
        let after = fs::symlink_metadata(scratch.table()).expect("still there").file_type();
        assert_eq!(before, after, "{what}");
    }
}

/// Returns a table of the former version: its header, and the cell of one request.
fn former() -> Vec<u8> {
    [&MAGIC[..], &1_u32.to_ne_bytes(), &[0; 240], &[7; 256]].concat()
}

/// A table of the former version is left to those who use it, who have locked the bytes of their
/// tickets. One that nobody uses is begun anew.
#[test]
fn a_table_of_the_former_version() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    fs::create_dir(lock.path()).expect("a scratch directory");
    fs::write(scratch.table(), former()).expect("room");
    let user = scratch.raw_table();
    let ticket = nix::fcntl::FcntlArg::F_OFD_SETLK(&lock_of(7));
    nix::fcntl::fcntl(&user, ticket).expect("nobody has locked it");
    for lock in [lock, &DirLock::new(lock.path())] {
        let former = |error: Error| {
            assert!(matches!(error, Error::Former { .. }), "{error}");
            assert!(error.is_unavailable(), "later it may not be in use");
            assert!(error.to_string().contains("an earlier version"), "{error}");
        };
        former(lock.try_acquire(&write("a")).wait().expect_err("it is in use"));
        former(lock.acquire_within(&write("a"), LONG).expect_err("it is in use"));
        former(lock.snapshot().wait().expect_err("it is in use"));
        former(lock.blocked(&write("a")).wait().expect_err("it is in use"));
        let found = lock.check().wait().expect("a directory that can be checked");
        assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{found:?}");
    }
    assert_eq!(fs::read(scratch.table()).expect("still there"), former());
    drop(user);
    // Looking changes nothing.
    assert!(lock.snapshot().wait().expect("nobody uses it").entries.is_empty());
    assert!(lock.blocked(&write("a")).wait().expect("nobody uses it").is_none());
    assert_eq!(fs::read(scratch.table()).expect("still there"), former());
    drop(lock.try_acquire(&write("a")).wait().expect("it is begun anew"));
    scratch.assert_at_rest();
}

/// A file that is far too long is not read into memory, and what lies behind the table is nothing.
#[test]
fn a_file_longer_than_any_table() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.raw_table().set_len(1 << 40).expect("a file with a hole");
    for lock in [&scratch.lock, &DirLock::new(scratch.lock.path())] {
        assert!(lock.try_acquire(&write("a")).wait().is_err(), "it is held");
        drop(lock.try_acquire(&write("b")).wait().expect("nothing is in the way"));
        assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 1);
    }
    let crowd = scratch.crowd(100);
    assert_eq!(scratch.lock.snapshot().wait().expect("a table").held().count(), 101);
    drop((crowd, guard));
}

/// A way to damage a table in use, by its size: to cut it to this length, and perhaps to make it
/// as long as before again. If not even its first bytes are left then, it is no table any more.
fn cuts(size: u64) -> impl Iterator<Item = (u64, Option<u64>)> {
    let lengths = [100, PAGE, 5000, 2 * PAGE + 100, size / 2, size - PAGE, size - 1];
    let again = lengths.map(|length| (length, Some(size)));
    [0, 5].into_iter().chain(lengths).map(|length| (length, None)).chain(again)
}

fn cut(scratch: &Scratch, (length, again): (u64, Option<u64>)) {
    let table = scratch.raw_table();
    table.set_len(length).expect("a scratch file");
    again.into_iter().for_each(|size| table.set_len(size).expect("room"));
}

fn assert_damaged(lock: &DirLock, what: &str) {
    let damaged = |error: Error| {
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
        assert!(error.is_unavailable(), "later it may not be in use");
    };
    let refused = lock.try_acquire(&write("crowd/3/below")).wait().map(drop);
    damaged(refused.expect_err(what));
    damaged(lock.acquire_within(&write("crowd/3"), LONG).map(drop).expect_err(what));
    damaged(lock.snapshot().wait().map(drop).expect_err(what));
    damaged(lock.blocked(&write("/")).wait().map(drop).expect_err(what));
    damaged(lock.processes(1).expect_err(what));
    let found = lock.check().wait().expect("a directory that can be checked");
    assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{what}: {found:?}");
}

/// Whatever is cut off a table in use, by whomever it is used, requests are refused until its users
/// have left. Nobody crashes, and nobody is granted what another holds.
#[test]
fn a_table_cut_short_in_use_is_refused_until_its_users_have_left() {
    for count in [4, 200] {
        let size = if count == 4 { 45_056 } else { 212_992 };
        for how in cuts(size) {
            let what = format!("{count} hold, {how:?}");
            let scratch = Scratch::new();
            let mut crowd = scratch.crowd(count);
            assert_eq!(scratch.size(), size);
            let before = crowd[count - 1].token();
            let idle = DirLock::new(scratch.lock.path());
            drop(idle.try_acquire(&write("idle")).wait().expect("nothing is in the way"));
            let mut waits = Polled::new(idle.acquire(&write("crowd/3")));
            assert!(waits.poll().is_none());
            cut(&scratch, how);
            for lock in [&scratch.lock, &idle, &DirLock::new(scratch.lock.path())] {
                assert_damaged(lock, &what);
            }
            let told = |polled: Option<Result<_, Error>>| match polled {
                None => {}
                Some(Err(Error::Damaged { .. })) => {}
                Some(other) => panic!("{what}: it is held: {:?}", other.map(drop)),
            };
            told(waits.poll());
            drop(crowd.pop());
            assert_damaged(&idle, &what);
            drop((crowd, waits));
            let guard = idle.try_acquire(&write("crowd")).wait();
            let guard = guard.unwrap_or_else(|error| panic!("{what}: all have left: {error}"));
            assert!(guard.token() > before, "{what}");
            drop(guard);
            scratch.assert_at_rest();
        }
    }
}

/// The same between processes, one of which holds while another waits. The one that waits is told
/// when the holder has left or died, if not before.
#[test]
fn a_table_cut_short_beneath_other_processes() {
    for how in cuts(45_056) {
        for dies in [false, true] {
            let what = format!("{how:?}, dies: {dies}");
            let scratch = Scratch::new();
            let mut holder = Helper::holding(&scratch.lock, "a");
            let mut waiter = Part::new("tell", scratch.lock.path(), "a/b").start();
            eventually("it waits", || waiters(&scratch.lock).len() == 1);
            cut(&scratch, how);
            let asks = scratch.lock.try_acquire(&write("b")).wait();
            assert!(matches!(asks, Err(Error::Damaged { .. })), "{what}: {asks:?}");
            if dies {
                holder.kill();
            } else {
                assert!(holder.end().success(), "{what}: it releases, and does not crash");
            }
            assert_eq!(waiter.line().as_deref(), Some("damaged"), "{what}");
            assert!(waiter.end().success(), "{what}");
            drop(scratch.lock.try_acquire(&write("a")).wait().expect("all have left"));
            scratch.assert_at_rest();
        }
    }
}

/// A waiter whose blocker leaves a table that was cut, in a process that goes on, is not left to
/// wait forever.
#[test]
fn a_waiter_is_told_though_nobody_can_ring() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut waiter = Part::new("tell", scratch.lock.path(), "a/b").start();
    eventually("it waits", || waiters(&scratch.lock).len() == 1);
    let lock = DirLock::new(scratch.lock.path());
    let mut future = Polled::new(lock.acquire(&write("a")));
    assert!(future.poll().is_none());
    cut(&scratch, (0, None));
    assert_eq!(waiter.line().as_deref(), Some("damaged"));
    assert!(waiter.end().success());
    eventually("the future is woken", || future.wakes() > 0);
    let told = future.poll().expect("it is told").expect_err("the table is lost");
    assert!(matches!(told, Error::Damaged { .. }), "{told}");
    drop(guard);
    // Has not noticed, since it has made no request.
    lock.close().wait();
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("all have left"));
}

/// A table that is emptied at rest is still open in a handle that has not noticed. The handle
/// begins it anew with its next request; until then it might hold something, for all that others
/// know.
#[test]
fn a_table_that_was_emptied_and_begun_anew() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    scratch.raw_table().set_len(0).expect("a scratch file");
    let another = DirLock::new(scratch.lock.path());
    assert!(matches!(another.try_acquire(&write("a")).wait(), Err(Error::Damaged { .. })));
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("it holds nothing");
    let error = another.try_acquire(&write("a/b")).wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    let beside = another.try_acquire(&write("b")).wait().expect("nothing is in the way");
    assert_eq!(another.snapshot().wait().expect("a table").held().count(), 2);
    drop((guard, beside));
    scratch.assert_at_rest();
}

/// A handle that was open before continues to work when nothing uses the table.
#[test]
fn a_table_that_was_emptied_at_rest_is_begun_anew_by_its_old_handles() {
    for how in cuts(45_056) {
        let scratch = Scratch::new();
        let before =
            scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free").token();
        cut(&scratch, how);
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("it is not in use");
        assert!(guard.token() > before, "{how:?}");
        assert_eq!(scratch.lock.snapshot().wait().expect("a table").held().count(), 1, "{how:?}");
        drop(guard);
        scratch.assert_at_rest();
    }
}

/// An unused table shows no requests, whatever happened to its bytes, even before a request repairs
/// it. One that is in use shows that it is damaged. Looking changes nothing.
#[test]
fn a_damaged_table_that_nobody_uses_shows_nobody() {
    for how in cuts(45_056) {
        let scratch = Scratch::new();
        let one = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        let two = scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
        cut(&scratch, how);
        let damaged = scratch.bytes().0;
        let looker = DirLock::new(scratch.lock.path());
        let damage = |error| matches!(error, Error::Damaged { .. });
        assert!(looker.snapshot().wait().is_err_and(damage), "{how:?}");
        drop(one);
        assert!(looker.blocked(&write("c")).wait().is_err_and(damage), "{how:?}");
        drop(two);
        scratch.lock.close().wait();
        assert!(looker.snapshot().wait().expect("it is not in use").entries.is_empty(), "{how:?}");
        assert!(looker.blocked(&write("/")).wait().expect("it is not in use").is_none());
        assert_eq!(looker.processes(1).expect("it is not in use"), [0; 0]);
        if how.1.is_none() {
            assert_eq!(scratch.size(), damaged.len() as u64, "{how:?}");
        }
        scratch.assert_at_rest();
    }
}

/// A table that was overwritten with other bytes, or with zeros, while in use.
#[test]
fn a_table_that_was_overwritten_in_use() {
    for (what, bytes) in [("zeros", vec![0; 45_056]), ("text", b"chairs\n".repeat(10_000))] {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        let mut waits = Polled::new(scratch.lock.acquire(&write("a")));
        assert!(waits.poll().is_none());
        scratch.raw_table().write_all_at(&bytes, 0).expect("room");
        let error = scratch.lock.try_acquire(&write("a")).wait().expect_err("it is held");
        let fits = matches!(error, Error::Foreign { .. } | Error::Damaged { .. });
        assert!(fits, "{what}: {error}");
        assert!(scratch.lock.snapshot().wait().is_err(), "{what}");
        drop(guard);
        eventually("the one that waits is woken", || waits.wakes() > 0);
        let told = waits.poll().expect("it is told").map(drop);
        assert!(matches!(told, Err(Error::Damaged { .. })), "{what}: {told:?}");
        drop(waits);
        // It is foreign now, and stays what it is.
        assert!(scratch.lock.try_acquire(&write("a")).wait().is_err(), "{what}");
        assert_eq!(scratch.bytes().0[..16], bytes[..16], "{what}");
    }
}

/// Lookers and askers of other handles meet a table that is cut again and again, at any instant of
/// theirs, and begun anew. They are told, or see what there is; nobody crashes, and what is granted
/// is granted to one alone.
#[test]
fn a_table_that_is_cut_again_and_again() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let (done, holders, grants) =
        (&AtomicBool::new(false), &AtomicUsize::new(0), &AtomicUsize::new(0));
    // On a disk that is slow to cut and to make longer, somebody may be at the gate for long.
    let fits = |error: &Error| matches!(error, Error::Damaged { .. } | Error::Stuck { .. });
    let told = |error: Error| assert!(fits(&error), "{error}");
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    lock.close().wait();
    thread::scope(|scope| {
        for _ in 0..2 {
            let looker = DirLock::new(lock.path());
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    looker.snapshot().wait().map_or_else(told, |shown| drop(shown.to_string()));
                    looker.blocked(&write("/")).wait().map_or_else(told, drop);
                }
            });
            let asker = DirLock::new(lock.path());
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    match asker.acquire_within(&write("a"), Duration::from_millis(1)) {
                        Ok(guard) => {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                            grants.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            holders.fetch_sub(1, Ordering::SeqCst);
                            drop(guard);
                        }
                        Err(Error::Blocked(_)) => {}
                        Err(error) => told(error),
                    }
                    asker.close().wait();
                }
            });
        }
        for _ in 0..20 {
            let before = grants.load(Ordering::SeqCst);
            for how in cuts(45_056).filter(|(length, _)| *length >= 100) {
                // Never makes one longer that has not even its first bytes, or is being begun.
                let gate = Gate::of_one_who_passes(&scratch.table());
                if how.0 < scratch.size() {
                    cut(scratch, how);
                }
                drop(gate);
                thread::sleep(Duration::from_micros(1500));
            }
            eventually("it is begun anew", || grants.load(Ordering::SeqCst) > before);
        }
        done.store(true, Ordering::SeqCst);
    });
    scratch.assert_at_rest();
}
