//! An audit of a table at rest between two changes: whether the list of free cells, the index and
//! all counts say what follows from the cells.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hasher,
};

use siphasher::sip::SipHasher13;
use treelock::{Snapshot, Wait};

use crate::{
    raw::{
        Bytes, CANARY, CELL_ENTRIES_AT, CELLS_USED_AT, CHUNKS_AT, Chunk, DAMAGED_AT, DIRTY_AT,
        ENTRIES_AT, FREE, FREE_AT, FREE_COUNT_AT, KEY_AT, LATCH_AT, LEFT, LIVE, LIVE_AT, NEXT_AT,
        PAGE, PART, PLACES_AT, TICKET_AT, cell_at, chunks,
    },
    scratch::{Scratch, long, write},
};

impl Scratch {
    /// Checks that nothing in the table is wrong. No one may change it meanwhile.
    pub(crate) fn assert_sound(&self) {
        let snapshot = self.lock.snapshot().wait().expect("a table that can be read");
        let wrong = audit(&self.bytes(), &snapshot);
        assert!(wrong.is_empty(), "{} wrong:\n{}\n{snapshot}", wrong.len(), wrong.join("\n"));
    }
}

/// Returns all that is wrong in a table whose live requests are these.
fn audit(bytes: &Bytes, live: &Snapshot) -> Vec<String> {
    let mut audit = Audit { bytes, wrong: Vec::new() };
    audit.equal("the latch", bytes.number(LATCH_AT), 0);
    audit.equal("the mark of an unfinished change", bytes.number(DIRTY_AT), 0);
    let chunk = bytes.number(CHUNKS_AT).checked_sub(1).and_then(|last| chunks().nth(last as usize));
    let Some(chunk) = chunk else { return vec!["the number of chunks".into()] };
    audit.equal("the header's canary", bytes.number(PAGE - 8), CANARY);
    audit.equal("the last canary", bytes.number(chunk.canary), CANARY);
    let records = audit.cells(live);
    audit.free_cells();
    audit.index(&chunk, &records);
    audit.wrong
}

struct Audit<'a> {
    bytes: &'a Bytes,
    wrong: Vec<String>,
}

/// What the index says of a record: the hash of each node, and how the record is entered there.
type Entered = BTreeSet<(u64, u32)>;

