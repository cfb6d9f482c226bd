//! What is done to the bytes of a table: by crashes, by disks, by people, by the clock.

use std::{
    fs,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use treelock::FencingToken;
use treelock_dir::{DirLock, Error, Guard, Severity};

use crate::{
    helper::Helper,
    scratch::{LONG, Scratch, eventually, long, read, write},
};

/// As the head of `record.rs` draws it.
const CELL: usize = 256;
const STATE_AT: usize = 8;
const TOKEN_AT: usize = 16;
const PART_AT: usize = 40;
const LENGTH_AT: usize = 44;
const PAYLOAD_AT: usize = 48;

impl Scratch {
    /// The places in the file of the cells whose ticket this is, the first part first.
    fn cells(&self, ticket: u64) -> Vec<u64> {
        let bytes = fs::read(self.table()).expect("a table");
        let cells = bytes.chunks_exact(CELL).enumerate().skip(1);
        let own = cells.filter(|(_, cell)| cell[..8] == ticket.to_le_bytes());
        let part = |cell: &[u8]| u16::from_le_bytes([cell[PART_AT], cell[PART_AT + 1]]);
        let mut parts: Vec<(u16, u64)> =
            own.map(|(number, cell)| (part(cell), (number * CELL) as u64)).collect();
        parts.sort_unstable();
        parts.into_iter().map(|(_, at)| at).collect()
    }

    fn overwrite(&self, at: u64, bytes: &[u8]) {
        self.raw_table().write_all_at(bytes, at).expect("room");
    }

    /// How many cells are marked as used.
    fn used(&self) -> usize {
        let bytes = fs::read(self.table()).expect("a table");
        let cells = bytes.chunks_exact(CELL).skip(1);
        cells.filter(|cell| cell[STATE_AT..][..4] != [0; 4]).count()
    }

    fn size(&self) -> u64 {
        fs::metadata(self.table()).expect("a table").len()
    }

    /// So many guards of one handle in a new table; the first has the first cell, and so on.
    fn crowd(&self, count: usize) -> Vec<Guard> {
        let ask = |i: usize| self.lock.try_acquire(&write(&format!("crowd/{i}")));
        (0..count).map(|i| ask(i).expect("nobody is in the way")).collect()
    }

    fn says_damaged(&self) -> bool {
        let found = self.lock.check().expect("a place that can be looked at");
        found.iter().any(|f| f.severity == Severity::Odd && f.what.contains("damaged"))
    }
}

#[test]
fn garbage_in_a_record_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    scratch.overwrite(scratch.cells(guard.ticket())[0] + PAYLOAD_AT as u64, &[0xff; 200]);
    assert_all_blocked(&scratch);
    drop(guard);
    drop(scratch.lock.try_acquire(&write("b")).expect("its owner has left"));
    assert!(!scratch.says_damaged());
}

/// A record that cannot be read is in everybody's way, and everybody is told of it.
fn assert_all_blocked(scratch: &Scratch) {
    let error = scratch.lock.try_acquire(&read("b")).expect_err("nobody knows what it is");
    let blocked = error.blocked().expect("somebody is in the way");
    assert_eq!(blocked.label.as_deref(), Some("damaged record"), "{blocked}");
    assert_eq!(blocked.blocker.to_string(), "write /");
    assert!(scratch.says_damaged());
}

/// Any part of a record of several cells may be missing.
#[test]
fn a_half_written_record_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&long("a")).expect("a new lock is free");
    let cells = scratch.cells(guard.ticket());
    assert!(cells.len() > 3, "the record is too short for this test");
    for cell in &cells[1..] {
        let mut whole = [0; CELL];
        scratch.raw_table().read_exact_at(&mut whole, *cell).expect("a cell");
        scratch.overwrite(*cell, &[0; CELL]);
        assert_all_blocked(&scratch);
        scratch.overwrite(*cell, &whole);
        assert!(!scratch.says_damaged());
        drop(scratch.lock.try_acquire(&read("b")).expect("it can be read again"));
    }
    drop(guard);
    scratch.assert_at_rest();
}

/// A process that was killed while it wrote has left the first cells of its record; they are nobody's.
#[test]
fn a_half_written_record_of_a_dead_process_is_nobodys() {
    let scratch = Scratch::new();
    let mut holder = Helper::holding(&scratch.lock, "a");
    let ticket = scratch.lock.snapshot().expect("a table").entries[0].ticket;
    let cells = scratch.cells(ticket);
    holder.kill();
    for cell in &cells[1..] {
        scratch.overwrite(*cell, &[0; CELL]);
    }
    assert!(scratch.lock.snapshot().expect("a table").entries.is_empty());
    assert!(!scratch.says_damaged());
    let guard = scratch.lock.try_acquire(&write("/")).expect("nobody is in the way");
    assert!(guard.ticket() > ticket, "a ticket is used once");
}

