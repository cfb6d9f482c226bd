//! What one handle of a table works with: the table in memory, and its own [life](crate::life).
//!
//! # Waking
//!
//! Each handle has a *bell*, a number in shared memory; handles whose lives differ by a multiple of
//! 64 share one. Who waits for a request adds its bell to the waiters of that request's cell, looks
//! again, and sleeps until its bell is rung. Who leaves changes the state of its cell, and then
//! rings the bells of the waiters. So one of the two always sees the other: both use `SeqCst`. A
//! bell also tells which cell it is rung for, to one part in 31, so that a thread is rarely woken
//! for a request that it does not wait for.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    error::{Doing, Error},
    format::{
        cell::{State, Word},
        header::{self, BELLS, NEXT_LIFE},
    },
    futex,
    kernel::{self, Kind},
    ledger::{self, Other},
    life,
    listeners::{self, Teller},
    memory::{Broken, Memory},
    ring::{self, Message},
    site::{CHECK_INTERVAL, Site},
};

/// A handle of a table.
pub(crate) struct Handle {
    pub(crate) memory: Memory,
    pub(crate) site: Arc<Site>,
    pub(crate) life: u64,
    /// What is to be added to the nanoseconds since boot, for those since 1970.
    since_1970: u64,
    teller: Teller,
}

/// How often a life is tried if the byte of its number is locked already.
const LIVES_TRIED: usize = 1024;

/// The kind of ring that is only for those who listen to all kinds.
const FOR_LISTENERS: u32 = 1 << 31;

impl Handle {
    /// Begins a life in a table, whose gate is locked.
    pub(crate) fn new(memory: Memory, site: Arc<Site>) -> Result<Handle, Error> {
        let life = begin_life(&memory, &memory.file, site.path())?;
        let since_1970 = kernel::since_1970().saturating_sub(kernel::since_boot());
        Ok(Handle { memory, site, life, since_1970, teller: Teller::default() })
    }

    /// Waits until the table opens.
    pub(crate) fn wait_until_open(&self) {
        let wait = self.memory.get(header::OPENS).saturating_sub(kernel::since_boot());
        // A longer time is one of before the host was started.
        if wait <= CHECK_INTERVAL {
            thread::sleep(Duration::from_nanos(wait));
        }
    }

    /// Returns a token for now, without regard to the last one. Thanks to the clock, a new table
    /// continues above the tokens of the one before it.
    pub(crate) fn token_at(&self, since_boot: u64) -> u64 {
        self.since_1970.saturating_add(since_boot)
    }

    /// Returns whether a life has ended. If that cannot be found out, it goes on.
    pub(crate) fn is_dead(&self, life: u64) -> bool {
        life != self.life
            && matches!(life::is_live(&self.memory.file, self.path(), life), Ok(false))
    }

    pub(crate) fn path(&self) -> &Path {
        self.site.path()
    }

    /// Returns the word to sleep on until a request leaves, and the kind to sleep for.
    pub(crate) fn bell(&self) -> &AtomicU32 {
        self.memory.bell(self.life as usize % BELLS)
    }

    /// Returns the kind of ring for a cell.
    pub(crate) fn kind(cell: usize) -> u32 {
        1 << (cell % 31)
    }

    /// Wakes the threads of this handle that listen to its bell.
    pub(crate) fn ring_own(&self) {
        self.bell().fetch_add(1, Ordering::SeqCst);
        futex::wake_all(self.bell(), FOR_LISTENERS);
    }

    /// Rings the bells of those who wait for a cell.
    pub(crate) fn ring(&self, cell: usize, mut waiters: u64) {
        while waiters != 0 {
            let bell = self.memory.bell(waiters.trailing_zeros() as usize);
            waiters &= waiters - 1;
            bell.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(bell, Handle::kind(cell));
        }
    }

    /// Returns whether a request has left.
    pub(crate) fn has_left(&self, other: Other) -> Result<bool, Broken> {
        let word = self.memory.cell(other.cell)?.word();
        Ok(word != Word::new(other.ticket, State::Live))
    }

    /// Sees to it that the bell is rung when a request leaves. If it has left before, that may not
    /// happen, so look again after this.
    pub(crate) fn wait_for(&self, other: Other) -> Result<(), Broken> {
        self.memory.cell(other.cell)?.add_waiters(1 << (self.life % BELLS as u64));
        Ok(())
    }

    /// Lets a request leave, and wakes those who wait for it. Returns whether it had not left
    /// before. Never blocks.
    pub(crate) fn leave(&self, other: Other) -> Result<bool, Broken> {
        let cell = self.memory.cell(other.cell)?;
        let left = cell.leave(other.ticket);
        if left {
            self.tell_left(other);
            let noted = ledger::note_left(&self.memory, other.cell);
            self.ring(other.cell, cell.waiters());
            noted?;
        }
        Ok(left)
    }

    /// Tells those who listen that a request was made. The latch must be held.
    pub(crate) fn tell_asked(&self, own: Other, at: u64, payload: &[u8]) {
        let kind = ring::Kind::Asked;
        let message = || Message {
            kind,
            ticket: own.ticket,
            cell: own.cell,
            pid: self.site.process(),
            at,
            payload: Some(payload.to_vec()),
        };
        if let Some(round) = self.teller.tell(&self.memory, &self.site, message) {
            listeners::forget_dead(&self.memory, round, |life| self.is_dead(life));
        }
    }

    /// Tells those who listen that a request has left.
    pub(crate) fn tell_left(&self, other: Other) {
        let message = || Message {
            kind: ring::Kind::Left,
            ticket: other.ticket,
            cell: other.cell,
            pid: 0,
            at: kernel::since_boot(),
            payload: None,
        };
        self.teller.tell(&self.memory, &self.site, message);
    }

    /// Lets a request leave whose owner is dead.
    pub(crate) fn bury(&self, other: Other) -> Result<(), Broken> {
        let cell = self.memory.cell(other.cell)?;
        if cell.has_died(|life| self.is_dead(life)) {
            self.leave(other)?;
        }
        Ok(())
    }
}

/// Begins a new life, by locking the byte of its number.
pub(crate) fn begin_life(memory: &Memory, file: &File, path: &Path) -> Result<u64, Error> {
    for _ in 0..LIVES_TRIED {
        let life = memory.number(NEXT_LIFE).fetch_add(1, Ordering::Relaxed);
        if life == crate::file::GATE || life > kernel::LAST_BYTE {
            break;
        }
        if kernel::try_lock(file, life, Kind::Exclusive).doing("lock", path)? {
            return Ok(life);
        }
    }
    Err(Error::Damaged { path: path.into() })
}
