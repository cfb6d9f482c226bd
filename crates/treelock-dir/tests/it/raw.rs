//! The bytes of a table, read and written directly instead of through the lock.
//!
//! Where what lies is written here once more, and not taken from the crate. So if the format
//! changes, tests fail, and the version has to change with it.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
};

use treelock::Wait;
use treelock_dir::Guard;

use crate::scratch::{Scratch, write};

/// The first bytes, and the version behind them.
pub(crate) const MAGIC: &[u8; 12] = b"treelock tab";
pub(crate) const VERSION: u32 = 2;

// Numbers of 64 bits in the header.
pub(crate) const KEY_AT: u64 = 16;
/// When the table opens, in nanoseconds since boot.
pub(crate) const OPENS_AT: u64 = 32;
pub(crate) const NEXT_LIFE_AT: u64 = 64;
pub(crate) const LATCH_AT: u64 = 128;
pub(crate) const LATCH_PID_AT: u64 = 136;
pub(crate) const DIRTY_AT: u64 = 192;
pub(crate) const TICKET_AT: u64 = 200;
pub(crate) const TOKEN_AT: u64 = 208;
pub(crate) const CHUNKS_AT: u64 = 216;
pub(crate) const FREE_AT: u64 = 224;
pub(crate) const FREE_COUNT_AT: u64 = 232;
pub(crate) const CELLS_USED_AT: u64 = 240;
pub(crate) const CURSOR_AT: u64 = 248;
pub(crate) const DAMAGED_AT: u64 = 256;
pub(crate) const REBUILDS_AT: u64 = 264;
/// The first free one, how many were ever used, and how many are in use.
pub(crate) const PLACES_AT: u64 = 272;
pub(crate) const ENTRIES_AT: u64 = 296;
pub(crate) const LIVE_AT: u64 = 320;
pub(crate) const LEFT_AT: u64 = 384;

/// The size of the header and of the bells.
pub(crate) const PAGE: u64 = 4096;
pub(crate) const CANARY: u64 = 0xc3a5_c85c_97cb_3127;
/// The size of a cell, and how many the first chunk has.
pub(crate) const CELL: usize = 256;
pub(crate) const FIRST_CELLS: u64 = 64;

// From the start of a cell.
pub(crate) const STATE_AT: u64 = 0;
pub(crate) const LIFE_AT: u64 = 8;
pub(crate) const HEIR_AT: u64 = 16;
pub(crate) const WAITERS_AT: u64 = 48;
pub(crate) const PID_AT: u64 = 56;
pub(crate) const LENGTH_AT: u64 = 60;
pub(crate) const CELL_ENTRIES_AT: u64 = 64;
pub(crate) const NEXT_AT: u64 = 68;
pub(crate) const PAYLOAD_AT: u64 = 72;

// What a cell is, in the low bits of its state.
pub(crate) const FREE: u64 = 0;
pub(crate) const LIVE: u64 = 1;
pub(crate) const LEFT: u64 = 2;
pub(crate) const PART: u64 = 3;

/// The places of the parts of a chunk, from the start of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) first_cell: u64,
    pub(crate) cells: u64,
    pub(crate) start: u64,
    /// The bits of the cells that were left, and a bit for each 64 of these.
    pub(crate) marks: u64,
    pub(crate) summary: u64,
    pub(crate) buckets: u64,
    pub(crate) bucket_count: u64,
    pub(crate) places: u64,
    pub(crate) place_count: u64,
    pub(crate) entries: u64,
    pub(crate) entry_count: u64,
    pub(crate) canary: u64,
    pub(crate) end: u64,
}

/// Returns all chunks that a table can have.
pub(crate) fn chunks() -> impl Iterator<Item = Chunk> {
    let mut start = 2 * PAGE;
    let mut first_cell = 0;
    std::iter::from_fn(move || {
        let cells = if first_cell == 0 { FIRST_CELLS } else { first_cell };
        let all = first_cell + cells;
        let marks = start + cells * CELL as u64;
        let summary = marks + cells.div_ceil(64) * 8;
        let buckets = summary + cells.div_ceil(64 * 64) * 8;
        let places = buckets + all * 4 * 4;
        let entries = places + all * 4 * 32;
        let end = (entries + all * 6 * 24 + 8).next_multiple_of(PAGE);
        let chunk = Chunk {
            first_cell,
            cells,
            start,
            marks,
            summary,
            buckets,
            bucket_count: all * 4,
            places,
            place_count: all * 4,
            entries,
            entry_count: all * 6,
            canary: end - 8,
            end,
        };
        (start, first_cell) = (end, all);
        Some(chunk)
    })
    .take(15)
}

/// Returns where a cell lies.
pub(crate) fn cell_at(number: u64) -> u64 {
    let chunk = chunks().find(|chunk| number < chunk.first_cell + chunk.cells);
    let chunk = chunk.expect("a cell that a table can have");
    chunk.start + (number - chunk.first_cell) * CELL as u64
}