impl Audit<'_> {
    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, is: T, should_be: T) {
        if is != should_be {
            self.wrong.push(format!("{what}: {is:?} instead of {should_be:?}"));
        }
    }

    /// Audits the records in the cells. Returns the first cell of each that has an owner, with its
    /// ticket.
    fn cells(&mut self, live: &Snapshot) -> BTreeMap<u64, u64> {
        let bytes = self.bytes;
        let used = bytes.number(CELLS_USED_AT);
        let mut records = BTreeMap::new();
        let mut parts = BTreeSet::new();
        for number in 0..bytes.capacity() {
            let (ticket, state) = bytes.state(number);
            if ticket > bytes.number(TICKET_AT) {
                self.wrong.push(format!("cell {number} has ticket {ticket}, not given yet"));
            }
            if number >= used && state != FREE {
                self.wrong.push(format!("cell {number} is in use, and only {used} are"));
            }
            if state != LIVE && state != LEFT {
                continue;
            }
            records.insert(number, ticket);
            for part in &bytes.record(number)[1..] {
                self.equal(&format!("part {part} of {number}"), bytes.state(*part), (ticket, PART));
                if !parts.insert(*part) {
                    self.wrong.push(format!("cell {part} belongs to two records"));
                }
            }
        }
        let all = (0..bytes.capacity()).filter(|cell| bytes.state(*cell).1 == PART).collect();
        self.equal("the further parts of records", all, parts);
        for ticket in live.entries.iter().map(|entry| entry.ticket) {
            let owned = |(cell, own): (&u64, &u64)| *own == ticket && bytes.state(*cell).1 == LIVE;
            self.equal(&format!("a record of {ticket}"), records.iter().any(owned), true);
        }
        self.equal("the count of records", bytes.number(LIVE_AT), records.len() as u64);
        self.equal("the count of damaged records", bytes.number(DAMAGED_AT), 0);
        records
    }

    fn free_cells(&mut self) {
        let bytes = self.bytes;
        let next = |cell: u64| u64::from(bytes.half(cell_at(cell) + NEXT_AT));
        let mut listed = BTreeSet::new();
        let mut link = bytes.number(FREE_AT);
        while let Some(cell) = link.checked_sub(1) {
            if cell >= bytes.capacity() || !listed.insert(cell) {
                self.wrong.push(format!("the list of free cells leads to {cell}"));
                return;
            }
            link = next(cell);
        }
        self.equal("the count of free cells", bytes.number(FREE_COUNT_AT), listed.len() as u64);
        let used = 0..bytes.number(CELLS_USED_AT);
        let free = used.filter(|cell| bytes.state(*cell).1 == FREE).collect();
        self.equal("the free cells", listed, free);
    }

    fn index(&mut self, chunk: &Chunk, records: &BTreeMap<u64, u64>) {
        let mut by_cell: HashMap<u64, Entered> = HashMap::new();
        let mut siblings: HashMap<u64, BTreeSet<u32>> = HashMap::new();
        let (mut places, mut entries) = (BTreeSet::new(), BTreeSet::new());
        for bucket in 0..chunk.bucket_count {
            let mut link = self.bytes.half(chunk.buckets + bucket * 4);
            while link != 0 {
                if u64::from(link) > chunk.place_count || !places.insert(link) {
                    return self.wrong.push(format!("bucket {bucket} leads to place {link}"));
                }
                let place = chunk.places + u64::from(link - 1) * 32;
                let hash = self.bytes.number(place);
                self.equal("the bucket of a place", hash & (chunk.bucket_count - 1), bucket);
                for kind in 0..4 {
                    for entry in self.list(chunk, link, kind) {
                        entries.insert(entry);
                        let cell = self.entry_half(chunk, entry, 1).into();
                        by_cell.entry(cell).or_default().insert((hash, kind));
                        siblings.entry(cell).or_default().insert(entry);
                    }
                }
                link = self.bytes.half(place + 8);
            }
        }
        self.counts("places", PLACES_AT, &places, |link| chunk.places + (link - 1) * 32 + 8);
        self.counts("entries", ENTRIES_AT, &entries, |link| chunk.entries + (link - 1) * 24 + 16);
        let cells: BTreeSet<u64> = by_cell.keys().copied().collect();
        let strangers: Vec<_> = cells.iter().filter(|cell| !records.contains_key(cell)).collect();
        self.equal("the cells in the index without a record", strangers, Vec::new());
        let key = [self.bytes.number(KEY_AT), self.bytes.number(KEY_AT + 8)];
        for (cell, ticket) in records {
            let own = self.siblings(chunk, *cell);
            let name = format!("the entries of ticket {ticket} in cell {cell}");
            self.equal(&name, own, siblings.remove(cell).unwrap_or_default());
            let found = by_cell.remove(cell).unwrap_or_default();
            self.equal(&name, Some(found), entered(&self.bytes.payload(*cell), key));
        }
    }

    /// Returns a field of an entry.
    fn entry_half(&self, chunk: &Chunk, link: u32, field: u64) -> u32 {
        self.bytes.half(chunk.entries + u64::from(link - 1) * 24 + field * 4)
    }

    /// Returns the entries of a kind at a place.
    fn list(&mut self, chunk: &Chunk, place: u32, kind: u32) -> BTreeSet<u32> {
        let first = chunk.places + u64::from(place - 1) * 32 + 16 + u64::from(kind) * 4;
        let mut found = BTreeSet::new();
        let mut before = 0;
        let mut link = self.bytes.half(first);
        while link != 0 {
            if u64::from(link) > chunk.entry_count || !found.insert(link) {
                self.wrong.push(format!("list {kind} of place {place} leads to entry {link}"));
                break;
            }
            let says = [0, 2, 3].map(|field| self.entry_half(chunk, link, field));
            self.equal(&format!("place, kind, and before of {link}"), says, [place, kind, before]);
            before = link;
            link = self.entry_half(chunk, link, 4);
        }
        found
    }

    /// Returns the entries that a record says it has.
    fn siblings(&mut self, chunk: &Chunk, cell: u64) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut link = self.bytes.half(cell_at(cell) + CELL_ENTRIES_AT);
        while link != 0 {
            if u64::from(link) > chunk.entry_count || !found.insert(link) {
                self.wrong.push(format!("the entries of cell {cell} lead to {link}"));
                break;
            }
            link = self.entry_half(chunk, link, 5);
        }
        found
    }

    /// Audits how many there are in use of something, and the list of the free ones.
    fn counts(&mut self, what: &str, at: u64, used: &BTreeSet<u32>, next: impl Fn(u64) -> u64) {
        let [mut free, ever, count] = [0, 8, 16].map(|behind| self.bytes.number(at + behind));
        self.equal(&format!("the count of {what}"), count, used.len() as u64);
        let mut all = used.clone();
        while free != 0 {
            if !all.insert(free as u32) {
                return self.wrong.push(format!("the list of free {what} leads to {free}"));
            }
            free = u64::from(self.bytes.half(next(free)));
        }
        let name = format!("the {what} in use or free");
        self.equal(&name, all, (1..=ever as u32).collect());
    }
}