#[test]
fn what_is_not_a_table_is_refused_and_kept() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    for text in ["a list of tables and chairs\n".repeat(100), "treelock table of 2050".repeat(50)] {
        fs::write(scratch.table(), &text).expect("room");
        let error = scratch.lock.try_acquire(&write("a")).expect_err("not a table");
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert!(scratch.lock.snapshot().is_err());
        let found = scratch.lock.check().expect("a place that can be looked at");
        assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{found:?}");
        assert_eq!(fs::read_to_string(scratch.table()).expect("still there"), text);
    }
}

/// Emptied, cut within its header, behind it, and within the cells.
#[test]
fn a_table_cut_short_in_use_is_refused_until_its_users_have_left() {
    for length in [0, 100, CELL as u64, CELL as u64 + 100] {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
        scratch.raw_table().set_len(length).expect("a scratch file");
        let another = DirLock::new(scratch.lock.path());
        for lock in [&scratch.lock, &another] {
            let error = lock.try_acquire(&write("a/b")).err();
            let error = error.unwrap_or_else(|| panic!("two hold it, cut to {length}"));
            assert!(matches!(error, Error::Damaged { .. }), "{error}, cut to {length}");
        }
        let before = guard.token();
        drop(guard);
        let guard = another.try_acquire(&write("a")).expect("nobody uses it any more");
        assert!(guard.token() > before);
    }
}

/// There is no counter to be lost: whatever the header says behind its version, no live ticket is given
/// again, and tokens grow. The same if the cells of those who left are lost, and with them the last ticket.
#[test]
fn a_lost_counter_gives_no_ticket_twice() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let mut last = FencingToken(0);
    for round in 0..20 {
        let kept = lock.try_acquire(&write("kept")).expect("nobody is in the way");
        let left: Vec<_> =
            (0..3).map(|i| lock.try_acquire(&write(&i.to_string())).expect("free")).collect();
        assert!(left.iter().all(|guard| guard.ticket() > kept.ticket()));
        assert!(kept.token() > last && left.iter().all(|guard| guard.token() > kept.token()));
        last = left.last().expect("there are three").token();
        let lost: Vec<u64> = left.iter().flat_map(|guard| scratch.cells(guard.ticket())).collect();
        // Some of them while they are in use.
        let still_live = left.into_iter().skip(if round % 2 == 0 { 3 } else { 2 });
        let still_live: Vec<_> = still_live.collect();
        scratch.overwrite(16, &[0; CELL - 16]);
        lost.iter().for_each(|cell| scratch.overwrite(*cell, &[0; CELL]));
        let next = lock.try_acquire(&write("next")).expect("nobody is in the way");
        let mut live = vec![kept.ticket(), next.ticket()];
        live.extend(still_live.iter().map(|guard| guard.ticket()));
        live.sort_unstable();
        assert!(live.is_sorted_by(|a, b| a < b), "a ticket was given twice: {live:?}");
        assert!(next.token() > last, "tokens grow");
        last = next.token();
        assert!(lock.try_acquire(&read("kept/below")).is_err(), "it is held");
    }
}

/// C20: tokens grow, also when the directory is emptied by hand, and the holder learns of it (C21).
#[test]
fn tokens_grow_when_the_directory_is_emptied() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let mut last = FencingToken(0);
    for _ in 0..3 {
        for _ in 0..3 {
            let guard = lock.try_acquire(&write("a")).expect("free");
            assert!(guard.token() > last);
            last = guard.token();
        }
        let guard = lock.try_acquire(&write("a")).expect("free");
        fs::remove_file(scratch.table()).expect("a table");
        assert!(!guard.is_valid());
        last = guard.token();
    }
}