/// A table as it is at a moment.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    /// Returns the number at an offset; what lies behind the end is zero.
    pub(crate) fn number(&self, at: u64) -> u64 {
        let bytes = self.0.get(at as usize..).and_then(|bytes| bytes.first_chunk());
        u64::from_ne_bytes(bytes.copied().unwrap_or_default())
    }

    pub(crate) fn half(&self, at: u64) -> u32 {
        let bytes = self.0.get(at as usize..).and_then(|bytes| bytes.first_chunk());
        u32::from_ne_bytes(bytes.copied().unwrap_or_default())
    }

    /// Returns how many cells the table has.
    pub(crate) fn capacity(&self) -> u64 {
        FIRST_CELLS << (self.number(CHUNKS_AT) - 1)
    }

    /// Returns the ticket of a cell, and what it is.
    pub(crate) fn state(&self, number: u64) -> (u64, u64) {
        let state = self.number(cell_at(number) + STATE_AT);
        (state >> 2, state & 3)
    }

    /// Returns the payload of the record that begins in a cell.
    pub(crate) fn payload(&self, first: u64) -> Vec<u8> {
        let length = self.half(cell_at(first) + LENGTH_AT) as usize;
        let part = |cell: u64| {
            let at = (cell_at(cell) + PAYLOAD_AT) as usize;
            self.0.get(at..at + CELL - PAYLOAD_AT as usize).unwrap_or_default()
        };
        let mut payload: Vec<u8> = self.record(first).into_iter().flat_map(part).copied().collect();
        payload.truncate(length);
        payload
    }

    /// Returns the numbers of the cells of a record, from its first one on.
    pub(crate) fn record(&self, first: u64) -> Vec<u64> {
        let mut cells = vec![first];
        loop {
            let next = u64::from(self.half(cell_at(cells[cells.len() - 1]) + NEXT_AT));
            // A link that leads nowhere, or back, ends the record.
            if !(1..=self.capacity()).contains(&next) || cells.contains(&(next - 1)) {
                return cells;
            }
            cells.push(next - 1);
        }
    }
}

impl Scratch {
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes(fs::read(self.table()).expect("a table"))
    }

    /// Returns a number of the header.
    pub(crate) fn number(&self, at: u64) -> u64 {
        number(&self.raw_table(), at)
    }

    pub(crate) fn set_number(&self, at: u64, value: u64) {
        self.overwrite(at, &value.to_ne_bytes());
    }

    pub(crate) fn overwrite(&self, at: u64, bytes: &[u8]) {
        self.raw_table().write_all_at(bytes, at).expect("room");
    }

    /// Returns the offsets of the cells with this ticket, the first part first.
    pub(crate) fn cells(&self, ticket: u64) -> Vec<u64> {
        let bytes = self.bytes();
        let first = (0..bytes.capacity()).find(|cell| {
            let (own, state) = bytes.state(*cell);
            own == ticket && matches!(state, LIVE | LEFT)
        });
        bytes.record(first.expect("a ticket with a cell")).into_iter().map(cell_at).collect()
    }

    /// Returns the bytes of the cell at this offset.
    pub(crate) fn cell(&self, at: u64) -> [u8; CELL] {
        let mut cell = [0; CELL];
        self.raw_table().read_exact_at(&mut cell, at).expect("a cell");
        cell
    }

    /// Returns how many cells are not free.
    pub(crate) fn used(&self) -> u64 {
        let bytes = self.bytes();
        (0..bytes.capacity()).filter(|cell| bytes.state(*cell).1 != FREE).count() as u64
    }

    /// Returns how many cells the table has.
    pub(crate) fn capacity(&self) -> u64 {
        FIRST_CELLS << (self.number(CHUNKS_AT) - 1)
    }

    /// Returns the size of the table's file.
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(self.table()).expect("a table").len()
    }

    /// Returns how many bytes the table has on the disk.
    pub(crate) fn room(&self) -> u64 {
        fs::metadata(self.table()).expect("a table").blocks() * 512
    }

    /// Returns a life that is over: it was given to nobody.
    pub(crate) fn dead_life(&self) -> u64 {
        let life = self.number(NEXT_LIFE_AT);
        self.set_number(NEXT_LIFE_AT, life + 1);
        life
    }

    /// Leaves records as processes do that die, until the next request has to search for the dead.
    pub(crate) fn fill_with_the_dead(&self) {
        let ask = |number: u64| self.lock.try_acquire(&write(&format!("dead/{number}"))).wait();
        let is_scarce = || {
            let capacity = self.capacity();
            capacity - self.used() < 1 + capacity / 16
        };
        let guards: Vec<Guard> = (0..)
            .take_while(|_| !is_scarce())
            .map(|number| ask(number).expect("nobody is in the way"))
            .collect();
        guards.into_iter().for_each(|guard| self.die(guard));
    }

    /// Leaves the records of this many requests that died.
    pub(crate) fn crowd_of_the_dead(&self, count: usize) {
        let ask = |number| self.lock.try_acquire(&write(&format!("victim/{number}"))).wait();
        let guards: Vec<Guard> =
            (0..count).map(|number| ask(number).expect("nobody is in the way")).collect();
        guards.into_iter().for_each(|guard| self.die(guard));
    }

    /// Lets a request leave as if its process had died.
    pub(crate) fn die(&self, guard: Guard) {
        let at = self.cells(guard.ticket())[0];
        let mut cell = self.cell(at);
        cell[LIFE_AT as usize..][..8].copy_from_slice(&self.dead_life().to_ne_bytes());
        drop(guard);
        self.overwrite(at, &cell);
    }

    /// Returns `count` guards of one handle; in a new table the first has the first cell, and so
    /// on.
    pub(crate) fn crowd(&self, count: usize) -> Vec<Guard> {
        self.crowd_under("crowd", count)
    }

    /// Returns `count` guards of nodes below this one.
    pub(crate) fn crowd_under(&self, above: &str, count: usize) -> Vec<Guard> {
        let ask = |i: usize| self.lock.try_acquire(&write(&format!("{above}/{i}"))).wait();
        (0..count).map(|i| ask(i).expect("nothing is in the way")).collect()
    }
}

