//! An audit of a table: reads the file by its own knowledge of the layout, and compares what
//! follows from the records with what is stored besides. It trusts no code of the lock.
//!
//! The places are those that are drawn in `format/layout.rs`, `format/header.rs`, `format/cell.rs`
//! and `index.rs`, in words of 64 bits or in halves of 32. Links are the number of what they lead
//! to plus one.

use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

/// The numbers of the header.
pub(crate) const LATCH: usize = 16;
pub(crate) const DIRTY: usize = 24;
const NEXT_LIFE: usize = 8;
const TICKET: usize = 25;
const TOKEN: usize = 26;
const CHUNKS: usize = 27;
const FREE: usize = 28;
const FREE_COUNT: usize = 29;
const CELLS_USED: usize = 30;
const DAMAGED: usize = 32;
const REBUILDS: usize = 33;
const LIVE: usize = 40;
const PLACES: [usize; 3] = [34, 35, 36];
const ENTRIES: [usize; 3] = [37, 38, 39];
const CANARY_AT: usize = 511;
const CANARY: u64 = 0xc3a5_c85c_97cb_3127;

/// The states of a cell, the two low bits of its first word; the others are the ticket.
const FREE_CELL: u64 = 0;
pub(crate) const LIVE_CELL: u64 = 1;
const LEFT_CELL: u64 = 2;
const PART_CELL: u64 = 3;

const CELL_WORDS: usize = 32;
const PAYLOAD_BYTES: usize = 184;
const LIVES_AT: [usize; 2] = [1, 2];
const TOKEN_AT: usize = 3;
const LENGTH_AT: usize = 7;
const LINKS_AT: usize = 8;

const KINDS: usize = 4;

/// A chunk: its cells, and where its index lies in halves from the start of the file.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    cells: usize,
    /// In words from the start of the file.
    start: usize,
    canary: usize,
    buckets: usize,
    bucket_count: usize,
    places: usize,
    place_count: usize,
    entries: usize,
    entry_count: usize,
}

fn chunks(count: usize) -> Vec<Chunk> {
    let mut start = 1024;
    (0..count)
        .map(|number| {
            let all = 64_usize << number;
            let first = if number == 0 { 0 } else { all / 2 };
            let cells = all - first;
            let marks = cells.div_ceil(64) + cells.div_ceil(4096);
            let buckets = (start + cells * CELL_WORDS + marks) * 2;
            let places = buckets + all * 4;
            let entries = places + all * 4 * 8;
            let bytes = ((entries + all * 6 * 6 - start * 2) * 4 + 8).next_multiple_of(4096);
            let canary = start + bytes / 8 - 1;
            let chunk = Chunk {
                first,
                cells,
                start,
                canary,
                buckets,
                bucket_count: all * 4,
                places,
                place_count: all * 4,
                entries,
                entry_count: all * 6,
            };
            start += bytes / 8;
            chunk
        })
        .collect()
}

/// Returns whether somebody has the latch of a table.
pub(crate) fn is_latched(table: &Path) -> bool {
    let mut latch = [0; 8];
    let read = fs::File::open(table).and_then(|table| table.read_at(&mut latch, LATCH as u64 * 8));
    read.is_ok() && latch != [0; 8]
}

/// Writes a word of a table.
pub(crate) fn overwrite(table: &Path, at: usize, word: u64) {
    let table = fs::File::options().write(true).open(table).expect("a table");
    table.write_all_at(&word.to_ne_bytes(), at as u64 * 8).expect("room");
}

/// Returns where a cell begins, in words from the start of the file.
fn place_of(cell: usize) -> usize {
    let chunks = chunks(15);
    let chunk = chunks.iter().rfind(|chunk| chunk.first <= cell).expect("the first begins at 0");
    chunk.start + (cell - chunk.first) * CELL_WORDS
}

/// What an audit has found.
pub(crate) struct Audit {
    words: Vec<u64>,
    chunks: Vec<Chunk>,
    faults: Vec<String>,
}

impl Audit {
    /// Audits a table while nobody changes it.
    pub(crate) fn of(table: &Path) -> Audit {
        let bytes = fs::read(table).expect("a table");
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let chunks = chunks(words[CHUNKS] as usize);
        let mut audit = Audit { words, chunks, faults: Vec::new() };
        audit.check_size();
        let owned = audit.check_records();
        if !audit.is_dirty() && audit.faults.is_empty() {
            audit.check_cells(&owned);
            audit.check_index();
        }
        audit
    }

    /// Audits a table, and panics if anything is wrong, or if a change has begun and not ended.
    pub(crate) fn clean(table: &Path, when: &str) -> Audit {
        let audit = Audit::of(table);
        audit.assert_whole(when);
        assert_eq!((audit.words[DIRTY], audit.words[LATCH]), (0, 0), "{when}: dirty, or latched");
        audit
    }