/// As if a grant had been given before the clock was set back by an hour.
#[test]
fn a_clock_that_is_set_back_takes_no_token_back() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than that");
    let ahead = (now + Duration::from_secs(3600)).as_nanos() as u64;
    scratch.overwrite(scratch.cells(guard.ticket())[0] + TOKEN_AT as u64, &ahead.to_le_bytes());
    drop(guard);
    let mut last = FencingToken(ahead);
    for _ in 0..3 {
        let guard = lock.try_acquire(&write("a")).expect("nobody is in the way");
        assert!(guard.token() > last, "{} after {last}", guard.token());
        last = guard.token();
    }
    let found = lock.check().expect("a place that can be looked at");
    let odd = found.iter().find(|finding| finding.what.contains("ahead of the clock"));
    let odd = odd.expect("the clock is an hour behind the tokens");
    assert_eq!(odd.severity, Severity::Odd);
    assert!(odd.advice.contains("do not remove the table"), "{odd}");
}

/// Whatever stands in the cells, nobody panics, and who is refused is told by a sentence that fits.
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
        let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
        drop(scratch.lock.try_acquire(&long("b")).expect("free"));
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
        lock.try_acquire(&read("c")).map_or_else(fits, drop);
        lock.acquire_timeout(&long("c"), Duration::ZERO).map_or_else(fits, drop);
        lock.snapshot().map_or_else(fits, |snapshot| drop(snapshot.to_string()));
        lock.blocked(&write("/")).map_or_else(fits, drop);
        drop(lock.check().expect("a place that can be looked at"));
    }
}

#[test]
fn a_waiter_whose_table_is_replaced_is_told() {
    let remove_file = |scratch: &Scratch| fs::remove_file(scratch.table());
    let remove_all = |scratch: &Scratch| fs::remove_dir_all(scratch.lock.path());
    let rename = |scratch: &Scratch| fs::rename(scratch.lock.path(), scratch.path().join("old"));
    for lose in [remove_file, remove_all, rename] as [fn(&Scratch) -> std::io::Result<()>; 3] {
        let scratch = Scratch::new();
        let lock = &scratch.lock;
        let mut holder = Helper::holding(lock, "a");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.acquire_timeout(&write("a"), LONG));
            eventually("it is in line", || lock.snapshot().expect("a table").waiting().count() > 0);
            lose(&scratch).expect("a scratch directory");
            assert!(holder.end().success(), "releasing does not fail");
            let error = waiter.join().expect("no panic").expect_err("its place is lost");
            assert!(error.is_lost(), "{error}");
            drop(lock.try_acquire(&write("a")).expect("a new table"));
        });
    }
}

/// A handle that remembers its last place finds a table that was emptied at rest and begun anew: the ticket
/// that it had is somebody else's now.
#[test]
fn a_table_that_was_emptied_and_begun_anew() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).expect("a new lock is free"));
    scratch.raw_table().set_len(0).expect("a scratch file");
    let another = DirLock::new(scratch.lock.path());
    let guard = another.try_acquire(&write("a")).expect("a new table is free");
    let error = scratch.lock.try_acquire(&write("a/b")).expect_err("somebody holds it");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    let beside = scratch.lock.try_acquire(&write("b")).expect("nobody is in the way");
    assert_eq!(another.snapshot().expect("a table").held().count(), 2);
    drop((guard, beside));
    scratch.assert_at_rest();
}

/// Whoever is in the way may be unreadable; a time-out is over all the same.
#[test]
fn a_time_out_ends_though_nobody_knows_who_is_in_the_way() {
    let lose: [fn(&Scratch, u64); 2] = [
        |scratch, _| scratch.raw_table().set_len(0).expect("a scratch file"),
        // As one is marked who is about to unlock his ticket, and is stopped just then.
        |scratch, ticket| scratch.overwrite(scratch.cells(ticket)[0] + STATE_AT as u64, &[0; 4]),
    ];
    for lose in lose {
        let scratch = &Scratch::new();
        let lock = &scratch.lock;
        let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
        std::thread::scope(|scope| {
            let waits =
                scope.spawn(|| lock.acquire_timeout(&write("a"), Duration::from_millis(300)));
            let waiting = || lock.snapshot().expect("a table").waiting().count() == 1;
            eventually("it waits", waiting);
            lose(scratch, guard.ticket());
            eventually("its time is over", || waits.is_finished());
            let error = waits.join().expect("no panic").expect_err("the other still holds");
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        });
        drop(guard);
    }
}

/// An empty file in which tickets are live does not look as if nobody were there.
#[test]
fn a_table_that_was_emptied_in_use_cannot_be_shown() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    scratch.raw_table().set_len(0).expect("a scratch file");
    let error = scratch.lock.snapshot().expect_err("nobody knows who holds what");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    drop(guard);
    assert!(scratch.lock.snapshot().expect("nobody uses it").entries.is_empty());
}

