//! The bytes of a table, read and written directly instead of through the lock.

use std::{fs, os::unix::fs::FileExt};

use treelock::Wait;
use treelock_dir::Guard;

use crate::scratch::{Scratch, write};

/// As drawn at the head of `format/cells.rs`.
pub(crate) const CELL: usize = 256;
/// In the header.
pub(crate) const CURSOR_AT: u64 = 40;
pub(crate) const STATE_AT: usize = 8;
pub(crate) const TOKEN_AT: usize = 16;
pub(crate) const PART_AT: usize = 40;
pub(crate) const LENGTH_AT: usize = 44;
pub(crate) const PAYLOAD_AT: usize = 48;

impl Scratch {
    /// Returns the offsets of the cells with this ticket, the first part first.
    pub(crate) fn cells(&self, ticket: u64) -> Vec<u64> {
        let bytes = fs::read(self.table()).expect("a table");
        let cells = bytes.chunks_exact(CELL).enumerate().skip(1);
        let own = cells.filter(|(_, cell)| cell[..8] == ticket.to_le_bytes());
        let part = |cell: &[u8]| u16::from_le_bytes([cell[PART_AT], cell[PART_AT + 1]]);
        let mut parts: Vec<(u16, u64)> =
            own.map(|(number, cell)| (part(cell), (number * CELL) as u64)).collect();
        parts.sort_unstable();
        parts.into_iter().map(|(_, at)| at).collect()
    }

    /// Returns the bytes of the cell at this offset.
    pub(crate) fn bytes(&self, at: u64) -> [u8; CELL] {
        let mut cell = [0; CELL];
        self.raw_table().read_exact_at(&mut cell, at).expect("a cell");
        cell
    }

    pub(crate) fn overwrite(&self, at: u64, bytes: &[u8]) {
        self.raw_table().write_all_at(bytes, at).expect("room");
    }

    /// Returns how many cells are marked as used.
    pub(crate) fn used(&self) -> usize {
        let bytes = fs::read(self.table()).expect("a table");
        let cells = bytes.chunks_exact(CELL).skip(1);
        cells.filter(|cell| cell[STATE_AT..][..4] != [0; 4]).count()
    }

    pub(crate) fn size(&self) -> u64 {
        fs::metadata(self.table()).expect("a table").len()
    }

    /// Leaves cells as processes do that die, used but with tickets that have left, until this part
    /// of the table is used.
    pub(crate) fn fill_with_the_dead(&self, least: f64) {
        let dead = |number: usize| write(&format!("dead/{number}"));
        let ask = |number| self.lock.try_acquire(&dead(number)).wait();
        let guards: Vec<Guard> = (0..)
            .map_while(|number| {
                let cells = self.size() as usize / CELL - 1;
                let full = self.used() as f64 >= least * cells as f64;
                (!full).then(|| ask(number).expect("nobody is in the way"))
            })
            .collect();
        guards.into_iter().for_each(|guard| self.die(guard));
    }

    /// Leaves the cells of this many requests that died.
    pub(crate) fn crowd_of_the_dead(&self, count: usize) {
        let ask = |number| self.lock.try_acquire(&write(&format!("victim/{number}"))).wait();
        let guards: Vec<Guard> =
            (0..count).map(|number| ask(number).expect("nobody is in the way")).collect();
        guards.into_iter().for_each(|guard| self.die(guard));
    }

    /// Lets a request leave as if its process had died.
    pub(crate) fn die(&self, guard: Guard) {
        let cell = self.cells(guard.ticket())[0];
        let bytes = self.bytes(cell);
        drop(guard);
        self.overwrite(cell, &bytes);
    }

    /// Returns `count` guards of one handle in a new table; the first has the first cell, and so
    /// on.
    pub(crate) fn crowd(&self, count: usize) -> Vec<Guard> {
        let ask = |i: usize| self.lock.try_acquire(&write(&format!("crowd/{i}"))).wait();
        (0..count).map(|i| ask(i).expect("nothing is in the way")).collect()
    }
}
