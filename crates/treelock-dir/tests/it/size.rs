//! The length of the table: what a crowd needed is given back (C8).

use std::{fs, process::Command, thread};

use treelock::{FencingToken, Wait};
use treelock_dir::{DirLock, Guard};

use crate::{
    helper::{Helper, Part},
    raw::{CURSOR_AT, TOKEN_AT},
    scratch::{AcquireWithin, LONG, Scratch, eventually, long, read, waiters, write},
};

/// Four processes with 250 requests each: all are shown, in order, and leave room for others.
#[test]
fn a_thousand_live_tickets() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let mut crowds: Vec<Helper> = ["dir/1", "dir/2", "dir/3", "dir/4"]
        .map(|above| Part::new("crowd", lock.path(), above).start())
        .into_iter()
        .collect();
    crowds.iter_mut().for_each(|crowd| crowd.expect("holds"));
    let snapshot = lock.snapshot().wait().expect("a table");
    assert_eq!(snapshot.held().count(), 1000);
    assert!(snapshot.entries.is_sorted_by(|a, b| a.ticket < b.ticket));
    let error = lock.try_acquire(&write("dir")).wait().expect_err("all are below");
    let blocked = error.blocked().expect("blocked");
    assert_eq!((blocked.ahead, blocked.ticket), (1000, snapshot.entries[0].ticket));
    let one_of_many =
        lock.try_acquire(&write("dir/3/100")).wait().expect_err("one of them is here");
    assert_eq!(one_of_many.blocked().expect("blocked").ahead, 1);
    drop(lock.try_acquire(&write("other")).wait().expect("nothing is here"));
    let size = fs::metadata(scratch.table()).expect("a table").len();
    thread::scope(|scope| {
        let behind = scope.spawn(|| lock.acquire_within(&write("dir"), LONG));
        eventually("it is in line", || waiters(lock).len() == 1);
        crowds.remove(2).kill();
        assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 750);
        assert!(!behind.is_finished(), "there are more ahead");
        crowds.iter_mut().for_each(|crowd| assert!(crowd.end().success()));
        drop(behind.join().expect("no panic").expect("all have left"));
    });
    scratch.assert_at_rest();
    // C8: what a crowd needed is given back, and the numbers continue.
    let now = || fs::metadata(scratch.table()).expect("a table").len();
    let after = lock.try_acquire(&write("dir")).wait().expect("all have left");
    assert!(after.ticket() > snapshot.entries[999].ticket);
    drop(after);
    assert!(now() < size / 10, "{} of {size} bytes", now());
    let crowd = Part::new("crowd", lock.path(), "dir").start();
    crowd.expect("holds");
    assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 250);
    assert!(now() < size / 2, "{} of {size} bytes", now());
}

/// One large request makes the table long for as long as it is live. Tokens and tickets continue
/// when the table is cut.
#[test]
fn a_table_becomes_short_again() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let size = || fs::metadata(scratch.table()).expect("a table").len();
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let short = size();
    let large = (0..5000).fold(treelock::Request::new(), |request, i| {
        request.write(format!("large/{i}").as_str()).expect("a valid node")
    });
    let guard = lock.try_acquire(&large).wait().expect("nothing is in the way");
    let (ticket, token) = (guard.ticket(), guard.token());
    assert!(lock.try_acquire(&write("large/4999")).wait().is_err());
    drop(lock.try_acquire(&write("a")).wait().expect("nothing is in the way"));
    assert!(size() > 10 * short, "{} bytes", size());
    drop(guard);
    // The first request of this handle has the large one's place; another handle gets none.
    for lock in [lock, &DirLock::new(lock.path())] {
        for _ in 0..3 {
            let guard = lock.try_acquire(&write("large/4999")).wait().expect("it has left");
            assert!(guard.ticket() > ticket && guard.token() > token);
        }
    }
    assert_eq!(size(), short);
    scratch.assert_at_rest();
}

