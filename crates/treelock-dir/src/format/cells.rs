//! The table's file: a header, and cells that store the records of requests.
//!
//! ```text
//! header │ cell │ cell │ cell …             each 256 bytes, numbers little-endian
//! header: magic 12 │ version 4 │ cells 8 │ ticket 8 │ token 8 │ cursor 8 │ zeros
//! cell:   ticket 8 │ state 4 │ pid 4 │ token 8 │ asked 8 │ granted 8 │ part 2 │ parts 2
//!         │ length 4 │ payload 208
//! ```
//!
//! A live request has one cell, or several if its roots are many or long. Any free cells will do. A
//! cell that becomes free keeps its ticket and token. So the largest ticket in the table is the
//! last one issued, and no counter is needed. The header records the largest ticket of the cells
//! that were cut off, and is written only when the table grows or shrinks. The cursor is where the
//! search for cells of dead requests continues, or 0 if there is no search; any number will do.
//!
//! A cell is in use iff its state says so *and* the byte of its ticket is locked. Whatever a
//! process left behind when it died, complete or not, belongs to no one.

use std::{borrow::Cow, cell::OnceCell, collections::HashMap, fs::File, os::unix::fs::FileExt};

use treelock::Request;

use crate::format::request::{self, Draft};

/// The size of a cell, and of the header, in bytes.
pub(crate) const CELL_BYTES: usize = 256;
/// The size of the part of a cell before its payload, in bytes.
const HEAD_BYTES: usize = 48;
const PAYLOAD_BYTES: usize = CELL_BYTES - HEAD_BYTES;

/// The maximum size of a request's record in bytes.
pub(crate) const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize * PAYLOAD_BYTES;

/// Tickets and tokens are below this; larger numbers are garbage. Beyond it, additions could
/// overflow and the kernel could not lock the byte.
pub(crate) const NUMBERS_END: u64 = 1 << 62;

/// The first bytes of a table.
const MAGIC: [u8; 12] = *b"treelock tab";
const VERSION: u32 = 1;

/// Where the header records the minimum number of cells of the table, to detect that it was cut
/// short.
pub(crate) const COUNT_AT: usize = 16;

/// Where the header records the largest ticket and token of the cells that were cut off.
const TICKET_AT: usize = 24;
const TOKEN_AT: usize = 32;

/// Where the header records the cell at which the search for dead requests continues.
pub(crate) const CURSOR_AT: usize = 40;

/// Returns the bytes to write at [`COUNT_AT`] when a table is cut off after `count` cells.
pub(crate) fn sums(count: usize, (ticket, token): (u64, u64)) -> [u8; 24] {
    let mut sums = [0; 24];
    sums[..8].copy_from_slice(&(count as u64).to_le_bytes());
    sums[8..16].copy_from_slice(&ticket.to_le_bytes());
    sums[16..].copy_from_slice(&token.to_le_bytes());
    sums
}

/// Returns the header of a new table with `count` cells.
pub(crate) fn header(count: usize) -> [u8; CELL_BYTES] {
    let mut header = [0; CELL_BYTES];
    header[..12].copy_from_slice(&MAGIC);
    header[12..16].copy_from_slice(&VERSION.to_le_bytes());
    header[COUNT_AT..24].copy_from_slice(&(count as u64).to_le_bytes());
    header
}

/// Returns whether there are fewer cells than the header says.
pub(crate) fn is_cut_short(header: &[u8; CELL_BYTES], count: usize) -> bool {
    (count as u64) < u64::from_le_bytes(number(header, COUNT_AT))
}

/// Returns how this header differs from that of a lock table, if it does.
pub(crate) fn foreign(header: &[u8]) -> Option<String> {
    let version = u32::from_le_bytes(*header[12..].first_chunk()?);
    match (header[..12] == MAGIC, version) {
        (false, _) => Some("it has a different header".into()),
        (true, VERSION) => None,
        (true, other) => Some(format!("version {other} instead of {VERSION}")),
    }
}

/// A request in the table, live or not.
pub(crate) struct Record {
    pub(crate) ticket: u64,
    pub(crate) pid: u32,
    pub(crate) asked: u64,
    /// 0 until its owner has seen the grant.
    pub(crate) granted: u64,
    /// What it requests. A damaged record counts as a write on everything, which is safe.
    pub(crate) request: Request,
    pub(crate) damaged: bool,
}

/// The cells of a table at one moment.
pub(crate) struct Cells<'a> {
    header: &'a [u8; CELL_BYTES],
    cells: &'a [[u8; CELL_BYTES]],
    /// The parts of each record that has several cells, found when the first such record is read.
    parts: OnceCell<Parts>,
}

