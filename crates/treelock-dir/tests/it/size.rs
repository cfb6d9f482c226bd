//! The length of the table: what a crowd needed is given back (C8).

use std::{process::Command, thread};

use treelock::{FencingToken, Wait};
use treelock_dir::{DirLock, Guard};

use crate::{
    helper::{Helper, Part},
    raw::{CELLS_USED_AT, CHUNKS_AT, CURSOR_AT, FIRST_CELLS, LIVE_AT, TOKEN_AT},
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
    let (cells, room) = (scratch.capacity(), scratch.room());
    assert_eq!(cells, 2048);
    scratch.assert_sound();
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
    let after = lock.try_acquire(&write("dir")).wait().expect("all have left");
    assert!(after.ticket() > snapshot.entries[999].ticket);
    drop(after);
    assert_eq!(scratch.capacity(), FIRST_CELLS);
    assert!(scratch.room() < room / 10, "{} of {room} bytes", scratch.room());
    let crowd = Part::new("crowd", lock.path(), "dir").start();
    crowd.expect("holds");
    assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 250);
    assert!(scratch.room() < room / 2, "{} of {room} bytes", scratch.room());
    scratch.assert_sound();
}

/// One large request makes the table long for as long as it is live. Tokens and tickets continue
/// when it is short again, for handles that saw it long and for others.
#[test]
fn a_table_becomes_short_again() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let short = scratch.room();
    let large = (0..5000).fold(treelock::Request::new(), |request, i| {
        request.write(format!("large/{i}").as_str()).expect("a valid node")
    });
    let looker = DirLock::new(lock.path());
    let mut last = (0, FencingToken::new(0));
    for _ in 0..3 {
        let guard = lock.try_acquire(&large).wait().expect("nothing is in the way");
        assert!((guard.ticket(), guard.token()) > last);
        last = (guard.ticket(), guard.token());
        for lock in [lock, &looker] {
            assert!(lock.try_acquire(&write("large/4999")).wait().is_err());
            drop(lock.try_acquire(&write("a")).wait().expect("nothing is in the way"));
        }
        scratch.assert_sound();
        assert!(scratch.room() > 10 * short, "{} bytes", scratch.room());
        drop(guard);
        for lock in [lock, &looker] {
            for _ in 0..3 {
                let guard = lock.try_acquire(&write("large/4999")).wait().expect("it has left");
                assert!(guard.ticket() > last.0 && guard.token() > last.1);
                last = (guard.ticket(), guard.token());
                scratch.assert_sound();
            }
        }
        assert_eq!(scratch.capacity(), FIRST_CELLS);
        assert!(scratch.room() < 2 * short, "{} bytes", scratch.room());
    }
    scratch.assert_at_rest();
}

/// Whoever is left of a crowd keeps its cell, wherever that is, and the cells of the others are
/// used again. The table is short again when that one has left too.
#[test]
fn a_table_stays_long_behind_whoever_is_left() {
    for left in [0, 1, 63, 64, 100, 127, 128, 300, 511, 512, 599] {
        let scratch = Scratch::new();
        let mut crowd = scratch.crowd(600);
        let (cells, kept) = (scratch.capacity(), crowd.swap_remove(left));
        drop(crowd);
        let another = DirLock::new(scratch.lock.path());
        for _ in 0..2 {
            drop(scratch.crowd_under("more", 599));
            assert_eq!(scratch.capacity(), cells, "{left}");
        }
        drop(another.try_acquire(&write("other")).wait().expect("nothing is in the way"));
        let snapshot = another.snapshot().wait().expect("a table");
        let tickets: Vec<u64> = snapshot.held().map(|entry| entry.ticket).collect();
        assert_eq!(tickets, [kept.ticket()], "{left}");
        assert!(
            another.try_acquire(&read(&format!("crowd/{left}"))).wait().is_err(),
            "{left} is held"
        );
        scratch.assert_sound();
        drop(kept);
        scratch.assert_at_rest();
        assert_eq!(scratch.capacity(), FIRST_CELLS, "{left}");
    }
}