/// Returns a number of a table's header.
pub(crate) fn number(table: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    table.read_exact_at(&mut bytes, at).expect("a table");
    u64::from_ne_bytes(bytes)
}

/// A new table is as it is described here, and so is one that has grown.
#[test]
fn where_what_lies() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a/b")).wait().expect("a new lock is free");
    let bytes = scratch.bytes();
    assert_eq!(&bytes.0[..12], MAGIC);
    assert_eq!(bytes.half(12), VERSION);
    assert_eq!((bytes.0.len(), bytes.number(CHUNKS_AT)), (45_056, 1));
    assert!(bytes.number(KEY_AT) != 0 && bytes.number(KEY_AT + 8) != 0, "it is random");
    let asked = bytes.number(2 * PAGE + 32);
    assert!((1..=asked).contains(&bytes.number(OPENS_AT)), "nobody asks before it opens");
    assert_eq!((bytes.number(PAGE - 8), bytes.number(45_048)), (CANARY, CANARY));
    assert_eq!((bytes.number(LATCH_AT), bytes.number(DIRTY_AT)), (0, 0));
    assert_eq!(u64::from(std::process::id()), bytes.number(LATCH_PID_AT), "it had the latch last");
    assert_eq!((bytes.number(TICKET_AT), bytes.number(TOKEN_AT)), (1, guard.token().get()));
    assert_eq!((bytes.number(CELLS_USED_AT), bytes.number(FREE_AT)), (1, 0));
    assert_eq!((bytes.number(LIVE_AT), bytes.number(DAMAGED_AT)), (1, 0));
    // One place for each of /, a and a/b, and one entry at each.
    assert_eq!(PLACES_AT + 16, 288);
    assert_eq!((bytes.number(PLACES_AT + 16), bytes.number(ENTRIES_AT + 16)), (3, 3));
    let cell = 2 * PAGE;
    assert_eq!(bytes.number(cell + STATE_AT), guard.ticket() << 2 | LIVE);
    assert_eq!(bytes.number(cell + LIFE_AT), bytes.number(NEXT_LIFE_AT) - 1);
    assert_eq!((bytes.number(cell + HEIR_AT), bytes.number(cell + WAITERS_AT)), (0, 0));
    assert_eq!(bytes.number(cell + 24), guard.token().get());
    assert_eq!(asked, bytes.number(cell + 40), "it is granted at once");
    assert_eq!(bytes.half(cell + PID_AT), std::process::id());
    assert_eq!((bytes.half(cell + CELL_ENTRIES_AT), bytes.half(cell + NEXT_AT)), (3, 0));
    // No label; one root, which is a write; its components with their lengths; no ancestors given.
    let payload = [0, 1, 1, 4, 1, b'a', 1, b'b', 0];
    assert_eq!(bytes.half(cell + LENGTH_AT) as usize, payload.len());
    assert_eq!(&bytes.0[(cell + PAYLOAD_AT) as usize..][..payload.len()], payload);
    drop(guard);
    let bytes = scratch.bytes();
    assert_eq!(bytes.number(cell), 1 << 2 | LEFT);
    let first = chunks().next().expect("there is one");
    assert_eq!((first.marks, first.summary), (24_576, 24_584));
    assert_eq!([LEFT_AT, first.marks, first.summary].map(|at| bytes.number(at)), [1, 1, 1]);
    scratch.assert_at_rest();
    let bytes = scratch.bytes();
    assert_eq!((bytes.number(CURSOR_AT), bytes.number(REBUILDS_AT)), (0, 0));
    let crowd = scratch.crowd(100);
    let bytes = scratch.bytes();
    assert_eq!(bytes.number(CHUNKS_AT), 2);
    let second = chunks().nth(1).expect("there can be more");
    assert_eq!((second.start, second.first_cell, second.cells), (45_056, 64, 64));
    assert_eq!((second.end, bytes.number(second.canary)), (102_400, CANARY));
    assert_eq!(bytes.0.len() as u64, second.end);
    assert_eq!(bytes.number(second.start) & 3, LIVE);
    drop(crowd);
}