/// Whichever cell the last of a crowd has, it is not cut off with the cells of the others.
#[test]
fn a_table_becomes_short_behind_whoever_is_left() {
    for left in [0, 13, 14, 15, 16, 29, 30, 31, 32, 33, 46, 47, 48] {
        let scratch = Scratch::new();
        let mut crowd = scratch.crowd(200);
        let (size, kept) = (scratch.size(), crowd.swap_remove(left));
        drop(crowd);
        let another = DirLock::new(scratch.lock.path());
        drop(another.try_acquire(&write("other")).wait().expect("nothing is in the way"));
        assert!(scratch.size() < size / 2, "{} of {size} bytes, {left}", scratch.size());
        let snapshot = another.snapshot().wait().expect("a table");
        let tickets: Vec<u64> = snapshot.held().map(|entry| entry.ticket).collect();
        assert_eq!(tickets, [kept.ticket()], "{left}");
        assert!(
            another.try_acquire(&read(&format!("crowd/{left}"))).wait().is_err(),
            "{left} is held"
        );
    }
}

/// The request that shrinks the table may be one that is refused, which enters nothing from which
/// the last ticket and token could be read. The token here looks as if the clock had been set back.
#[test]
fn what_is_cut_off_leaves_its_numbers() {
    let scratch = Scratch::new();
    let held = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut crowd = scratch.crowd(200);
    let (size, last) = (scratch.size(), crowd.pop().expect("there are many"));
    let ticket = last.ticket();
    let ahead = last.token().get() + 3_600_000_000_000;
    scratch.overwrite(scratch.cells(ticket)[0] + TOKEN_AT as u64, &ahead.to_le_bytes());
    drop((crowd, last));
    let another = DirLock::new(scratch.lock.path());
    assert!(another.try_acquire(&write("a")).wait().is_err(), "it is held");
    assert!(scratch.size() < size / 2, "{} of {size} bytes", scratch.size());
    let next = another.try_acquire(&write("b")).wait().expect("nothing is in the way");
    assert!(next.ticket() > ticket, "{} after {ticket}", next.ticket());
    assert!(next.token() > FencingToken::new(ahead), "{} after {ahead}", next.token());
    drop(held);
}

/// All cells of requests that left are marked as free, except those of one seat of the handle.
#[test]
fn who_leaves_frees_its_cells() {
    let (few, many) = (write("few"), long("many"));
    for requests in [[&few, &few], [&many, &many], [&many, &few], [&few, &many]] {
        let scratch = Scratch::new();
        for request in requests {
            let guard = scratch.lock.try_acquire(request).wait().expect("nothing is in the way");
            let cells = scratch.cells(guard.ticket()).len();
            assert_eq!(scratch.used(), cells);
            drop(guard);
            assert_eq!(scratch.used(), cells);
        }
        // A refused request takes no place, so the place of the last request is still there for
        // reuse.
        let another = DirLock::new(scratch.lock.path());
        let held = another.try_acquire(&write("held")).wait().expect("nothing is in the way");
        assert!(scratch.lock.try_acquire(&read("held")).wait().is_err(), "it is held");
        drop(scratch.lock.try_acquire(&write("other")).wait().expect("nothing is in the way"));
        assert_eq!(scratch.used(), 2);
        drop(held);
    }
    let scratch = Scratch::new();
    drop(scratch.crowd(10));
    assert_eq!(scratch.used(), 1);
    // A child may keep the description for as long as it likes, so there is no place to reuse.
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    guard.inherit(&mut Command::new("true")).expect("a free descriptor");
    drop(guard);
    assert_eq!(scratch.used(), 0);
}

/// Cells of dead requests are reused before the table grows, even if they conflict with nothing.
#[test]
fn the_dead_make_no_table_long() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let short = scratch.size();
    for i in 0..8 {
        Helper::holding(&scratch.lock, &i.to_string()).kill();
        assert_eq!(scratch.size(), short, "{i} were killed before");
    }
    scratch.assert_at_rest();
}