/// A table that becomes short keeps its last ticket and token. The token here looks as if the clock
/// had been set back.
#[test]
fn what_becomes_short_keeps_its_numbers() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(600);
    let last = crowd.pop().expect("there are many");
    let ticket = last.ticket();
    let ahead = last.token().get() + 3_600_000_000_000;
    scratch.set_number(TOKEN_AT, ahead);
    drop((crowd, last));
    for lock in [&DirLock::new(scratch.lock.path()), &scratch.lock] {
        let next = lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
        assert_eq!(scratch.capacity(), FIRST_CELLS);
        assert!(next.ticket() > ticket, "{} after {ticket}", next.ticket());
        assert!(next.token() > FencingToken::new(ahead), "{} after {ahead}", next.token());
    }
    scratch.assert_at_rest();
}

/// All cells of requests that left are free for the next request, and so is what they had in the
/// index.
#[test]
fn who_leaves_frees_its_cells() {
    let (few, many) = (write("few"), long("many"));
    let scratch = Scratch::new();
    for requests in [[&few, &few], [&many, &many], [&many, &few], [&few, &many]] {
        for request in requests {
            let guard = scratch.lock.try_acquire(request).wait().expect("nothing is in the way");
            assert_eq!(scratch.used(), scratch.cells(guard.ticket()).len() as u64);
            assert_eq!(scratch.number(LIVE_AT), 1);
            scratch.assert_sound();
        }
        // A refused request takes no place.
        let another = DirLock::new(scratch.lock.path());
        let held = another.try_acquire(&write("held")).wait().expect("nothing is in the way");
        assert!(scratch.lock.try_acquire(&read("held")).wait().is_err(), "it is held");
        assert_eq!(scratch.used(), 1);
        drop(held);
    }
    drop(scratch.crowd(10));
    scratch.assert_at_rest();
    assert_eq!(scratch.number(CELLS_USED_AT), 10, "they were the first ones");
    // A child that keeps the description keeps no place once the guard is dropped.
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("nothing is in the way");
    let mut child = Command::new("sleep");
    guard.inherit(child.arg("600")).expect("a free descriptor");
    let mut child = child.spawn().expect("sleep is everywhere");
    drop(guard);
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("it has left"));
    assert_eq!(scratch.used(), 1);
    scratch.assert_at_rest();
    child.kill().expect("our child");
    child.wait().expect("our child");
}

/// Cells of dead requests are reused before the table grows, even if they conflict with nothing.
#[test]
fn the_dead_make_no_table_long() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    for round in 0..5 {
        scratch.fill_with_the_dead();
        let held = scratch.crowd(50);
        assert_eq!(scratch.capacity(), FIRST_CELLS, "round {round}");
        scratch.assert_sound();
        drop(held);
        drop(scratch.lock.try_acquire(&write("/")).wait().expect("nobody lives"));
    }
    for i in 0..8 {
        Helper::holding(&scratch.lock, &i.to_string()).kill();
    }
    assert_eq!(scratch.capacity(), FIRST_CELLS);
    scratch.assert_at_rest();
}

/// The cells of a crowd that died are found again, a few lives by each request, and the table grows
/// only as the living need it.
#[test]
fn a_dead_crowd_is_reaped_gradually() {
    for living in [0, 200] {
        let scratch = Scratch::new();
        let alive = scratch.crowd(living);
        scratch.crowd_of_the_dead(230 - living);
        assert_eq!(scratch.capacity(), 256);
        let lock = DirLock::new(scratch.lock.path());
        let mut before = scratch.used();
        let ask = |i: usize| lock.try_acquire(&write(&format!("new/{i}"))).wait();
        let mut held: Vec<Guard> = Vec::new();
        for i in 0..230 - living {
            held.push(ask(i).expect("nobody is in the way"));
            let now = scratch.used();
            assert!(now + 8 > before, "{before} cells were used, then {now}: a long search");
            before = now;
        }
        assert_eq!(scratch.capacity(), 256, "the living have room");
        let snapshot = lock.snapshot().wait().expect("a table");
        assert_eq!(snapshot.held().count(), 230);
        scratch.assert_sound();
        drop((alive, held));
        scratch.assert_at_rest();
    }
}

