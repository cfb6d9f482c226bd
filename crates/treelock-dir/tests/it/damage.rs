//! Damaged records, links and numbers: by crashes, by disks, by people.

use std::{
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use treelock::{Access, Node, Request, Wait, engine::Severity};
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::Helper,
    raw::{CELL, DIRTY_AT, LENGTH_AT, NEXT_AT, NEXT_LIFE_AT, PAYLOAD_AT, STATE_AT, TOKEN_AT},
    scratch::{AcquireWithin, Scratch, long, read, write},
};

impl Scratch {
    fn says_damaged(&self) -> bool {
        let found = self.lock.check().wait().expect("a directory that can be checked");
        found.iter().any(|f| f.severity == Severity::Odd && f.what.contains("damaged"))
    }

    /// Lets the next request build everything again from the records, as after a crash.
    fn let_it_rebuild(&self) {
        self.set_number(DIRTY_AT, 1);
    }
}

/// Checks that a request is refused because of an unreadable record, and that the error says so.
fn assert_blocked_by_damage(scratch: &Scratch, node: &str) {
    let error = scratch.lock.try_acquire(&read(node)).wait().expect_err("it is unreadable");
    let blocked = error.blocked().expect("something is in the way");
    assert_eq!(blocked.label.as_deref(), Some("damaged record"), "{blocked}");
    assert_eq!(blocked.blocker.to_string(), "write /");
}

/// Checks what an unreadable record on `a` means: whoever asks for `a` waits for it, and who looks
/// sees it as a write on everything. Those who never come across it are not in its way. But once
/// the index was built without it, it is in everybody's way.
fn assert_damage_counts(scratch: &Scratch) {
    assert_blocked_by_damage(scratch, "a");
    assert_blocked_by_damage(scratch, "a/below");
    assert_blocked_by_damage(scratch, "/");
    drop(scratch.lock.try_acquire(&read("b")).wait().expect("it does not come across it"));
    let looked = scratch.lock.blocked(&read("b")).wait().expect("a table").expect("seen");
    assert_eq!(looked.label.as_deref(), Some("damaged record"), "{looked}");
    let snapshot = scratch.lock.snapshot().wait().expect("a table");
    assert_eq!(snapshot.held().count(), 1, "{snapshot}");
    assert!(scratch.says_damaged());
}

fn assert_damage_counts_for_all(scratch: &Scratch) {
    scratch.let_it_rebuild();
    for node in ["a", "b", "/"] {
        assert_blocked_by_damage(scratch, node);
    }
    let mut waits = Polled::new(scratch.lock.acquire(&write("c")));
    assert!(waits.poll().is_none());
    assert!(scratch.says_damaged());
    drop(waits);
}

#[test]
fn garbage_in_a_record_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(scratch.cells(guard.ticket())[0] + PAYLOAD_AT, &[0xff; 180]);
    assert_damage_counts(&scratch);
    assert_damage_counts_for_all(&scratch);
    drop(guard);
    drop(scratch.lock.try_acquire(&write("b")).wait().expect("its owner has left"));
    assert!(!scratch.says_damaged());
    scratch.assert_at_rest();
}

/// A request that waits for one whose record is damaged goes on waiting until that has left. A
/// request whose ancestors are given lies below nothing by name, so no node of a damaged record is
/// in its way. Still it is not granted, and who gives up is told at once.
#[test]
fn one_with_given_ancestors_behind_a_damaged_record() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(scratch.cells(guard.ticket())[0] + PAYLOAD_AT, &[0xff; 180]);
    scratch.let_it_rebuild();
    let [own, above]: [Node; 2] = ["7", "3"].map(|name| name.parse().expect("a valid node"));
    let request = Request::new().with_ancestors(Access::Write, own, [above]);
    let is_damaged = |error: &Error| matches!(error, Error::Damaged { .. });
    let tried = scratch.lock.try_acquire(&request).wait().expect_err("something is in the way");
    assert!(is_damaged(&tried), "{tried}");
    let mut acquire = scratch.lock.acquire(&request);
    assert!(acquire.wait_timeout(Duration::from_millis(1)).is_none());
    let given_up = acquire.give_up().wait().expect_err("something is in the way");
    assert!(is_damaged(&given_up), "{given_up}");
    drop(guard);
    drop(scratch.lock.try_acquire(&request).wait().expect("its owner has left"));
}

