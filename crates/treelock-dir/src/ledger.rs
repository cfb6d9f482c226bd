//! The cells of a table and its index, while the latch is held: which cells are free, taking back
//! what was left, finding the dead, growing, and building the index again.
//!
//! # Leaving
//!
//! A request leaves without the latch, by one change of its state. So its cells and its entries in
//! the index stay behind. It sets a bit for its cell, one for the 64 bits around that one, and one
//! for the chunk. The next holder of the latch follows the bits from the top, clears them, and
//! takes back the cells that are left. Setting a bit twice, or for a cell that somebody has taken
//! back already, does no harm, so neither does dying in between, except that the cell stays where
//! it is until somebody comes across it: looking for conflicts, or searching for the dead.
//!
//! # Crashes
//!
//! [`DIRTY`](header::DIRTY) is set before anything changes, and cleared behind it. Who finds it set
//! [rebuilds](Ledger::rebuild) everything from the states of the cells and the records of those
//! that are live. A cell becomes live as the last step of entering a request, so a record is whole
//! or belongs to nobody.

use std::{
    cell::Cell,
    io,
    sync::atomic::{Ordering, compiler_fence},
};

use smallvec::SmallVec;

use crate::{
    file,
    format::{
        cell::{Stamp, State, Word},
        header, layout,
        layout::{CANARY, CHUNKS_MAX},
        request::Draft,
    },
    index::Index,
    marks::Mark,
    memory::{Broken, Memory},
    record::{self, Record},
};

/// A search for the dead looks at this many cells, and asks the kernel about this many lives. The
/// rest is left to later requests.
const SEARCHED_CELLS: usize = 256;
const SEARCHED_LIVES: usize = 8;

/// A search begins when less than this part of the cells is free.
const RESERVE_DIVISOR: usize = 16;

/// A table of up to this many chunks keeps its size. A larger one becomes as small as a new one
/// when it is empty.
const KEPT_CHUNKS: usize = 4;

/// Why a change of the table failed.
pub(crate) enum Trouble {
    Broken,
    /// There is no room, for this reason.
    Full(io::Error),
}

impl From<Broken> for Trouble {
    fn from(_: Broken) -> Trouble {
        Trouble::Broken
    }
}

/// What the holder of the latch works with.
pub(crate) struct Ledger<'a> {
    memory: &'a Memory,
    /// Tells whether a life has ended.
    is_dead: &'a dyn Fn(u64) -> bool,
    /// Wakes those who wait for a cell of this number with these waiters.
    ring: &'a dyn Fn(usize, u64),
    /// Tells that a request has left whose owner is dead.
    tell_left: &'a dyn Fn(Other),
    /// Whether a record was taken back that may have been one of those that cannot be read. Only a
    /// rebuild counts these.
    stale: Cell<bool>,
}

/// A request in the way of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Other {
    pub(crate) ticket: u64,
    pub(crate) cell: usize,
}