    /// Panics if anything is wrong. Where a change has begun and not ended, only the records count.
    pub(crate) fn assert_whole(&self, when: &str) {
        assert!(self.faults.is_empty(), "{when}:\n{}", self.faults.join("\n"));
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.words[DIRTY] != 0
    }

    /// Returns the last life that was given.
    pub(crate) fn last_life(&self) -> u64 {
        self.words[NEXT_LIFE] - 1
    }

    pub(crate) fn last_token(&self) -> u64 {
        self.words[TOKEN]
    }

    pub(crate) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn rebuilds(&self) -> u64 {
        self.words[REBUILDS]
    }

    /// Returns the tickets of the live records, the earliest first, whether or not their owners
    /// live.
    pub(crate) fn live(&self) -> Vec<u64> {
        let live = self.numbers().filter(|number| self.state(*number).1 == LIVE_CELL);
        let mut live: Vec<u64> = live.map(|number| self.state(number).0).collect();
        live.sort_unstable();
        live
    }

    /// Returns how many cells are not free.
    pub(crate) fn occupied(&self) -> usize {
        self.numbers().filter(|number| self.state(*number).1 != FREE_CELL).count()
    }

    /// Returns the word where the record of this ticket begins.
    pub(crate) fn record(&self, ticket: u64) -> Option<usize> {
        let mut first = self.numbers().filter(|number| {
            let (own, state) = self.state(*number);
            own == ticket && [LIVE_CELL, LEFT_CELL].contains(&state)
        });
        first.next().map(place_of)
    }

    fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    fn numbers(&self) -> Range<usize> {
        0..self.chunks.last().map_or(0, |last| last.first + last.cells)
    }

    fn cell(&self, number: usize) -> &[u64] {
        &self.words[place_of(number)..][..CELL_WORDS]
    }

    /// Returns the ticket of a cell, and what it is.
    fn state(&self, number: usize) -> (u64, u64) {
        let word = self.cell(number)[0];
        (word >> 2, word & 3)
    }

    fn half(&self, at: usize) -> usize {
        (self.words[at / 2] >> (at % 2 * 32)) as u32 as usize
    }

    /// Returns the links of a cell: to its first entry in the index, and to the next cell.
    fn links(&self, number: usize) -> (usize, usize) {
        let word = self.cell(number)[LINKS_AT];
        (word as u32 as usize, (word >> 32) as usize)
    }

    fn check_size(&mut self) {
        let last = self.chunks.last().expect("a table has at least one chunk");
        for at in [CANARY_AT, last.canary] {
            if self.words.get(at) != Some(&CANARY) {
                self.fault(format!("there is no canary at word {at}"));
            }
        }
        assert!(self.faults.is_empty(), "{:?}", self.faults);
    }

    /// Checks that all records are whole, and returns the further cells of them.
    fn check_records(&mut self) -> HashSet<usize> {
        let mut owned = HashSet::new();
        for number in self.numbers() {
            let (ticket, state) = self.state(number);
            if ticket > self.words[TICKET] {
                self.fault(format!("cell {number} has ticket {ticket}, which was not given yet"));
            }
            if ![LIVE_CELL, LEFT_CELL].contains(&state) {
                continue;
            }
            // After a death, what has left is not whole any more if it was being taken back.
            if state == LEFT_CELL && self.is_dirty() {
                continue;
            }
            let length = (self.cell(number)[LENGTH_AT] >> 32) as usize;
            let mut next = self.links(number).1;
            for part in 1..length.div_ceil(PAYLOAD_BYTES).max(1) {
                let cell = next.wrapping_sub(1);
                let known = self.numbers().contains(&cell);
                if !known || self.state(cell) != (ticket, PART_CELL) || !owned.insert(cell) {
                    self.fault(format!("ticket {ticket}: part {part} is not in cell {cell}"));
                    break;
                }
                next = self.links(cell).1;
            }
            let cell = self.cell(number);
            let lives = LIVES_AT.map(|at| cell[at]);
            let known = |life: &u64| *life < self.words[NEXT_LIFE];
            if lives[0] == 0 || !lives.iter().all(known) || cell[TOKEN_AT] > self.words[TOKEN] {
                self.fault(format!("ticket {ticket}: lives {lives:?}, token {}", cell[TOKEN_AT]));
            }
        }
        owned
    }

