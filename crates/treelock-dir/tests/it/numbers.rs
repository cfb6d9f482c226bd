//! Tickets and tokens: no ticket is issued twice, and tokens grow (C20).

use std::{
    fs, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use treelock::{FencingToken, Wait, engine::Severity};
use treelock_dir::{DirLock, Error};

use crate::{
    raw::{CELL, CELLS_USED_AT, DIRTY_AT, PAGE, TICKET_AT, TOKEN_AT},
    scratch::{Scratch, read, write},
};

/// No counter can be lost. If the last ticket and token were lost in a crash, and with them the
/// cells of requests that have left, no live ticket is issued again, and tokens grow.
#[test]
fn a_lost_counter_gives_no_ticket_twice() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let mut last = FencingToken::new(0);
    for round in 0..20 {
        let kept = lock.try_acquire(&write("kept")).wait().expect("nothing is in the way");
        let left: Vec<_> = (0..3)
            .map(|i| lock.try_acquire(&write(&i.to_string())).wait().expect("free"))
            .collect();
        assert!(left.iter().all(|guard| guard.ticket() > kept.ticket()));
        assert!(kept.token() > last && left.iter().all(|guard| guard.token() > kept.token()));
        last = left.last().expect("there are three").token();
        let lost: Vec<u64> = left.iter().flat_map(|guard| scratch.cells(guard.ticket())).collect();
        // One of them is lost while in use.
        let still_live = left.into_iter().skip(if round % 2 == 0 { 3 } else { 2 });
        let still_live: Vec<_> = still_live.collect();
        scratch.set_number(DIRTY_AT, 1);
        scratch.set_number(TICKET_AT, 0);
        scratch.set_number(TOKEN_AT, 0);
        let gone = lost.len() - still_live.len();
        lost[..gone].iter().for_each(|cell| scratch.overwrite(*cell, &[0; CELL]));
        let next = lock.try_acquire(&write("next")).wait().expect("nothing is in the way");
        let mut live = vec![kept.ticket(), next.ticket()];
        live.extend(still_live.iter().map(|guard| guard.ticket()));
        live.sort_unstable();
        assert!(live.is_sorted_by(|a, b| a < b), "a ticket was issued twice: {live:?}");
        assert!(next.token() > last, "tokens grow");
        last = next.token();
        assert!(lock.try_acquire(&read("kept/below")).wait().is_err(), "it is held");
        scratch.assert_sound();
    }
}

/// A header that is lost as a whole, except for what the file is, is damage: no request is granted
/// before all have left. Then the table is begun anew, and tokens grow.
#[test]
fn a_lost_header_gives_no_ticket_twice() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(16, &[0; PAGE as usize - 16]);
    for lock in [lock, &DirLock::new(lock.path())] {
        let error = lock.try_acquire(&write("a")).wait().expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    let last = guard.token();
    drop(guard);
    assert!(lock.try_acquire(&write("a")).wait().expect("all have left").token() > last);
    scratch.assert_at_rest();
}

/// C20: tokens grow even when the directory is emptied by hand, and the holder learns of it (C21).
#[test]
fn tokens_grow_when_the_directory_is_emptied() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let mut last = FencingToken::new(0);
    for _ in 0..3 {
        for _ in 0..3 {
            let guard = lock.try_acquire(&write("a")).wait().expect("free");
            assert!(guard.token() > last);
            last = guard.token();
        }
        let guard = lock.try_acquire(&write("a")).wait().expect("free");
        fs::remove_file(scratch.table()).expect("a table");
        assert!(!guard.is_valid());
        last = guard.token();
        // Now the handle has not just seen the table.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Tests a table with a grant that was made before the clock was set back by an hour.
#[test]
fn a_clock_that_is_set_back_takes_no_token_back() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    drop(lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that");
    let ahead = (now + Duration::from_secs(3600)).as_nanos() as u64;
    scratch.set_number(TOKEN_AT, ahead);
    let mut last = FencingToken::new(ahead);
    for lock in [lock, &DirLock::new(lock.path()), lock] {
        let guard = lock.try_acquire(&write("a")).wait().expect("nothing is in the way");
        assert!(guard.token() > last, "{} after {last}", guard.token());
        last = guard.token();
    }
    let found = lock.check().wait().expect("a directory that can be checked");
    let odd = found.iter().find(|finding| finding.what.contains("ahead of the clock"));
    let odd = odd.expect("the clock is an hour behind the tokens");
    assert_eq!(odd.severity, Severity::Odd);
    assert!(odd.advice.contains("do not remove the table"), "{odd}");
}

/// Numbers near the end of the valid range are refused, and nothing is granted unseen.
#[test]
fn a_last_number_at_the_end_of_numbers() {
    for at in [TICKET_AT, TOKEN_AT] {
        let scratch = Scratch::new();
        drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
        let keeps_it_in_use = DirLock::new(scratch.lock.path());
        drop(keeps_it_in_use.try_acquire(&write("a")).wait().expect("it is free"));
        scratch.set_number(at, (1 << 61) - 1);
        for _ in 0..2 {
            let error =
                scratch.lock.try_acquire(&write("a")).wait().expect_err("there is no next number");
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
        assert!(scratch.lock.snapshot().wait().map_or(true, |shown| shown.entries.is_empty()));
    }
}

/// A live ticket whose record is lost is not given again.
#[test]
fn a_live_ticket_without_a_record_is_not_given_again() {
    let scratch = Scratch::new();
    let live = scratch.crowd(5);
    scratch.overwrite(2 * PAGE, &[0; 5 * CELL]);
    for dirty in [0, 1] {
        scratch.set_number(DIRTY_AT, dirty);
        let next = scratch.lock.try_acquire(&write("next")).wait().expect("nothing is in the way");
        assert!(live.iter().all(|guard| guard.ticket() < next.ticket()));
    }
    assert!(scratch.number(CELLS_USED_AT) >= 5);
}