/// For each record's ticket, the numbers of its parts and of their cells, in order.
type Parts = HashMap<u64, Vec<(u16, usize)>>;

/// The fixed part of a cell.
#[derive(Clone, Copy)]
struct Head {
    ticket: u64,
    used: bool,
    pid: u32,
    token: u64,
    asked: u64,
    granted: u64,
    part: u16,
    parts: u16,
    length: u32,
}

/// The offset of the state in a cell.
const STATE_AT: usize = 8;
const FREE: [u8; 4] = 0u32.to_le_bytes();
const USED: [u8; 4] = 1u32.to_le_bytes();
/// The offset of the time of the grant in a cell.
pub(crate) const GRANTED_AT: usize = 32;

fn number<const N: usize>(cell: &[u8; CELL_BYTES], at: usize) -> [u8; N] {
    *cell[at..].first_chunk().expect("within the cell")
}

/// Returns a ticket or token. Garbage becomes 0, which is never issued.
fn given(number: u64) -> u64 {
    if number < NUMBERS_END { number } else { 0 }
}

impl Head {
    fn read(cell: &[u8; CELL_BYTES]) -> Head {
        Head {
            ticket: given(u64::from_le_bytes(number(cell, 0))),
            used: number(cell, STATE_AT) != FREE,
            pid: u32::from_le_bytes(number(cell, 12)),
            token: given(u64::from_le_bytes(number(cell, 16))),
            asked: u64::from_le_bytes(number(cell, 24)),
            granted: u64::from_le_bytes(number(cell, GRANTED_AT)),
            part: u16::from_le_bytes(number(cell, 40)),
            parts: u16::from_le_bytes(number(cell, 42)),
            length: u32::from_le_bytes(number(cell, 44)),
        }
    }

    fn write(&self, payload: &[u8]) -> [u8; CELL_BYTES] {
        let mut cell = [0; CELL_BYTES];
        cell[..8].copy_from_slice(&self.ticket.to_le_bytes());
        cell[STATE_AT..12].copy_from_slice(if self.used { &USED } else { &FREE });
        cell[12..16].copy_from_slice(&self.pid.to_le_bytes());
        cell[16..24].copy_from_slice(&self.token.to_le_bytes());
        cell[24..32].copy_from_slice(&self.asked.to_le_bytes());
        cell[GRANTED_AT..40].copy_from_slice(&self.granted.to_le_bytes());
        cell[40..42].copy_from_slice(&self.part.to_le_bytes());
        cell[42..44].copy_from_slice(&self.parts.to_le_bytes());
        cell[44..48].copy_from_slice(&self.length.to_le_bytes());
        cell[HEAD_BYTES..][..payload.len()].copy_from_slice(payload);
        cell
    }
}

impl<'a> Cells<'a> {
    /// Takes the bytes of a table. An incomplete cell at the end is ignored.
    pub(crate) fn new(bytes: &'a [u8]) -> Cells<'a> {
        let (cells, _) = bytes.as_chunks();
        let (header, cells) = cells.split_first().expect("a table that was checked has a header");
        Cells { header, cells, parts: OnceCell::new() }
    }

    /// Returns only the first `count` cells.
    pub(crate) fn first(self, count: usize) -> Cells<'a> {
        Cells { header: self.header, cells: &self.cells[..count], parts: OnceCell::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.cells.len()
    }

    fn heads(&self) -> impl DoubleEndedIterator<Item = (usize, Head)> {
        self.cells.iter().map(Head::read).enumerate()
    }

    /// Returns the largest ticket and the largest token ever issued; 0 if there were none.
    pub(crate) fn last(&self) -> (u64, u64) {
        let join = |(ticket, token): (u64, u64), (_, head): (usize, Head)| {
            (ticket.max(head.ticket), token.max(head.token))
        };
        let cut_off = |at| given(u64::from_le_bytes(number(self.header, at)));
        self.heads().fold((cut_off(TICKET_AT), cut_off(TOKEN_AT)), join)
    }

    /// Returns the ticket and the token of a cell, used or free; 0 if the cell does not exist.
    pub(crate) fn grant(&self, cell: usize) -> (u64, u64) {
        self.cells.get(cell).map(Head::read).map_or((0, 0), |head| (head.ticket, head.token))
    }

    /// Returns the numbers of the free cells.
    pub(crate) fn free(&self) -> impl Iterator<Item = usize> {
        self.heads().filter(|(_, head)| !head.used).map(|(number, _)| number)
    }

    /// Returns the numbers and tickets of the used cells.
    pub(crate) fn tickets(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        self.heads().filter(|(_, head)| head.used).map(|(number, head)| (number, head.ticket))
    }

    /// Returns the cell at which the search for dead requests continues. It is 0 if there is no
    /// search, or if a search is to begin.
    pub(crate) fn cursor(&self) -> usize {
        let cursor = u64::from_le_bytes(number(self.header, CURSOR_AT));
        if cursor < self.count() as u64 { cursor as usize } else { 0 }
    }

    /// Returns the first cells of all records.
    fn firsts(&self) -> impl Iterator<Item = (usize, Head)> {
        self.heads().filter(|(_, head)| head.used && head.part == 0)
    }

    /// Returns the number of the first cell of the record with this ticket, if there is one.
    pub(crate) fn find(&self, ticket: u64) -> Option<usize> {
        self.firsts().find(|(_, head)| head.ticket == ticket).map(|(number, _)| number)
    }

    /// Returns the records that conflict with a request, live or not, each as its ticket and the
    /// number of its first cell.
    pub(crate) fn conflicting(&self, draft: &Draft<'_>) -> impl Iterator<Item = (u64, usize)> {
        self.firsts().filter_map(|(number, head)| {
            let payload = self.payload(number, &head);
            draft.conflicts(payload.as_deref()).then_some((head.ticket, number))
        })
    }

    /// Returns all records, each read as far as possible.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.firsts().map(|(number, head)| self.read(number, head))
    }

