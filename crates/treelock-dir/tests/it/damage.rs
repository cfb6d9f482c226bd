//! Damaged records: by crashes, by disks, by people.

use std::{
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use treelock::{Wait, engine::Severity};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::Helper,
    raw::{CELL, LENGTH_AT, PART_AT, PAYLOAD_AT},
    scratch::{AcquireWithin, Scratch, long, read, write},
};

impl Scratch {
    fn says_damaged(&self) -> bool {
        let found = self.lock.check().wait().expect("a directory that can be checked");
        found.iter().any(|f| f.severity == Severity::Odd && f.what.contains("damaged"))
    }
}

#[test]
fn garbage_in_a_record_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(scratch.cells(guard.ticket())[0] + PAYLOAD_AT as u64, &[0xff; 200]);
    assert_all_blocked(&scratch);
    drop(guard);
    drop(scratch.lock.try_acquire(&write("b")).wait().expect("its owner has left"));
    assert!(!scratch.says_damaged());
}

/// Checks that an unreadable record is in the way of every request, and that the error says so.
fn assert_all_blocked(scratch: &Scratch) {
    let error = scratch.lock.try_acquire(&read("b")).wait().expect_err("it is unreadable");
    let blocked = error.blocked().expect("something is in the way");
    assert_eq!(blocked.label.as_deref(), Some("damaged record"), "{blocked}");
    assert_eq!(blocked.blocker.to_string(), "write /");
    assert!(scratch.says_damaged());
}

/// Any part of a record of several cells may be missing.
#[test]
fn a_half_written_record_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&long("a")).wait().expect("a new lock is free");
    let cells = scratch.cells(guard.ticket());
    assert!(cells.len() > 3, "the record is too short for this test");
    for cell in &cells[1..] {
        let mut whole = [0; CELL];
        scratch.raw_table().read_exact_at(&mut whole, *cell).expect("a cell");
        scratch.overwrite(*cell, &[0; CELL]);
        assert_all_blocked(&scratch);
        scratch.overwrite(*cell, &whole);
        assert!(!scratch.says_damaged());
        drop(scratch.lock.try_acquire(&read("b")).wait().expect("it can be read again"));
    }
    drop(guard);
    scratch.assert_at_rest();
}

/// A process that was killed while it wrote has left the first cells of its record, which belong to
/// no one.
#[test]
fn a_half_written_record_of_a_dead_process_is_nobodys() {
    let scratch = Scratch::new();
    let mut holder = Helper::holding(&scratch.lock, "a");
    let ticket = scratch.lock.snapshot().wait().expect("a table").entries[0].ticket;
    let cells = scratch.cells(ticket);
    holder.kill();
    for cell in &cells[1..] {
        scratch.overwrite(*cell, &[0; CELL]);
    }
    assert!(scratch.lock.snapshot().wait().expect("a table").entries.is_empty());
    assert!(!scratch.says_damaged());
    let guard = scratch.lock.try_acquire(&write("/")).wait().expect("nothing is in the way");
    assert!(guard.ticket() > ticket, "a ticket is used once");
}

/// A record is read to its end, where nothing may be left over.
#[test]
fn a_record_with_another_length_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let at = scratch.cells(guard.ticket())[0] + LENGTH_AT as u64;
    let mut length = [0; 4];
    scratch.raw_table().read_exact_at(&mut length, at).expect("a cell");
    for wrong in [-1, 1] {
        let wrong = u32::from_le_bytes(length).wrapping_add_signed(wrong);
        scratch.overwrite(at, &wrong.to_le_bytes());
        assert_all_blocked(&scratch);
    }
    drop(guard);
}

/// A record whose parts are numbered wrongly is not put together by guessing.
#[test]
fn parts_with_wrong_numbers_count_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&long("a")).wait().expect("a new lock is free");
    let cells = scratch.cells(guard.ticket());
    let last = cells.last().expect("there are several") + PART_AT as u64;
    for number in [cells.len() - 2, cells.len()] {
        scratch.overwrite(last, &(number as u16).to_le_bytes());
        assert_all_blocked(&scratch);
    }
    scratch.overwrite(last, &(cells.len() as u16 - 1).to_le_bytes());
    assert!(!scratch.says_damaged());
    drop(guard);
}

/// A record that has lost its ticket belongs to no one, even while the latch, whose byte is 0, is
/// held.
#[test]
fn a_record_without_a_ticket_is_nobodys() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.overwrite(CELL as u64, &[0; 8]);
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
}

/// Whatever the cells contain, nothing panics, and a refused request gets a message that fits.
#[test]
fn garbage_anywhere_is_a_clear_answer() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..200 {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        drop(scratch.lock.try_acquire(&long("b")).wait().expect("free"));
        let start = CELL + (random() % 1500) as usize;
        let length = 1 + (random() % 600) as usize;
        let bytes: Vec<u8> = match round % 3 {
            0 => vec![0xff; length],
            _ => (0..length).map(|_| random() as u8).collect(),
        };
        scratch.overwrite(start as u64, &bytes);
        let asked = catch_unwind(AssertUnwindSafe(|| look_at_everything(&scratch)));
        asked.unwrap_or_else(|_| panic!("round {round}: {length} bytes at {start}"));
        drop(guard);
        let asked = catch_unwind(AssertUnwindSafe(|| look_at_everything(&scratch)));
        asked.unwrap_or_else(|_| panic!("round {round}, left: {length} bytes at {start}"));
    }
}

fn look_at_everything(scratch: &Scratch) {
    let fits = |error: Error| {
        assert!(matches!(error, Error::Blocked(_) | Error::Damaged { .. }), "{error}");
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
