//! The first page of a table: what it is, and the numbers that its processes share.

use crate::format::layout::PAGE_BYTES;

/// The first bytes of a table, of whatever version.
pub(crate) const MAGIC: [u8; 12] = *b"treelock tab";
/// The version of this format.
pub(crate) const VERSION: u32 = 2;
/// The version whose tables have a byte lock for each ticket.
const FORMER_VERSION: u32 = 1;
/// The size of what tells a table from other files.
pub(crate) const MAGIC_BYTES: usize = 16;

/// A number of 64 bits in the header, by its place.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) usize);

/// The key of the hashes in the index: random, chosen when the table was made.
pub(crate) const KEY: [Number; 2] = [Number(2), Number(3)];
/// From when on requests may be made, in nanoseconds since boot: see [`site`](crate::site).
pub(crate) const OPENS: Number = Number(4);
/// The next life: see [`life`](crate::life).
pub(crate) const NEXT_LIFE: Number = Number(8);
/// Who has the latch: see [`latch`](crate::latch).
pub(crate) const LATCH: Number = Number(16);
/// The process that had the latch last, for messages.
pub(crate) const LATCH_PID: Number = Number(17);
/// Where the latch's waiters sleep, in numbers of 32 bits.
pub(crate) const LATCH_BELL: usize = 18 * 2;

// What only the holder of the latch changes.

/// Whether a change has begun and not ended.
pub(crate) const DIRTY: Number = Number(24);
/// The last ticket and token that were given.
pub(crate) const TICKET: Number = Number(25);
pub(crate) const TOKEN: Number = Number(26);
/// How many chunks there are.
pub(crate) const CHUNKS: Number = Number(27);
/// The first free cell plus one, how many free ones are linked behind it, and how many cells were
/// ever used.
pub(crate) const FREE: Number = Number(28);
pub(crate) const FREE_COUNT: Number = Number(29);
pub(crate) const CELLS_USED: Number = Number(30);
/// Where the search for the dead goes on.
pub(crate) const CURSOR: Number = Number(31);
/// How many records could not be read when the index was built.
pub(crate) const DAMAGED: Number = Number(32);
/// How often the index was built from the records, for tests and the curious.
pub(crate) const REBUILDS: Number = Number(33);
/// How many requests have a record that is live or left.
pub(crate) const LIVE: Number = Number(40);
/// The index's free places and entries: the first one that is linked plus one, how many were ever
/// used, and how many are in use.
pub(crate) const PLACES: [Number; 3] = [Number(34), Number(35), Number(36)];
pub(crate) const ENTRIES: [Number; 3] = [Number(37), Number(38), Number(39)];

/// Which chunks have cells that were left: a bit for each.
pub(crate) const LEFT: Number = Number(48);

/// The number of the ring that listeners read, or 0 if there is none, in a line of its own, which
/// all read and few change; and the lives of the listeners: see [`listeners`](crate::listeners).
pub(crate) const RING: Number = Number(56);
/// The round of the ring in which it was looked last whether the listeners live.
pub(crate) const RING_ROUND: Number = Number(57);
pub(crate) const LISTENERS: usize = 64;
pub(crate) const LISTENERS_MAX: usize = 32;

/// The place of the canary.
pub(crate) const CANARY_AT: usize = PAGE_BYTES / 8 - 1;

/// How many bells there are, and how far they are apart.
pub(crate) const BELLS: usize = 64;
pub(crate) const BELL_BYTES: usize = PAGE_BYTES / BELLS;

/// Returns the first numbers of a table of this version.
pub(crate) fn magic() -> [u64; 2] {
    let bytes = magic_bytes();
    [0, 8].map(|at| u64::from_ne_bytes(*bytes[at..].first_chunk().expect("16 bytes")))
}

/// Returns the first bytes of a table of this version.
pub(crate) fn magic_bytes() -> [u8; MAGIC_BYTES] {
    let mut bytes = [0; MAGIC_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    // In the byte order of this machine, as all other numbers: a table is for one host.
    bytes[MAGIC.len()..].copy_from_slice(&VERSION.to_ne_bytes());
    bytes
}

/// What a file is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table of this version.
    Table,
    /// A table of the former version.
    Former,
    /// A table that has lost even its header, or was only begun: nothing, or the first bytes of
    /// one.
    Cut,
    /// Something else. Says what.
    Foreign(String),
}

/// Tells what a file is by up to [`MAGIC_BYTES`] first bytes.
pub(crate) fn kind(start: &[u8]) -> Kind {
    let own = magic_bytes();
    if start.len() < own.len() {
        return match own.starts_with(start) {
            true => Kind::Cut,
            false => Kind::Foreign("it is shorter than a table and begins differently".into()),
        };
    }
    let version = u32::from_ne_bytes(*start[MAGIC.len()..].first_chunk().expect("16 bytes"));
    match (start[..MAGIC.len()] == MAGIC, version) {
        (false, _) => Kind::Foreign("it has a different header".into()),
        (true, VERSION) => Kind::Table,
        (true, FORMER_VERSION) => Kind::Former,
        (true, other) => Kind::Foreign(format!("version {other} instead of {VERSION}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        let with = |version: u32| [&MAGIC[..], &version.to_ne_bytes()].concat();
        assert_eq!(kind(&with(VERSION)), Kind::Table);
        assert_eq!(kind(&with(FORMER_VERSION)), Kind::Former);
        assert_eq!(kind(&with(9)), Kind::Foreign("version 9 instead of 2".into()));
        for length in 0..MAGIC_BYTES {
            assert_eq!(kind(&with(VERSION)[..length]), Kind::Cut, "{length}");
        }
        for other in [&b"\n"[..], b"0123456789abcdef", &[0; 16], &[0; 3]] {
            assert!(matches!(kind(other), Kind::Foreign(_)), "{other:?}");
        }
    }
}