/// A handle that was open before goes on when nobody uses the table.
#[test]
fn a_table_that_was_emptied_at_rest_is_begun_anew_by_its_old_handles() {
    for length in [0, 100, 256, 1000] {
        let scratch = Scratch::new();
        let before = scratch.lock.try_acquire(&write("a")).expect("a new lock is free").token();
        scratch.raw_table().set_len(length).expect("a scratch file");
        let guard = scratch.lock.try_acquire(&write("a")).expect("nobody uses it");
        assert!(guard.token() > before, "{length}");
        assert_eq!(scratch.lock.snapshot().expect("a table").held().count(), 1, "{length}");
    }
}

/// Ticket numbers near the end of what is taken for one are refused, and nothing is granted unseen.
#[test]
fn a_last_ticket_at_the_end_of_numbers() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).expect("a new lock is free"));
    let last = ((1u64 << 62) - 1).to_le_bytes();
    scratch.overwrite(CELL as u64, &last);
    for _ in 0..2 {
        let error = scratch.lock.try_acquire(&write("a")).expect_err("there is no next number");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

/// A file that is far too long is not read into memory.
#[test]
fn a_file_longer_than_any_table() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).expect("a new lock is free"));
    scratch.raw_table().set_len(1 << 40).expect("a file with a hole");
    let error = scratch.lock.try_acquire(&write("a")).expect_err("it is no table");
    assert!(error.to_string().contains("longer than any lock table"), "{error}");
    assert!(scratch.lock.snapshot().is_err());
}

/// A live ticket whose record is lost is known by its byte alone, and is passed over.
#[test]
fn a_live_ticket_without_a_record_is_not_given_again() {
    let scratch = Scratch::new();
    let live = scratch.crowd(5);
    scratch.overwrite(CELL as u64, &[0; 5 * CELL]);
    let next = scratch.lock.try_acquire(&write("next")).expect("nobody is in the way");
    assert!(live.iter().all(|guard| guard.ticket() < next.ticket()));
}