    /// Returns the record that begins in a cell, read as far as possible.
    pub(crate) fn record(&self, first: usize) -> Record {
        self.read(first, Head::read(&self.cells[first]))
    }

    fn read(&self, first: usize, head: Head) -> Record {
        let payload = self.payload(first, &head);
        let request = payload.and_then(|payload| request::decode(&payload));
        let damaged = request.is_none();
        let request = request.unwrap_or_else(request::damaged);
        let Head { ticket, pid, asked, granted, .. } = head;
        Record { ticket, pid, asked, granted, request, damaged }
    }

    /// Returns the payload of the record that begins in a cell, if it is complete.
    fn payload(&self, first: usize, head: &Head) -> Option<Cow<'_, [u8]>> {
        let length = head.length as usize;
        let text = |cell: usize| &self.cells[cell][HEAD_BYTES..];
        if head.parts == 1 {
            return text(first).get(..length).map(Cow::Borrowed);
        }
        let parts = self.parts().get(&head.ticket)?;
        let whole = parts.iter().map(|(part, _)| *part).eq(0..head.parts);
        let mut payload: Vec<u8> =
            parts.iter().flat_map(|(_, cell)| text(*cell)).copied().collect();
        let enough = whole && length <= payload.len();
        payload.truncate(length);
        enough.then_some(Cow::Owned(payload))
    }

    /// Returns the cells of the record that begins in a cell.
    pub(crate) fn cells_of(&self, first: usize) -> Vec<usize> {
        let head = Head::read(&self.cells[first]);
        let parts = if head.parts == 1 { None } else { self.parts().get(&head.ticket) };
        parts.map_or_else(|| vec![first], |parts| parts.iter().map(|(_, cell)| *cell).collect())
    }

    fn parts(&self) -> &Parts {
        self.parts.get_or_init(|| {
            let mut parts = Parts::new();
            for (cell, head) in self.heads().filter(|(_, head)| head.used && head.parts != 1) {
                parts.entry(head.ticket).or_default().push((head.part, cell));
            }
            parts.values_mut().for_each(|parts| parts.sort_unstable());
            parts
        })
    }
}

/// Returns the offset of a cell in the file.
pub(crate) fn offset(cell: usize) -> u64 {
    ((cell + 1) * CELL_BYTES) as u64
}

/// Marks cells as free. If that fails, they still belong to no one once their ticket is unlocked.
pub(crate) fn free(file: &File, cells: &[usize]) {
    for cell in cells {
        let _ = file.write_all_at(&FREE, offset(*cell) + STATE_AT as u64);
    }
}

/// Returns how many cells the record of a draft needs.
pub(crate) fn parts(draft: &Draft<'_>) -> usize {
    draft.payload.len().div_ceil(PAYLOAD_BYTES).max(1)
}

/// The fields of a record besides the request.
pub(crate) struct Stamp {
    pub(crate) ticket: u64,
    pub(crate) token: u64,
    pub(crate) pid: u32,
    pub(crate) asked: u64,
    /// 0 if the request has to wait.
    pub(crate) granted: u64,
}