/// A process with many requests that died is found as one.
#[test]
fn a_dead_process_is_found_as_one() {
    let scratch = Scratch::new();
    let mut crowd = Part::new("crowd", scratch.lock.path(), "dead").start();
    crowd.expect("holds");
    crowd.kill();
    let cells = scratch.capacity();
    let held = scratch.crowd(250);
    assert!(scratch.capacity() <= cells, "{} of {cells} cells", scratch.capacity());
    scratch.assert_sound();
    drop(held);
    scratch.assert_at_rest();
}

/// Commands that are used once, beside requests that stay, leave nothing.
#[test]
fn handles_that_are_used_once_make_no_table_long() {
    let scratch = Scratch::new();
    let held = scratch.crowd(100);
    let cells = scratch.capacity();
    for i in 0..1000 {
        let once = DirLock::new(scratch.lock.path());
        drop(once.try_acquire(&write(&format!("once/{i}"))).wait().expect("nobody is in the way"));
    }
    assert_eq!(scratch.capacity(), cells);
    drop(held);
    scratch.assert_at_rest();
}

/// Whatever number is in the place of the cursor, requests find the cells of the dead.
#[test]
fn any_cursor_will_do() {
    for cursor in [1, 7, 30, 59, 60, 63, 64, 1 << 40, u64::MAX] {
        let scratch = Scratch::new();
        scratch.assert_at_rest();
        scratch.fill_with_the_dead();
        scratch.set_number(CURSOR_AT, cursor);
        let held = scratch.crowd(50);
        assert_eq!(scratch.capacity(), FIRST_CELLS, "{cursor}");
        assert_eq!(scratch.lock.snapshot().wait().expect("a table").held().count(), 50);
        scratch.assert_sound();
        drop(held);
        scratch.assert_at_rest();
    }
}

/// Records of several cells in a table that grows chunk by chunk, with requests of all lengths that
/// leave in between: none is lost, and each has its own cells.
#[test]
fn long_records_while_the_table_grows() {
    let scratch = Scratch::new();
    let mut random = fastrand::Rng::with_seed(7);
    let another = DirLock::new(scratch.lock.path());
    let mut held: Vec<Guard> = Vec::new();
    let mut chunks = 1;
    for i in 0.. {
        let request = write(&format!("dir/{i}")).with_label("x".repeat(random.usize(..3000)));
        let lock = if random.bool() { &scratch.lock } else { &another };
        held.push(lock.try_acquire(&request).wait().expect("nothing is in the way"));
        if random.u8(..5) == 0 {
            drop(held.swap_remove(random.usize(..held.len())));
        }
        let now = scratch.number(CHUNKS_AT);
        if now != chunks {
            chunks = now;
            scratch.assert_sound();
            let snapshot = another.snapshot().wait().expect("a table");
            let mut tickets: Vec<u64> = held.iter().map(Guard::ticket).collect();
            tickets.sort_unstable();
            assert!(snapshot.held().map(|entry| entry.ticket).eq(tickets));
            for guard in &held {
                let error = another.try_acquire(guard.request()).wait().expect_err("it is held");
                let blocked = error.blocked().map(|blocked| (blocked.ticket, blocked.ahead));
                assert_eq!(blocked, Some((guard.ticket(), 1)));
            }
        }
        if chunks == 7 {
            break;
        }
    }
    drop(held);
    scratch.assert_at_rest();
    assert_eq!(scratch.capacity(), FIRST_CELLS);
}