    /// Checks the list of free cells and the counts.
    fn check_cells(&mut self, owned: &HashSet<usize>) {
        let used = self.words[CELLS_USED] as usize;
        let mut free = HashSet::new();
        let mut link = self.words[FREE] as usize;
        while link != 0 {
            if link > used || self.state(link - 1).1 != FREE_CELL || !free.insert(link - 1) {
                self.fault(format!("the list of free cells leads to cell {}", link - 1));
                break;
            }
            link = self.links(link - 1).1;
        }
        let mut records = 0;
        for number in self.numbers() {
            let fault = match self.state(number).1 {
                FREE_CELL if (number < used) != free.contains(&number) => "is free, but not listed",
                LIVE_CELL | LEFT_CELL => {
                    records += 1;
                    if number < used { continue } else { "counts as never used" }
                }
                PART_CELL if !owned.contains(&number) => "is a part of nothing",
                _ => continue,
            };
            self.fault(format!("cell {number} {fault}"));
        }
        for (what, at, count) in [
            ("FREE_COUNT", FREE_COUNT, free.len()),
            ("LIVE", LIVE, records),
            ("DAMAGED", DAMAGED, 0),
        ] {
            if self.words[at] != count as u64 {
                self.fault(format!("{what} is {} instead of {count}", self.words[at]));
            }
        }
    }

    /// Checks that the index has the entries of the records and no others.
    fn check_index(&mut self) {
        let Some(index) = self.chunks.last().copied() else { return };
        let Chunk { buckets, bucket_count, places, place_count, entries, .. } = index;
        let mut by_cell = HashMap::new();
        let mut used_places = 0;
        for bucket in 0..bucket_count {
            let mut link = self.half(buckets + bucket);
            while link != 0 {
                used_places += 1;
                if link > place_count || used_places > place_count {
                    return self.fault(format!("bucket {bucket} leads to place {link}"));
                }
                let place = places + (link - 1) * 8;
                if self.half(place) & (bucket_count - 1) != bucket {
                    self.fault(format!("place {link} is in bucket {bucket}"));
                }
                self.check_lists(&index, link, &mut by_cell);
                link = self.half(place + 2);
            }
        }
        let used_entries: usize = by_cell.values().map(HashSet::len).sum();
        self.check_entries(&index, by_cell);
        self.check_free_list("places", PLACES, used_places, |link| places + (link - 1) * 8 + 2);
        self.check_free_list("entries", ENTRIES, used_entries, |link| entries + (link - 1) * 6 + 4);
    }

    /// Checks the lists of entries at a place, and collects these by their cells.
    fn check_lists(
        &mut self,
        index: &Chunk,
        link: usize,
        by_cell: &mut HashMap<usize, HashSet<usize>>,
    ) {
        let mut here = 0;
        for kind in 0..KINDS {
            let mut before = 0;
            let mut next = self.half(index.places + (link - 1) * 8 + 4 + kind);
            while next != 0 {
                here += 1;
                if next > index.entry_count || here > index.entry_count {
                    return self.fault(format!("place {link} leads to entry {next}"));
                }
                let entry = index.entries + (next - 1) * 6;
                let [place, cell, own, back, behind] =
                    [0, 1, 2, 3, 4].map(|at| self.half(entry + at));
                if [place, own, back] != [link, kind, before] {
                    self.fault(format!(
                        "entry {next}: {:?}",
                        [place, own, back, link, kind, before]
                    ));
                }
                by_cell.entry(cell).or_default().insert(next);
                (before, next) = (next, behind);
            }
        }
        if here == 0 {
            self.fault(format!("place {link} has no entries"));
        }
    }

    /// Checks that each record leads to its entries, and that there are no others.
    fn check_entries(&mut self, index: &Chunk, mut by_cell: HashMap<usize, HashSet<usize>>) {
        let last = self.words[CELLS_USED] as usize;
        for number in 0..last {
            let (ticket, state) = self.state(number);
            if ![LIVE_CELL, LEFT_CELL].contains(&state) {
                continue;
            }
            let mut own = by_cell.remove(&number).unwrap_or_default();
            // One that left while the index was built again has no entries.
            if own.is_empty() && state == LIVE_CELL {
                self.fault(format!("ticket {ticket} is not in the index"));
            }
            let mut link = self.links(number).0;
            while link != 0 {
                if link > index.entry_count || !own.remove(&link) {
                    self.fault(format!("ticket {ticket} leads to entry {link}"));
                    break;
                }
                link = self.half(index.entries + (link - 1) * 6 + 5);
            }
            if !own.is_empty() {
                self.fault(format!("ticket {ticket} does not lead to its entries {own:?}"));
            }
        }
        if !by_cell.is_empty() {
            self.fault(format!("there are entries of cells without a record: {by_cell:?}"));
        }
    }

    fn check_free_list(
        &mut self,
        what: &str,
        [free, ever, count]: [usize; 3],
        used: usize,
        next: impl Fn(usize) -> usize,
    ) {
        let [free, ever, count] = [free, ever, count].map(|at| self.words[at] as usize);
        let mut seen = HashSet::new();
        let mut link = free;
        while link != 0 && link <= ever && seen.insert(link) {
            link = self.half(next(link));
        }
        if link != 0 || count != used || used + seen.len() != ever {
            let free = seen.len();
            self.fault(format!("{what}: {used} used, {free} free, {count} counted, {ever} ever"));
        }
    }
}