/// The cells of a crowd that died are found again, a few by each request, and the table grows only
/// as the living need it.
#[test]
fn a_dead_crowd_is_reaped_gradually() {
    for living in [0, 250] {
        let scratch = Scratch::new();
        let alive = scratch.crowd(living);
        let mut crowd = Part::new("crowd", scratch.lock.path(), "dead").start();
        crowd.expect("holds");
        let (size, used) = (scratch.size(), scratch.used());
        assert!(used >= living + 250);
        crowd.kill();
        let lock = DirLock::new(scratch.lock.path());
        let mut before = used;
        let ask = |i: usize| lock.try_acquire(&write(&format!("new/{i}"))).wait();
        let mut held: Vec<Guard> = Vec::new();
        for i in 0..450 {
            held.push(ask(i).expect("nobody is in the way"));
            let now = scratch.used();
            assert!(now + 100 > before, "{before} cells were used, then {now}");
            before = now;
        }
        // At least two thirds of the cells belong to the living.
        let cells = (living + 450) * 3 / 2 + 64;
        assert!(scratch.size() <= size.max(256 * cells as u64), "{} bytes", scratch.size());
        let snapshot = lock.snapshot().wait().expect("a table");
        assert_eq!(snapshot.held().count(), living + 450);
        drop((alive, held));
        scratch.assert_at_rest();
    }
}

/// Commands that are used once, beside requests that stay, leave one dead cell each.
#[test]
fn handles_that_are_used_once_make_no_table_long() {
    let scratch = Scratch::new();
    let held = scratch.crowd(100);
    for i in 0..1000 {
        let once = DirLock::new(scratch.lock.path());
        drop(once.try_acquire(&write(&format!("once/{i}"))).wait().expect("nobody is in the way"));
    }
    let cells = held.len() * 3 / 2 + 32;
    assert!(scratch.size() <= 256 * cells as u64, "{} bytes", scratch.size());
    drop(held);
    scratch.assert_at_rest();
}

/// The end of a table is searched for the dead a few tickets at a time too, before it is cut off.
#[test]
fn a_table_is_cut_off_gradually() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(400);
    for guard in crowd.drain(320..) {
        scratch.die(guard);
    }
    let last = crowd.swap_remove(3);
    drop(crowd);
    let size = scratch.size();
    let lock = DirLock::new(scratch.lock.path());
    let ask = || drop(lock.try_acquire(&write("other")).wait().expect("nobody is in the way"));
    ask();
    assert_eq!(scratch.size(), size, "80 tickets were not queried at once");
    (0..8).for_each(|_| ask());
    assert!(scratch.size() < size / 2, "{} of {size} bytes", scratch.size());
    let snapshot = lock.snapshot().wait().expect("a table");
    assert!(snapshot.entries.iter().map(|entry| entry.ticket).eq([last.ticket()]));
    drop(last);
    scratch.assert_at_rest();
}

/// Whatever number is in the place of the cursor, requests find the cells of the dead.
#[test]
fn any_cursor_will_do() {
    for cursor in [1, 7, 14, 15, 16, 1 << 40, u64::MAX] {
        let scratch = Scratch::new();
        scratch.assert_at_rest();
        scratch.fill_with_the_dead(1.0);
        let size = scratch.size();
        scratch.overwrite(CURSOR_AT, &cursor.to_le_bytes());
        let lock = DirLock::new(scratch.lock.path());
        let ask = |i: usize| lock.try_acquire(&write(&i.to_string())).wait();
        let held: Vec<Guard> = (0..13).map(|i| ask(i).expect("nobody is in the way")).collect();
        assert!(scratch.size() <= size + 4096, "{} of {size} bytes, {cursor}", scratch.size());
        assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 13);
        drop(held);
        scratch.assert_at_rest();
    }
}