#[test]
fn one_who_waits_for_a_damaged_record() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut waits = Polled::new(scratch.lock.acquire(&write("a/b")));
    assert!(waits.poll().is_none());
    scratch.overwrite(scratch.cells(guard.ticket())[0] + PAYLOAD_AT, &[0xff; 180]);
    assert_damage_counts_for_all_but_the_first(&scratch);
    assert!(waits.poll().is_none(), "it is still held");
    drop(guard);
    drop(scratch.lock.acquire_within(&read("c"), Duration::ZERO).expect("it has left"));
    crate::scratch::eventually("it is woken", || waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
    drop(waits);
    scratch.assert_at_rest();
}

fn assert_damage_counts_for_all_but_the_first(scratch: &Scratch) {
    scratch.let_it_rebuild();
    for node in ["a", "b", "/"] {
        assert_blocked_by_damage(scratch, node);
    }
}

/// Any part of a record of several cells may be missing.
#[test]
fn a_half_written_record_counts_as_a_write_on_everything() {
    for rebuild in [false, true] {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&long("a")).wait().expect("a new lock is free");
        let cells = scratch.cells(guard.ticket());
        assert!(cells.len() > 3, "the record is too short for this test");
        for cell in &cells[1..] {
            let whole = scratch.cell(*cell);
            scratch.overwrite(*cell, &[0; CELL]);
            assert_damage_counts(&scratch);
            if rebuild {
                // Now the cell belongs to others.
                assert_damage_counts_for_all(&scratch);
                break;
            }
            scratch.overwrite(*cell, &whole);
            assert!(!scratch.says_damaged());
            assert!(scratch.lock.try_acquire(&read("a")).wait().is_err(), "it is held");
            drop(scratch.lock.try_acquire(&read("b")).wait().expect("it can be read again"));
        }
        drop(guard);
        scratch.assert_at_rest();
    }
}

/// A process that was killed while it wrote has left the first cells of its record, which belong to
/// no one.
#[test]
fn a_half_written_record_of_a_dead_process_is_nobodys() {
    for rebuild in [false, true] {
        let scratch = Scratch::new();
        let mut holder = Helper::holding(&scratch.lock, "a");
        let ticket = scratch.lock.snapshot().wait().expect("a table").entries[0].ticket;
        let cells = scratch.cells(ticket);
        holder.kill();
        for cell in &cells[1..] {
            scratch.overwrite(*cell, &[0; CELL]);
        }
        if rebuild {
            scratch.let_it_rebuild();
        }
        assert!(scratch.lock.snapshot().wait().expect("a table").entries.is_empty());
        assert!(!scratch.says_damaged());
        let guard = scratch.lock.try_acquire(&write("/")).wait().expect("nothing is in the way");
        assert!(guard.ticket() > ticket, "a ticket is used once");
        drop(guard);
        scratch.assert_at_rest();
    }
}

/// A record is read to its end, where nothing may be left over.
#[test]
fn a_record_with_another_length_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let at = scratch.cells(guard.ticket())[0] + LENGTH_AT;
    let mut length = [0; 4];
    scratch.raw_table().read_exact_at(&mut length, at).expect("a cell");
    let length = u32::from_ne_bytes(length);
    for wrong in [0, length - 1, length + 1, 185, 1 << 20, u32::MAX] {
        scratch.overwrite(at, &wrong.to_ne_bytes());
        assert_damage_counts(&scratch);
    }
    assert_damage_counts_for_all(&scratch);
    drop(guard);
    scratch.assert_at_rest();
}

/// A record whose parts are linked wrongly is not put together by guessing: a link to nothing, to
/// itself, to the first part, to another record, and to cells that the table does not have.
#[test]
fn parts_with_wrong_links_count_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&long("a")).wait().expect("a new lock is free");
    let cells = scratch.cells(guard.ticket());
    let number = |at: u64| ((at - cells[0]) / CELL as u64) as u32;
    let last = cells.len() - 1;
    let at = cells[last - 1] + NEXT_AT;
    for wrong in [0, number(cells[last - 1]) + 1, 1, 40, 64, 65, 1000, 1 << 20, u32::MAX] {
        scratch.overwrite(at, &wrong.to_ne_bytes());
        assert_damage_counts(&scratch);
    }
    scratch.overwrite(at, &(number(cells[last]) + 1).to_ne_bytes());
    assert!(!scratch.says_damaged());
    scratch.overwrite(at, &u32::MAX.to_ne_bytes());
    assert_damage_counts_for_all(&scratch);
    drop(guard);
    scratch.assert_at_rest();
}

