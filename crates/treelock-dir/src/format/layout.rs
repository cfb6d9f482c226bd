//! Where what lies in the table's file.
//!
//! ```text
//! header 4096 │ bells 4096 │ chunk 0 │ chunk 1 │ …
//! chunk:  cells, 256 bytes each │ marks of those that were left │ index │ canary 8
//! ```
//!
//! Chunk 0 has 64 cells, and each further chunk as many as all before it. So the table doubles, a
//! cell never moves, and the place of a chunk follows from its number alone. Each chunk has an
//! index that is large enough for all cells up to its end; only that of the last chunk is in use.
//!
//! The last number of a chunk is its canary. A file that is cut anywhere loses the canary of its
//! last chunk, even if somebody makes it long again. The last number of the header is another one,
//! for a file that is cut within the header.

/// The size of the header and of the bells.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The size of a cell in bytes, and in numbers of 64 bits.
pub(crate) const CELL_BYTES: usize = 256;
pub(crate) const CELL_WORDS: usize = CELL_BYTES / 8;

/// How many cells the first chunk has.
pub(crate) const FIRST_CELLS: usize = 64;

/// How many chunks a table can have: a million cells.
pub(crate) const CHUNKS_MAX: usize = 15;

/// What the canaries are: random, but the same in each table.
pub(crate) const CANARY: u64 = 0xc3a5_c85c_97cb_3127;

/// A place of the index: the hash of a node in two halves, the next place of the same bucket, one
/// half to spare, and the first entry of each kind.
pub(crate) const PLACE_HALVES: usize = 8;
/// An entry of the index: its place, cell, and kind, the entries before and behind it at the same
/// place, and the next entry of the same request.
pub(crate) const ENTRY_HALVES: usize = 6;

/// For each cell, the index has this many buckets, places and entries.
const BUCKETS: usize = 4;
const PLACES: usize = 4;
const ENTRIES: usize = 6;

/// Where the parts of a chunk lie, in numbers of 64 or of 32 bits from its start.
pub(crate) struct Chunk {
    /// The number of the first cell, and how many there are.
    pub(crate) first: usize,
    pub(crate) cells: usize,
    /// The marks of the cells that were left: one bit for each cell, and one for each 64 of these
    /// bits.
    pub(crate) left: usize,
    pub(crate) summary: usize,
    pub(crate) index: Index,
    /// In numbers of 64 bits.
    pub(crate) canary: usize,
    pub(crate) bytes: usize,
    /// Where the chunk begins in the file.
    pub(crate) offset: u64,
}

/// Where the parts of an index lie, in numbers of 32 bits from the start of the chunk.
#[derive(Clone, Copy)]
pub(crate) struct Index {
    pub(crate) buckets: usize,
    /// A power of two.
    pub(crate) bucket_count: usize,
    pub(crate) places: usize,
    pub(crate) place_count: usize,
    pub(crate) entries: usize,
    pub(crate) entry_count: usize,
}

/// Returns how many cells a table of this many chunks has.
pub(crate) const fn cells(chunks: usize) -> usize {
    if chunks == 0 { 0 } else { FIRST_CELLS << (chunks - 1) }
}

/// Returns the layout of a chunk.
pub(crate) const fn chunk(number: usize) -> Chunk {
    let mut offset = 2 * PAGE_BYTES as u64;
    let mut before = 0;
    while before < number {
        offset += layout(before, 0).bytes as u64;
        before += 1;
    }
    layout(number, offset)
}

const fn layout(number: usize, offset: u64) -> Chunk {
    let (first, all) = (cells(number), cells(number + 1));
    let count = all - first;
    let left = count * CELL_WORDS;
    let summary = left + count.div_ceil(64);
    let buckets = (summary + count.div_ceil(64 * 64)) * 2;
    let places = buckets + all * BUCKETS;
    let entries = places + all * PLACES * PLACE_HALVES;
    let end = entries + all * ENTRIES * ENTRY_HALVES;
    let bytes = (end * 4 + 8).next_multiple_of(PAGE_BYTES);
    let index = Index {
        buckets,
        bucket_count: all * BUCKETS,
        places,
        place_count: all * PLACES,
        entries,
        entry_count: all * ENTRIES,
    };
    let canary = bytes / 8 - 1;
    Chunk { first, cells: count, left, summary, index, canary, bytes, offset }
}

/// Returns the size of a table of this many chunks in bytes.
pub(crate) const fn table_bytes(chunks: usize) -> u64 {
    chunk(chunks).offset
}

/// Returns the chunk of a cell, and its number in there.
pub(crate) fn find(cell: usize) -> (usize, usize) {
    match (cell / FIRST_CELLS).checked_ilog2() {
        None => (0, cell),
        Some(log) => (log as usize + 1, cell - (FIRST_CELLS << log)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_found_where_they_lie() {
        for cell in (0..5000).chain([cells(CHUNKS_MAX) - 1]) {
            let (number, local) = find(cell);
            let found = chunk(number);
            assert!(local < found.cells && found.first + local == cell, "{cell}");
        }
    }

    #[test]
    fn parts_follow_one_another() {
        for number in 0..CHUNKS_MAX {
            let found = chunk(number);
            assert!(found.index.bucket_count.is_power_of_two());
            let end = (found.index.entries + found.index.entry_count * ENTRY_HALVES).div_ceil(2);
            assert!(end <= found.canary && found.canary * 8 + 8 == found.bytes);
            assert_eq!(found.offset + found.bytes as u64, table_bytes(number + 1));
            assert_eq!(found.offset % PAGE_BYTES as u64, 0);
        }
        assert_eq!(table_bytes(1), 45_056);
    }
}