// How a record is entered at a node.
const READS: u32 = 0;
const READS_BELOW: u32 = 2;

/// Returns what the index has to say of a request, whose record is this, by the definition of a
/// conflict. `None` if the record cannot be read.
fn entered(record: &[u8], [one, two]: [u64; 2]) -> Option<Entered> {
    let hash = |node: &[u8]| {
        let mut hasher = SipHasher13::new_with_keys(one, two);
        hasher.write(node);
        hasher.finish()
    };
    let mut rest = record;
    let rest = &mut rest;
    if length(rest)? == 1 {
        bytes(rest)?;
    }
    let mut entered = Entered::new();
    for _ in 0..length(rest)? {
        let writes = length(rest)? as u32;
        let node = bytes(rest)?;
        entered.insert((hash(node), READS + writes));
        let above = match length(rest)? {
            0 => prefixes(node)?,
            _ => (0..length(rest)?).map(|_| bytes(rest)).collect::<Option<_>>()?,
        };
        entered.extend(above.into_iter().map(|node| (hash(node), READS_BELOW + writes)));
    }
    rest.is_empty().then_some(entered)
}

/// Takes a number from the start of some bytes: seven bits in a byte, the lowest first.
fn length(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

/// Takes a length and as many bytes.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = length(rest)?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

/// Returns the proper ancestors of a node, which is its components, each with its length in front.
fn prefixes(node: &[u8]) -> Option<Vec<&[u8]>> {
    let mut prefixes = Vec::new();
    let mut rest = node;
    while !rest.is_empty() {
        prefixes.push(&node[..node.len() - rest.len()]);
        bytes(&mut rest)?;
    }
    Some(prefixes)
}

/// The audit can fail: whichever number that it looks at is changed, it says so.
#[test]
fn an_audit_sees_what_is_wrong() {
    let scratch = Scratch::new();
    let guards = scratch.crowd(5);
    let long = scratch.lock.try_acquire(&long("b")).wait().expect("free");
    drop(scratch.crowd_under("gone", 3));
    drop(scratch.lock.try_acquire(&write("c")).wait().expect("free"));
    scratch.assert_sound();
    let snapshot = scratch.lock.snapshot().wait().expect("a table");
    let parts = scratch.cells(long.ticket());
    let chunk = chunks().next().expect("there is one");
    let first_cell = 2 * PAGE;
    for at in [
        LATCH_AT,
        DIRTY_AT,
        TICKET_AT,
        FREE_AT,
        FREE_COUNT_AT,
        CELLS_USED_AT,
        DAMAGED_AT,
        PLACES_AT,
        PLACES_AT + 8,
        PLACES_AT + 16,
        ENTRIES_AT,
        ENTRIES_AT + 8,
        ENTRIES_AT + 16,
        LIVE_AT,
        PAGE - 8,
        KEY_AT,
        first_cell,
        first_cell + CELL_ENTRIES_AT,
        parts[1],
        parts[1] + NEXT_AT,
        chunk.places,
        chunk.places + 8,
        chunk.places + 16,
        chunk.entries,
        chunk.entries + 8,
        chunk.entries + 20,
        chunk.canary,
    ] {
        let mut bytes = scratch.bytes();
        bytes.0[at as usize] ^= 3;
        assert!(!audit(&bytes, &snapshot).is_empty(), "the number at {at} was changed");
    }
    drop((guards, long));
    scratch.assert_at_rest();
}
