//! A cell of the table, and the record of a request that is stored in one cell or in several.
//!
//! ```text
//! state 8 │ life 8 │ heir 8 │ token 8 │ asked 8 │ granted 8 │ waiters 8 │ pid 4, length 4
//!         │ entries 4, next 4 │ payload 184
//! ```
//!
//! A record that is longer than the payload of a cell goes on in further ones, which have a state,
//! the link to the next, and payload.
//!
//! # The state
//!
//! The state is the ticket times four, plus what the cell is at the moment: free, live, left, or a
//! further part. A ticket is given once, so a state that was seen live and is another one now never
//! becomes that one again. Whoever waits for a request, or reads its record without the latch,
//! depends on that.
//!
//! - A cell is written while it is free, under the latch, and becomes live as the last step.
//! - Its owner, or anybody who knows that its owner is dead, makes it left, without the latch.
//! - The holder of the latch takes what was left out of the index, and makes it free.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::format::layout::{CELL_BYTES, CELL_WORDS};

/// The size of the part of a cell before its payload.
const HEAD_WORDS: usize = 9;
pub(crate) const PAYLOAD_BYTES: usize = CELL_BYTES - HEAD_WORDS * 8;

/// The maximum size of a request's record in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = (1 << 16) * PAYLOAD_BYTES;

/// Tickets and tokens are below this; larger numbers are garbage.
pub(crate) const NUMBERS_END: u64 = 1 << 61;

const STATE: usize = 0;
const LIFE: usize = 1;
const HEIR: usize = 2;
const TOKEN: usize = 3;
const ASKED: usize = 4;
const GRANTED: usize = 5;
const WAITERS: usize = 6;
const PID_AND_LENGTH: usize = 7;
const ENTRIES_AND_NEXT: usize = 8;

/// What a cell is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Live,
    Left,
    Part,
}

/// A ticket, and what the cell of its request is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) fn new(ticket: u64, state: State) -> Word {
        Word(ticket << 2 | state as u64)
    }

    pub(crate) fn ticket(self) -> u64 {
        self.0 >> 2
    }

    pub(crate) fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Free,
            1 => State::Live,
            2 => State::Left,
            _ => State::Part,
        }
    }
}

/// The fields of a record besides the request.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) ticket: u64,
    pub(crate) token: u64,
    /// Of its owner, and of what a child keeps too, or 0.
    pub(crate) lives: [u64; 2],
    pub(crate) pid: u32,
    /// The nanoseconds since boot.
    pub(crate) asked: u64,
    /// 0 until its owner has seen the grant.
    pub(crate) granted: u64,
}

/// A cell in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a>(&'a [AtomicU64]);