impl<'a> Ledger<'a> {
    /// Begins a change: whoever comes across it unfinished rebuilds.
    pub(crate) fn begin(
        memory: &'a Memory,
        is_dead: &'a dyn Fn(u64) -> bool,
        ring: &'a dyn Fn(usize, u64),
        tell_left: &'a dyn Fn(Other),
    ) -> Result<Ledger<'a>, Trouble> {
        let ledger = Ledger { memory, is_dead, ring, tell_left, stale: Cell::new(false) };
        if memory.get(header::DIRTY) != 0 {
            ledger.rebuild()?;
        }
        memory.number(header::DIRTY).store(1, Ordering::Relaxed);
        // Nothing that is stored behind this may be stored before it by the compiler. What the
        // processor does in another order is done when somebody else looks.
        compiler_fence(Ordering::SeqCst);
        ledger.take_back_left()?;
        if ledger.stale.get() {
            ledger.rebuild()?;
        }
        Ok(ledger)
    }

    /// Ends the change. What is stale is rebuilt by the next one.
    pub(crate) fn end(self) {
        if self.stale.get() {
            return;
        }
        self.memory.number(header::DIRTY).store(0, Ordering::Release);
    }

    fn index(&self) -> Result<Index<'a>, Broken> {
        Index::new(self.memory)
    }

    fn add(&self, at: header::Number, value: i64) {
        self.memory.set(at, self.memory.get(at).saturating_add_signed(value));
    }

    fn cell_count(&self) -> Result<usize, Broken> {
        Ok(layout::cells(self.memory.chunk_count()?))
    }

    /// Takes back all cells that were left since the last time.
    fn take_back_left(&self) -> Result<(), Broken> {
        let chunks = self.memory.number(header::LEFT);
        if chunks.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let count = self.memory.chunk_count()?;
        for number in bits(chunks.swap(0, Ordering::Acquire)).filter(|number| *number < count) {
            let (map, layout) = self.memory.chunk(number)?;
            let words = map.words();
            for (group, summary) in words[layout.summary..].iter().enumerate() {
                if group * 64 * 64 >= layout.cells {
                    break;
                }
                for row in bits(summary.swap(0, Ordering::Acquire)) {
                    let at = group * 64 + row;
                    let marks = words.get(layout.left + at).ok_or(Broken)?;
                    for bit in bits(marks.swap(0, Ordering::Acquire)) {
                        self.take_back(layout.first + at * 64 + bit)?;
                    }
                }
            }
        }
        self.shrink()
    }

    /// Takes a cell back, if it is left.
    fn take_back(&self, number: usize) -> Result<(), Broken> {
        let cell = self.memory.cell(number)?;
        let word = cell.word();
        if word.state() != State::Left {
            return Ok(());
        }
        // Its owner has died before it could, or has not come to it yet.
        (self.ring)(number, cell.waiters());
        cell.forget_waiters();
        let (entries, _) = cell.links();
        self.index()?.remove(entries)?;
        if entries == 0 && self.memory.get(header::DAMAGED) != 0 {
            self.stale.set(true);
        }
        self.add(header::LIVE, -1);
        let mut number = number;
        let mut state = State::Left;
        loop {
            let cell = self.memory.cell(number)?;
            if cell.word() != Word::new(word.ticket(), state) {
                return Err(Broken);
            }
            let next = cell.links().1;
            self.free(number)?;
            let Some(next) = (next as usize).checked_sub(1) else { return Ok(()) };
            (number, state) = (next, State::Part);
        }
    }

    /// Makes a cell free.
    fn free(&self, number: usize) -> Result<(), Broken> {
        let cell = self.memory.cell(number)?;
        cell.become_state(cell.word().ticket(), State::Free);
        cell.link(0, self.memory.get(header::FREE) as u32);
        self.memory.set(header::FREE, number as u64 + 1);
        self.add(header::FREE_COUNT, 1);
        Ok(())
    }

    /// Returns a free cell, of which there must be one.
    fn allocate(&self) -> Result<usize, Broken> {
        let memory = self.memory;
        let number = match (memory.get(header::FREE) as usize).checked_sub(1) {
            Some(number) => {
                memory.set(header::FREE, memory.cell(number)?.links().1.into());
                self.add(header::FREE_COUNT, -1);
                number
            }
            None => {
                let number = memory.get(header::CELLS_USED);
                memory.set(header::CELLS_USED, number.saturating_add(1));
                number as usize
            }
        };
        let is_free =
            number < self.cell_count()? && memory.cell(number)?.word().state() == State::Free;
        is_free.then_some(number).ok_or(Broken)
    }

    /// Returns the requests that conflict with one and have not left, the earliest first. Some may
    /// be dead.
    pub(crate) fn conflicts(
        &self,
        draft: &Draft<'_>,
        marks: &[Mark],
    ) -> Result<Vec<Other>, Broken> {
        let mut cells = Vec::new();
        self.index()?.look(marks, |cell| cells.push(cell))?;
        if self.memory.get(header::DAMAGED) != 0 {
            // They count as a write on everything, and have no place in the index.
            cells.extend(
                0..self.memory.get(header::CELLS_USED).min(self.cell_count()? as u64) as usize,
            );
        }
        cells.sort_unstable();
        cells.dedup();
        let mut others = Vec::new();
        for cell in cells {
            let word = self.memory.cell(cell)?.word();
            match word.state() {
                State::Live => {
                    let payload = record::payload(self.memory, cell)?;
                    if draft.conflicts(payload.as_deref()) {
                        others.push(Other { ticket: word.ticket(), cell });
                    }
                }
                // Somebody died before it could set the bits.
                State::Left => self.take_back(cell)?,
                State::Free | State::Part => {}
            }
        }
        others.sort_unstable_by_key(|other| other.ticket);
        Ok(others)
    }

    /// Returns whether a request has not left. One whose owner is dead leaves now.
    pub(crate) fn is_live(&self, other: Other) -> Result<bool, Broken> {
        let cell = self.memory.cell(other.cell)?;
        if cell.word() != Word::new(other.ticket, State::Live) {
            return Ok(false);
        }
        let dead = self.has_died(other)?;
        if dead {
            self.take_back(other.cell)?;
        }
        Ok(!dead)
    }

    /// Lets a request leave if its owner is dead. Returns whether it is.
    fn has_died(&self, other: Other) -> Result<bool, Broken> {
        let cell = self.memory.cell(other.cell)?;
        let dead = cell.has_died(self.is_dead);
        if dead && cell.leave(other.ticket) {
            (self.tell_left)(other);
        }
        Ok(dead)
    }

    /// Enters a request, and returns its first cell.
    pub(crate) fn enter(
        &self,
        draft: &Draft<'_>,
        marks: &[Mark],
        stamp: &Stamp,
    ) -> Result<usize, Trouble> {
        let wanted = record::cells_of(draft);
        self.make_room(wanted, marks)?;
        let mut cells = SmallVec::<[usize; 4]>::new();
        for _ in 0..wanted {
            cells.push(self.allocate()?);
        }
        let entries = self.index()?.enter(cells[0], marks)?;
        self.add(header::LIVE, 1);
        record::write(self.memory, &cells, draft, stamp, entries)?;
        Ok(cells[0])
    }

    /// Returns how many cells are free.
    fn free_count(&self) -> Result<usize, Broken> {
        let never_used =
            self.cell_count()?.saturating_sub(self.memory.get(header::CELLS_USED) as usize);
        Ok(self.memory.get(header::FREE_COUNT) as usize + never_used)
    }

    /// Sees to it that there is room for a request: searches for the dead when little is free, and
    /// lets the table grow.
    fn make_room(&self, cells: usize, marks: &[Mark]) -> Result<(), Trouble> {
        let is_scarce = || {
            let reserve = self.cell_count()? / RESERVE_DIVISOR;
            Ok::<bool, Broken>(self.free_count()? < cells + reserve)
        };
        let rebuilds = self.memory.get(header::REBUILDS);
        if is_scarce()? || !self.index()?.has_room(marks) {
            // A search that has seen all cells and found too little would find as little again.
            if self.search()? && is_scarce()? {
                let grown = self.grow();
                if !(self.free_count()? >= cells && self.index()?.has_room(marks)) {
                    grown?;
                }
            }
            while self.free_count()? < cells || !self.index()?.has_room(marks) {
                self.grow()?;
            }
        }
        if self.memory.get(header::REBUILDS) != rebuilds {
            // The places that were found are of the index before.
            marks.iter().for_each(|mark| mark.place.set(0));
        }
        Ok(())
    }

    /// Searches some cells for the dead. Returns whether that was the last part of the cells.
    fn search(&self) -> Result<bool, Broken> {
        let memory = self.memory;
        let end = self.cell_count()?.min(memory.get(header::CELLS_USED) as usize);
        let mut living = Vec::new();
        let mut queries = 0;
        let first = memory.get(header::CURSOR) as usize;
        let mut number = if first < end { first } else { 0 };
        let stop = end.min(number + SEARCHED_CELLS);
        while number < stop && queries < SEARCHED_LIVES {
            let cell = memory.cell(number)?;
            let word = cell.word();
            let lives = cell.lives();
            // A request that a child keeps says nothing about the others of its owner.
            if word.state() == State::Live && !living.contains(&lives) {
                queries += 1;
                if !self.has_died(Other { ticket: word.ticket(), cell: number })? {
                    living.push(lives);
                }
            }
            self.take_back(number)?;
            number += 1;
        }
        memory.set(header::CURSOR, if number < end { number as u64 } else { 0 });
        Ok(number >= end)
    }

    /// Doubles the table.
    fn grow(&self) -> Result<(), Trouble> {
        let count = self.memory.chunk_count()?;
        if count == CHUNKS_MAX {
            return Err(Trouble::Full(io::Error::other("it has a million requests already")));
        }
        let end = layout::table_bytes(count + 1);
        let start = layout::table_bytes(count);
        file::reserve(&self.memory.file, start, end - start).map_err(Trouble::Full)?;
        let (map, layout) = self.memory.chunk(count)?;
        map.words()[layout.canary].store(CANARY, Ordering::Relaxed);
        self.memory.number(header::CHUNKS).store(count as u64 + 1, Ordering::Release);
        Ok(self.rebuild()?)
    }

    /// Makes an empty table as small as a new one.
    fn shrink(&self) -> Result<(), Broken> {
        let memory = self.memory;
        let count = memory.chunk_count()?;
        if count <= KEPT_CHUNKS || memory.get(header::LIVE) != 0 {
            return Ok(());
        }
        memory.number(header::CHUNKS).store(1, Ordering::Release);
        for number in [header::FREE, header::FREE_COUNT, header::CELLS_USED, header::CURSOR] {
            memory.set(number, 0);
        }
        let start = layout::table_bytes(1);
        file::give_back(&memory.file, start, layout::table_bytes(count) - start);
        self.rebuild()
    }

    /// Builds the list of free cells and the index again, from the records.
    pub(crate) fn rebuild(&self) -> Result<(), Broken> {
        let memory = self.memory;
        memory.number(header::DIRTY).store(1, Ordering::Release);
        self.stale.set(false);
        let end = (memory.get(header::CELLS_USED) as usize).min(self.cell_count()?);
        for number in [header::FREE, header::FREE_COUNT, header::LIVE, header::DAMAGED] {
            memory.set(number, 0);
        }
        memory.set(header::CELLS_USED, end as u64);
        self.index()?.clear();
        self.forget_left()?;
        let live = record::live_cells(memory, end)?;
        let mut last = memory.get(header::TICKET);
        // From the end, so that the first cells are used first.
        for number in (0..end).rev() {
            let cell = memory.cell(number)?;
            let word = cell.word();
            last = last.max(word.ticket());
            match word.state() {
                // Its parts are kept, so one that has left since then is taken back as a whole.
                State::Live | State::Left if live.contains(&number) => self.enter_again(number)?,
                State::Part if live.contains(&number) => {}
                _ => {
                    (self.ring)(number, cell.waiters());
                    cell.forget_waiters();
                    self.free(number)?;
                }
            }
        }
        memory.set(header::TICKET, last);
        memory.set(header::REBUILDS, memory.get(header::REBUILDS).wrapping_add(1));
        Ok(())
    }

    /// Enters a record into the index that was live a moment ago.
    fn enter_again(&self, number: usize) -> Result<(), Broken> {
        self.add(header::LIVE, 1);
        let cell = self.memory.cell(number)?;
        let next = cell.links().1;
        let entries = match Record::read(self.memory, number)? {
            Some(record) if !record.damaged => {
                let marks = Draft::new(&record.request).marks(self.memory.key());
                let index = self.index()?;
                if !index.has_room(&marks) {
                    return Err(Broken);
                }
                index.enter(number, &marks)?
            }
            Some(_) => {
                self.add(header::DAMAGED, 1);
                0
            }
            None => {
                note_left(self.memory, number)?;
                0
            }
        };
        cell.link(entries, next);
        Ok(())
    }

    /// Clears the bits of the cells that were left.
    fn forget_left(&self) -> Result<(), Broken> {
        self.memory.number(header::LEFT).swap(0, Ordering::Acquire);
        for number in 0..self.memory.chunk_count()? {
            let (map, layout) = self.memory.chunk(number)?;
            let marks = layout.left..layout.summary + layout.cells.div_ceil(64 * 64);
            for word in map.words().get(marks).ok_or(Broken)? {
                if word.load(Ordering::Relaxed) != 0 {
                    word.swap(0, Ordering::Acquire);
                }
            }
        }
        Ok(())
    }
}

/// Sets the bits for a cell that was left.
pub(crate) fn note_left(memory: &Memory, number: usize) -> Result<(), Broken> {
    let (chunk, local) = layout::find(number);
    let (map, layout) = memory.chunk(chunk)?;
    let words = map.words();
    for (at, bit) in [
        (layout.left + local / 64, local % 64),
        (layout.summary + local / (64 * 64), local / 64 % 64),
    ] {
        words.get(at).ok_or(Broken)?.fetch_or(1 << bit, Ordering::Release);
    }
    memory.number(header::LEFT).fetch_or(1 << chunk, Ordering::Release);
    Ok(())
}

/// Returns the numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