/// Also a table that had grown is known to be cut short, when what it began with is left.
#[test]
fn a_table_that_has_grown_and_was_cut_short() {
    let scratch = Scratch::new();
    let guards = scratch.crowd(20);
    let grown = scratch.size();
    scratch.raw_table().set_len(grown / 2).expect("a scratch file");
    for lock in [&scratch.lock, &DirLock::new(scratch.lock.path())] {
        let error = lock.try_acquire(&write("crowd/19")).expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    drop(guards);
    drop(scratch.lock.try_acquire(&write("crowd/19")).expect("nobody uses it any more"));
    scratch.assert_at_rest();
}

/// Those who leave an emptied table may make it longer again, with zeros for a header.
#[test]
fn a_table_that_was_emptied_in_use_and_written_to() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(3);
    scratch.raw_table().set_len(0).expect("a scratch file");
    let last = crowd.pop();
    drop(crowd);
    assert!(scratch.size() > CELL as u64, "one of them has freed its cell");
    for lock in [&scratch.lock, &DirLock::new(scratch.lock.path())] {
        let error = lock.try_acquire(&write("crowd/2")).expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    drop(last);
    drop(scratch.lock.try_acquire(&write("crowd/2")).expect("nobody uses it any more"));
    scratch.assert_at_rest();
}

/// Whichever cell the last of a crowd has, it is not cut off with what the others have left.
#[test]
fn a_table_becomes_short_behind_whoever_is_left() {
    for left in [0, 13, 14, 15, 16, 29, 30, 31, 32, 33, 46, 47, 48] {
        let scratch = Scratch::new();
        let mut crowd = scratch.crowd(200);
        let (size, kept) = (scratch.size(), crowd.swap_remove(left));
        drop(crowd);
        let another = DirLock::new(scratch.lock.path());
        drop(another.try_acquire(&write("other")).expect("nobody is in the way"));
        assert!(scratch.size() < size / 2, "{} of {size} bytes, {left}", scratch.size());
        let snapshot = another.snapshot().expect("a table");
        let tickets: Vec<u64> = snapshot.held().map(|entry| entry.ticket).collect();
        assert_eq!(tickets, [kept.ticket()], "{left}");
        assert!(another.try_acquire(&read(&format!("crowd/{left}"))).is_err(), "{left} is held");
    }
}

/// One who is refused may be the one who makes the table short, and enters nothing that tells the last
/// ticket and token, the latter as if the clock had been set back.
#[test]
fn what_is_cut_off_leaves_its_numbers() {
    let scratch = Scratch::new();
    let held = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut crowd = scratch.crowd(200);
    let (size, last) = (scratch.size(), crowd.pop().expect("there are many"));
    let ticket = last.ticket();
    let ahead = last.token().0 + 3_600_000_000_000;
    scratch.overwrite(scratch.cells(ticket)[0] + TOKEN_AT as u64, &ahead.to_le_bytes());
    drop((crowd, last));
    let another = DirLock::new(scratch.lock.path());
    assert!(another.try_acquire(&write("a")).is_err(), "it is held");
    assert!(scratch.size() < size / 2, "{} of {size} bytes", scratch.size());
    let next = another.try_acquire(&write("b")).expect("nobody is in the way");
    assert!(next.ticket() > ticket, "{} after {ticket}", next.ticket());
    assert!(next.token() > FencingToken(ahead), "{} after {ahead}", next.token());
    drop(held);
}

/// All cells of those who left are marked as free, but for those of one place of the handle.
#[test]
fn who_leaves_frees_its_cells() {
    let (few, many) = (write("few"), long("many"));
    for requests in [[&few, &few], [&many, &many], [&many, &few], [&few, &many]] {
        let scratch = Scratch::new();
        for request in requests {
            let guard = scratch.lock.try_acquire(request).expect("nobody is in the way");
            let cells = scratch.cells(guard.ticket()).len();
            assert_eq!(scratch.used(), cells);
            drop(guard);
            assert_eq!(scratch.used(), cells);
        }
        // Who is refused takes no place, so that of the last is still there to be used again.
        let another = DirLock::new(scratch.lock.path());
        let held = another.try_acquire(&write("held")).expect("nobody is in the way");
        assert!(scratch.lock.try_acquire(&read("held")).is_err(), "it is held");
        drop(scratch.lock.try_acquire(&write("other")).expect("nobody is in the way"));
        assert_eq!(scratch.used(), 2);
        drop(held);
    }
    let scratch = Scratch::new();
    drop(scratch.crowd(10));
    assert_eq!(scratch.used(), 1);
    // A child may have the description for as long as it likes, so it has no place to be used again.
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    guard.inherit(&mut Command::new("true")).expect("a free descriptor");
    drop(guard);
    assert_eq!(scratch.used(), 0);
}

/// Cells of the dead are used again before the table grows, also if they are in nobody's way.
#[test]
fn the_dead_make_no_table_long() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).expect("a new lock is free"));
    let short = scratch.size();
    for i in 0..8 {
        Helper::holding(&scratch.lock, &i.to_string()).kill();
        assert_eq!(scratch.size(), short, "{i} were killed before");
    }
    scratch.assert_at_rest();
}

/// A record is read to its end, where nothing may be left.
#[test]
fn a_record_with_another_length_counts_as_a_write_on_everything() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
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
    let guard = scratch.lock.try_acquire(&long("a")).expect("a new lock is free");
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

/// A record that has lost its ticket is nobody's, also while somebody has the latch, whose byte is 0.
#[test]
fn a_record_without_a_ticket_is_nobodys() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    scratch.overwrite(CELL as u64, &[0; 8]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for node in ["b", "c"] {
            let (lock, done) = (DirLock::new(scratch.lock.path()), &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    drop(lock.try_acquire(&write(node)).expect("nobody is in the way"));
                }
            });
        }
        let shown = |_| scratch.lock.snapshot().expect("a table").entries;
        let shown = (0..2000).flat_map(shown).any(|entry| entry.ticket == 0);
        done.store(true, Ordering::SeqCst);
        assert!(!shown, "ticket 0 was never given");
    });
    drop(guard);
}

/// What nobody uses shows nobody, whatever became of its bytes, also before somebody asks and mends it.
#[test]
fn a_damaged_table_that_nobody_uses_shows_nobody() {
    let scratch = Scratch::new();
    let one = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    let two = scratch.lock.try_acquire(&write("b")).expect("nobody is in the way");
    scratch.raw_table().set_len(0).expect("a scratch file");
    assert!(scratch.lock.snapshot().is_err());
    drop(one);
    assert!(scratch.lock.snapshot().is_err());
    drop(two); // and its mark in a file that has no header
    assert!(scratch.lock.snapshot().expect("nobody uses it").entries.is_empty());
    assert!(scratch.lock.blocked(&write("/")).expect("nobody uses it").is_none());
    scratch.assert_at_rest();
}