/// Returns the cells of a record.
pub(crate) fn write(draft: &Draft<'_>, stamp: Stamp) -> impl Iterator<Item = [u8; CELL_BYTES]> {
    let Stamp { ticket, token, pid, asked, granted } = stamp;
    let payload = &draft.payload;
    let length = payload.len() as u32;
    let parts = parts(draft) as u16;
    (0..parts).map(move |part| {
        let head = Head { ticket, used: true, pid, token, asked, granted, part, parts, length };
        let start = usize::from(part) * PAYLOAD_BYTES;
        let end = payload.len().min(start + PAYLOAD_BYTES);
        head.write(&payload[start..end])
    })
}

#[cfg(test)]
mod tests {
    use treelock::{Access, Node};

    use super::*;
    use crate::format::request::DAMAGED;

    fn stamp() -> Stamp {
        Stamp { ticket: 7, token: 8, pid: 6, asked: 9, granted: 10 }
    }

    fn shown(request: &Request) -> String {
        let above: Vec<_> = request.given_ancestors().collect();
        format!("{request:?} {above:?}")
    }

    #[test]
    fn requests_come_back_as_they_were() {
        let node =
            |component: &[u8]| Node::from_components([component]).expect("a valid component");
        let long: String = "x".repeat(10_000);
        for request in [
            Request::new(),
            Request::new().with_label(""),
            Request::new().with(Access::Write, Node::root()).with_label("all\n\u{1f333}"),
            Request::new().read("a/b/c").unwrap().write("d").unwrap(),
            Request::new().with(Access::Read, node(b"\xff/\0")),
            Request::new().with_ancestors(Access::Write, node(b"7"), [node(b"3"), node(b"2")]),
            Request::new().with_ancestors(Access::Write, node(b"7"), []).read("x").unwrap(),
            (0..300).fold(Request::new(), |r, i| r.read(format!("{i}/{long}").as_str()).unwrap()),
        ] {
            let draft = Draft::new(&request);
            let mut cells: Vec<[u8; CELL_BYTES]> = write(&draft, stamp()).collect();
            cells.push(header(cells.len()));
            cells.reverse();
            cells.push([0; CELL_BYTES]);
            let cells = Cells::new(cells.as_flattened());
            let records: Vec<Record> = cells.records().collect();
            assert_eq!(records.len(), 1);
            assert_eq!(shown(&records[0].request), shown(&request));
            assert!(!records[0].damaged);
            assert_eq!((records[0].ticket, records[0].granted), (7, 10));
            let everything = Request::new().write("/").unwrap();
            let draft_of_all = Draft::new(&everything);
            let found = cells.conflicting(&draft_of_all);
            let found: Vec<_> = found.map(|(t, first)| (t, cells.cells_of(first))).collect();
            // In the order of the parts, which were inserted backwards.
            let all = (0..parts(&draft)).rev().collect();
            let conflicts = everything.conflict(&request).is_some();
            let expected = if conflicts { vec![(7, all)] } else { vec![] };
            assert_eq!(found, expected);
            assert_eq!(
                (cells.last(), cells.grant(0), cells.grant(9_999_999)),
                ((7, 8), (7, 8), (0, 0))
            );
        }
    }

    /// Whatever a cell contains is read as something, and anything unreadable is a write on
    /// everything.
    #[test]
    fn damage_is_taken_as_a_write_on_everything() {
        let request = Request::new().read("a/b/c").unwrap().with_label("me");
        let draft = Draft::new(&request);
        let whole: Vec<[u8; CELL_BYTES]> = write(&draft, stamp()).collect();
        let first = |cells: &[[u8; CELL_BYTES]]| {
            let table = [&[header(1)], cells].concat();
            Cells::new(table.as_flattened()).records().next().expect("used: a record")
        };
        for byte in HEAD_BYTES..HEAD_BYTES + draft.payload.len() {
            for value in [0, 1, 2, 0x2e, 0x7f, 0xff] {
                let mut cells = whole.clone();
                cells[0][byte] = value;
                let record = first(&cells);
                let all = record.request.to_string() == "write /";
                assert_eq!(record.damaged, all && record.request.label() == Some(DAMAGED));
            }
        }
        let mut cells = whole.clone();
        cells[0][44] = 0xff; // a length beyond the cell
        assert!(first(&cells).damaged);
        cells[0][42] = 2; // a second part that is not there
        assert!(first(&cells).damaged);
    }
}