/// A record that has lost its ticket belongs to no one.
#[test]
fn a_record_without_a_ticket_is_nobodys() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(scratch.cells(guard.ticket())[0] + STATE_AT, &[0; 8]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for node in ["b", "c"] {
            let (lock, done) = (DirLock::new(scratch.lock.path()), &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    drop(lock.try_acquire(&write(node)).wait().expect("nothing is in the way"));
                }
            });
        }
        let shown = |_| scratch.lock.snapshot().wait().expect("a table").entries;
        let shown = (0..2000).flat_map(shown).any(|entry| entry.ticket == 0);
        done.store(true, Ordering::SeqCst);
        assert!(!shown, "ticket 0 was never issued");
    });
    drop(guard);
    scratch.let_it_rebuild();
    scratch.assert_at_rest();
}

/// Numbers in the header that cannot be are refused while the table is in use, and begun anew when
/// it is not.
#[test]
fn numbers_that_cannot_be() {
    for (at, garbage) in [
        (NEXT_LIFE_AT, 0),
        (NEXT_LIFE_AT, u64::MAX),
        (NEXT_LIFE_AT, 1 << 63),
        (crate::raw::CHUNKS_AT, 0),
        (crate::raw::CHUNKS_AT, 16),
        (crate::raw::CHUNKS_AT, u64::MAX),
        (crate::raw::TICKET_AT, u64::MAX),
        (TOKEN_AT, u64::MAX),
    ] {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        scratch.set_number(at, garbage);
        let joins = DirLock::new(scratch.lock.path());
        let error = joins.try_acquire(&write("a")).wait().expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{at}: {garbage:x}: {error}");
        drop(guard);
        scratch.lock.close().wait();
        drop(joins.try_acquire(&write("a")).wait().unwrap_or_else(|error| {
            panic!("nobody uses it: {at}: {garbage:x}: {error}");
        }));
        scratch.assert_at_rest();
    }
}

/// Whatever the cells, the index and the header contain, nothing panics, and a refused request gets
/// a message that fits. When all have left, the table is of use again.
#[test]
fn garbage_anywhere_is_a_clear_answer() {
    let mut random = fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15);
    for round in 0..400 {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        drop(scratch.lock.try_acquire(&long("b")).wait().expect("free"));
        let more = scratch.crowd(random.usize(..80));
        // The header behind the magic and the key, the first cells, or anything.
        let (start, most) = match round % 3 {
            0 => (random.u64(32..400), 100),
            1 => (8192 + random.u64(..6000), 600),
            _ => (random.u64(32..scratch.size()), 4000),
        };
        let length = 1 + random.usize(..most);
        let bytes: Vec<u8> = match round % 5 {
            0 => vec![0xff; length],
            1 => vec![0; length],
            _ => std::iter::repeat_with(|| random.u8(..)).take(length).collect(),
        };
        scratch.overwrite(start, &bytes);
        let what = format!("round {round}: {length} bytes at {start}");
        let asked = catch_unwind(AssertUnwindSafe(|| look_at_everything(&scratch)));
        asked.unwrap_or_else(|_| panic!("{what}"));
        drop((guard, more));
        let asked = catch_unwind(AssertUnwindSafe(|| look_at_everything(&scratch)));
        asked.unwrap_or_else(|_| panic!("left, {what}"));
    }
}

fn look_at_everything(scratch: &Scratch) {
    let fits = |error: Error| {
        let fits =
            matches!(error, Error::Blocked(_) | Error::Damaged { .. } | Error::Foreign { .. });
        assert!(fits, "{error}");
    };
    let lock = DirLock::new(scratch.lock.path());
    for lock in [&scratch.lock, &lock] {
        lock.try_acquire(&read("c")).wait().map_or_else(fits, drop);
        lock.acquire_within(&long("c"), Duration::ZERO).map_or_else(fits, drop);
        lock.snapshot().wait().map_or_else(fits, |snapshot| drop(snapshot.to_string()));
        lock.blocked(&write("/")).wait().map_or_else(fits, drop);
        drop(lock.check().wait().expect("a directory that can be checked"));
    }
}