impl<'a> Cell<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Cell<'a> {
        assert_eq!(words.len(), CELL_WORDS);
        Cell(words)
    }

    fn get(self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    fn set(self, at: usize, value: u64) {
        self.0[at].store(value, Ordering::Relaxed);
    }

    /// Returns the state. What was written before it became that is visible.
    pub(crate) fn word(self) -> Word {
        Word(self.0[STATE].load(Ordering::SeqCst))
    }

    /// Makes it something else. What was written before is visible to whoever sees it.
    pub(crate) fn become_state(self, ticket: u64, state: State) {
        self.0[STATE].store(Word::new(ticket, state).0, Ordering::Release);
    }

    /// Makes a live cell of this ticket left. Returns whether this call has done it.
    pub(crate) fn leave(self, ticket: u64) -> bool {
        let [live, left] = [State::Live, State::Left].map(|state| Word::new(ticket, state).0);
        let state = &self.0[STATE];
        state.compare_exchange(live, left, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Begins to write a free cell: whoever reads what is written now finds that it is not live.
    pub(crate) fn begin(self) {
        fence(Ordering::Release);
    }

    /// Returns whether the state is still this one, after the cell has been read.
    pub(crate) fn is_still(self, word: Word) -> bool {
        fence(Ordering::Acquire);
        self.get(STATE) == word.0
    }

    /// Returns the life of its owner, and the one that a child keeps too, or 0.
    pub(crate) fn lives(self) -> [u64; 2] {
        [LIFE, HEIR].map(|at| self.0[at].load(Ordering::Acquire))
    }

    /// Returns whether all that keeps it alive is dead.
    pub(crate) fn has_died(self, is_dead: impl Fn(u64) -> bool) -> bool {
        let [owner, heir] = self.lives();
        // It may have been handed to a child just before its owner died.
        is_dead(owner) && (heir == 0 || is_dead(heir)) && self.lives() == [owner, heir]
    }

    /// Lets it live as long as another life too.
    pub(crate) fn bequeath(self, heir: u64) {
        self.0[HEIR].store(heir, Ordering::Release);
    }

    pub(crate) fn note_grant(self, now: u64) {
        self.set(GRANTED, now);
    }

    /// Adds bells that are to be rung when it leaves.
    pub(crate) fn add_waiters(self, bells: u64) {
        self.0[WAITERS].fetch_or(bells, Ordering::SeqCst);
    }

    pub(crate) fn waiters(self) -> u64 {
        self.0[WAITERS].load(Ordering::SeqCst)
    }

    /// Forgets the bells of a cell that has left, after they were rung.
    pub(crate) fn forget_waiters(self) {
        self.set(WAITERS, 0);
    }

    /// Returns the fields of a record, and the length of its payload.
    pub(crate) fn stamp(self) -> (Stamp, usize) {
        let (pid, length) = halves(self.get(PID_AND_LENGTH));
        let stamp = Stamp {
            ticket: self.word().ticket(),
            token: self.get(TOKEN),
            lives: self.lives(),
            pid,
            asked: self.get(ASKED),
            granted: self.get(GRANTED),
        };
        (stamp, length as usize)
    }

    /// Writes the fields of a record, except for its state.
    pub(crate) fn write_stamp(self, stamp: &Stamp, length: usize) {
        self.set(LIFE, stamp.lives[0]);
        self.set(HEIR, stamp.lives[1]);
        self.set(TOKEN, stamp.token);
        self.set(ASKED, stamp.asked);
        self.set(GRANTED, stamp.granted);
        self.set(PID_AND_LENGTH, joined(stamp.pid, length as u32));
    }

    /// Returns the first entry of the record in the index plus one, and the next cell of the
    /// record, or the next free one, plus one. 0 if there is none.
    pub(crate) fn links(self) -> (u32, u32) {
        halves(self.get(ENTRIES_AND_NEXT))
    }

    pub(crate) fn link(self, entries: u32, next: u32) {
        self.set(ENTRIES_AND_NEXT, joined(entries, next));
    }

    /// Appends its payload, at most `length` bytes.
    pub(crate) fn read_payload(self, length: usize, behind: &mut Vec<u8>) {
        let length = length.min(PAYLOAD_BYTES);
        let end = behind.len() + length;
        for word in &self.0[HEAD_WORDS..HEAD_WORDS + length.div_ceil(8)] {
            behind.extend(word.load(Ordering::Relaxed).to_ne_bytes());
        }
        behind.truncate(end);
    }

    /// Writes its payload, at most [`PAYLOAD_BYTES`] of them.
    pub(crate) fn write_payload(self, payload: &[u8]) {
        let mut words = self.0[HEAD_WORDS..].iter();
        let (whole, rest) = payload.as_chunks();
        for (bytes, word) in whole.iter().zip(words.by_ref()) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if let (false, Some(word)) = (rest.is_empty(), words.next()) {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

fn joined(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// Returns how many cells a record of this many bytes takes.
pub(crate) fn cells_for(payload: usize) -> usize {
    payload.div_ceil(PAYLOAD_BYTES).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let words: Vec<AtomicU64> = (0..CELL_WORDS).map(|_| AtomicU64::new(u64::MAX)).collect();
        let cell = Cell::new(&words);
        let stamp = Stamp { ticket: 7, token: 8, lives: [5, 4], pid: 6, asked: 9, granted: 10 };
        for length in [0, 1, 7, 8, 9, 183, 184] {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            cell.write_stamp(&stamp, payload.len());
            cell.write_payload(&payload);
            cell.link(3, 4);
            cell.become_state(7, State::Live);
            let (read, bytes) = cell.stamp();
            assert_eq!((read.ticket, read.token, read.lives, read.pid), (7, 8, [5, 4], 6));
            assert_eq!((read.asked, read.granted, bytes), (9, 10, payload.len()));
            assert_eq!(cell.links(), (3, 4));
            let mut found = vec![1];
            cell.read_payload(bytes, &mut found);
            assert_eq!(found[1..], payload[..]);
            assert_eq!((cell.word().ticket(), cell.word().state()), (7, State::Live));
            assert!(!cell.leave(8) && cell.leave(7) && !cell.leave(7));
            assert_eq!(cell.word(), Word::new(7, State::Left));
        }
        assert_eq!([0, 1, 184, 185].map(cells_for), [1, 1, 1, 2]);
    }
}
