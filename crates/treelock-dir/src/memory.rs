//! The table in memory that all its processes share: the header's numbers, the bells, and the
//! chunks, which are mapped when they are first needed.
//!
//! Which chunks there are is known under the latch only. A chunk never goes away, so a cell that
//! was seen once can be looked at without the latch.

use std::{
    fs::File,
    io,
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{
    file::GATE,
    format::{
        cell::{Cell, NUMBERS_END},
        header,
        layout::{self, CANARY, CELL_WORDS, CHUNKS_MAX, PAGE_BYTES},
    },
    kernel::{self, LAST_BYTE},
    map::Map,
};

/// The table is damaged: it says something that cannot be.
#[derive(Debug)]
pub(crate) struct Broken;

/// A table that is mapped into memory.
pub(crate) struct Memory {
    /// Its description has locked the byte of this handle's life, and is asked for those of others.
    pub(crate) file: File,
    writable: bool,
    header: Map,
    chunks: [OnceLock<Map>; CHUNKS_MAX],
}

/// The layout of each chunk.
static LAYOUTS: [layout::Chunk; CHUNKS_MAX] = {
    const NONE: layout::Chunk = layout::chunk(0);
    let mut layouts = [NONE; CHUNKS_MAX];
    let mut number = 0;
    while number < CHUNKS_MAX {
        layouts[number] = layout::chunk(number);
        number += 1;
    }
    layouts
};

impl Memory {
    pub(crate) fn new(file: File, writable: bool) -> io::Result<Memory> {
        let header = Map::new(&file, 0, 2 * PAGE_BYTES, writable)?;
        Ok(Memory { file, writable, header, chunks: Default::default() })
    }

    /// Returns a number of the header.
    pub(crate) fn number(&self, at: header::Number) -> &AtomicU64 {
        &self.header.words()[at.0]
    }

    pub(crate) fn get(&self, at: header::Number) -> u64 {
        self.number(at).load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, at: header::Number, value: u64) {
        self.number(at).store(value, Ordering::Relaxed);
    }

    /// Returns the key of the hashes in the index.
    pub(crate) fn key(&self) -> [u64; 2] {
        header::KEY.map(|half| self.get(half))
    }

    /// Returns the word by which those are woken who wait for the latch.
    pub(crate) fn latch_bell(&self) -> &AtomicU32 {
        &self.header.halves()[header::LATCH_BELL]
    }

    /// Returns one of the words by which those are woken who wait for requests to leave.
    pub(crate) fn bell(&self, number: usize) -> &AtomicU32 {
        &self.header.halves()[(PAGE_BYTES + number * header::BELL_BYTES) / size_of::<AtomicU32>()]
    }

    /// Returns how many chunks there are. May change unless the latch is held.
    pub(crate) fn chunk_count(&self) -> Result<usize, Broken> {
        let count = self.number(header::CHUNKS).load(Ordering::Acquire) as usize;
        if (1..=CHUNKS_MAX).contains(&count) { Ok(count) } else { Err(Broken) }
    }

    /// Returns a chunk with its layout. Maps it if it is not mapped yet.
    pub(crate) fn chunk(&self, number: usize) -> Result<(&Map, &'static layout::Chunk), Broken> {
        let layout = LAYOUTS.get(number).ok_or(Broken)?;
        let chunk = &self.chunks[number];
        if let Some(map) = chunk.get() {
            return Ok((map, layout));
        }
        // The file has no such chunk. A broken map would be kept until there is one.
        let (_, size) = kernel::identify_open(&self.file).map_err(|_| Broken)?;
        if size < layout.offset + layout.bytes as u64 {
            return Err(Broken);
        }
        // Without memory for it, nothing can be said about its cells.
        let map = Map::new(&self.file, layout.offset, layout.bytes, self.writable);
        let map = map.map_err(|_| Broken)?;
        Ok((chunk.get_or_init(|| map), layout))
    }

    /// Returns a cell.
    pub(crate) fn cell(&self, number: usize) -> Result<Cell<'_>, Broken> {
        let (chunk, local) = layout::find(number);
        let (map, layout) = self.chunk(chunk)?;
        if local >= layout.cells {
            return Err(Broken);
        }
        let start = local * CELL_WORDS;
        Ok(Cell::new(&map.words()[start..start + CELL_WORDS]))
    }

    /// Returns whether lives, tickets and tokens can still be given.
    pub(crate) fn has_numbers_left(&self) -> bool {
        let last = [header::TICKET, header::TOKEN].map(|number| self.get(number));
        (GATE + 1..=LAST_BYTE).contains(&self.get(header::NEXT_LIFE))
            && last.iter().all(|last| *last < NUMBERS_END - 1)
    }

    /// Returns whether the file was neither cut nor overwritten since it was mapped, as far as its
    /// canaries tell.
    pub(crate) fn is_whole(&self) -> bool {
        let words = self.header.words();
        let begins = header::magic();
        let intact =
            begins.iter().zip(words).all(|(own, word)| *own == word.load(Ordering::Relaxed));
        let canary = |words: &[AtomicU64], at: usize| words[at].load(Ordering::Relaxed) == CANARY;
        let last = || {
            let (map, layout) = self.chunk(self.chunk_count()? - 1)?;
            Ok::<bool, Broken>(canary(map.words(), layout.canary) && !map.is_broken())
        };
        intact
            && canary(words, header::CANARY_AT)
            && !self.header.is_broken()
            && last().is_ok_and(|whole| whole)
    }
}
