//! What stands in the table's file.
//!
//! ```text
//! header │ cell │ cell │ cell …             each 256 bytes, numbers little-endian
//! cell:  ticket 8 │ state 4 │ pid 4 │ token 8 │ asked 8 │ granted 8 │ part 2 │ parts 2 │ length 4 │ payload 208
//! ```
//!
//! A live request has one cell, or several if its roots are many or long; any free cells will do. A cell
//! that becomes free keeps its ticket and token, so the largest ticket in the table is the last one given,
//! and no counter has to be kept beside.
//!
//! A cell is used iff its state says so *and* the byte of its ticket is locked: what a process left behind
//! when it died, half-written or whole, is nobody's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use treelock::{Access, Node, NodeError, Request};

/// Bytes of a cell, and of the header.
pub(crate) const CELL: usize = 256;
/// Bytes of a cell before its payload.
const HEAD: usize = 48;
const PAYLOAD: usize = CELL - HEAD;

/// Bytes of a request's record at most.
pub(crate) const LARGEST: usize = u16::MAX as usize * PAYLOAD;

/// The first bytes of a table.
const MAGIC: [u8; 12] = *b"treelock tab";
const VERSION: u32 = 1;

/// The header of a new table.
pub(crate) fn header() -> [u8; CELL] {
    let mut header = [0; CELL];
    header[..12].copy_from_slice(&MAGIC);
    header[12..16].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// What is different from a table of ours, if anything is.
pub(crate) fn foreign(header: &[u8]) -> Option<String> {
    let version = u32::from_le_bytes(*header[12..].first_chunk()?);
    match (header[..12] == MAGIC, version) {
        (false, _) => Some("it does not begin as one".into()),
        (true, VERSION) => None,
        (true, other) => Some(format!("version {other} instead of {VERSION}")),
    }
}

/// A request of the table, live or not.
pub(crate) struct Record {
    pub(crate) ticket: u64,
    pub(crate) pid: u32,
    pub(crate) asked: u64,
    /// 0 until its owner has seen the grant.
    pub(crate) granted: u64,
    /// What is asked. A damaged record is taken as a write on everything, which is safe.
    pub(crate) request: Request,
    pub(crate) damaged: bool,
    /// The numbers of its cells.
    pub(crate) cells: Vec<usize>,
}

/// The label of a record that cannot be read.
pub(crate) const DAMAGED: &str = "damaged record";

/// The cells of a table at one moment.
pub(crate) struct Cells<'a>(pub(crate) &'a [[u8; CELL]]);

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

/// Where the state stands in a cell.
pub(crate) const STATE_AT: usize = 8;
pub(crate) const FREE: [u8; 4] = 0u32.to_le_bytes();
const USED: [u8; 4] = 1u32.to_le_bytes();
/// Where the time of the grant stands.
pub(crate) const GRANTED_AT: usize = 32;

fn number<const N: usize>(cell: &[u8; CELL], at: usize) -> [u8; N] {
    *cell[at..].first_chunk().expect("within the cell")
}

impl Head {
    fn read(cell: &[u8; CELL]) -> Head {
        Head {
            ticket: u64::from_le_bytes(number(cell, 0)),
            used: number(cell, STATE_AT) != FREE,
            pid: u32::from_le_bytes(number(cell, 12)),
            token: u64::from_le_bytes(number(cell, 16)),
            asked: u64::from_le_bytes(number(cell, 24)),
            granted: u64::from_le_bytes(number(cell, GRANTED_AT)),
            part: u16::from_le_bytes(number(cell, 40)),
            parts: u16::from_le_bytes(number(cell, 42)),
            length: u32::from_le_bytes(number(cell, 44)),
        }
    }

    fn write(&self, payload: &[u8]) -> [u8; CELL] {
        let mut cell = [0; CELL];
        cell[..8].copy_from_slice(&self.ticket.to_le_bytes());
        cell[STATE_AT..12].copy_from_slice(if self.used { &USED } else { &FREE });
        cell[12..16].copy_from_slice(&self.pid.to_le_bytes());
        cell[16..24].copy_from_slice(&self.token.to_le_bytes());
        cell[24..32].copy_from_slice(&self.asked.to_le_bytes());
        cell[GRANTED_AT..40].copy_from_slice(&self.granted.to_le_bytes());
        cell[40..42].copy_from_slice(&self.part.to_le_bytes());
        cell[42..44].copy_from_slice(&self.parts.to_le_bytes());
        cell[44..48].copy_from_slice(&self.length.to_le_bytes());
        cell[HEAD..][..payload.len()].copy_from_slice(payload);
        cell
    }
}

impl Cells<'_> {
    fn heads(&self) -> impl Iterator<Item = (usize, Head)> {
        self.0.iter().map(Head::read).enumerate()
    }

    /// The largest ticket and the largest token that were ever given; 0 if none was.
    pub(crate) fn last(&self) -> (u64, u64) {
        let join = |(ticket, token): (u64, u64), (_, head): (usize, Head)| {
            (ticket.max(head.ticket), token.max(head.token))
        };
        self.heads().fold((0, 0), join)
    }

    /// The numbers of the free cells.
    pub(crate) fn free(&self) -> impl Iterator<Item = usize> {
        self.heads().filter(|(_, head)| !head.used).map(|(number, _)| number)
    }

    /// The tickets of the used cells.
    pub(crate) fn tickets(&self) -> impl Iterator<Item = (usize, u64)> {
        self.heads().filter(|(_, head)| head.used).map(|(number, head)| (number, head.ticket))
    }

    /// All records, each read as far as it can be.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        self.heads().filter(|(_, head)| head.used && head.part == 0).map(|(number, head)| {
            let (payload, cells) = self.payload(number, &head);
            let request = payload.and_then(|payload| decode(&payload));
            let damaged = request.is_none();
            let request = request
                .unwrap_or_else(|| Request::new().with(Access::Write, Node::root()).label(DAMAGED));
            let Head { ticket, pid, asked, granted, .. } = head;
            Record { ticket, pid, asked, granted, request, damaged, cells }
        })
    }

    /// The payload of the record that begins in a cell, if it is whole, and the record's cells.
    fn payload(&self, first: usize, head: &Head) -> (Option<Cow<'_, [u8]>>, Vec<usize>) {
        let length = head.length as usize;
        let text = |cell: usize| &self.0[cell][HEAD..];
        if head.parts == 1 {
            return (text(first).get(..length).map(Cow::Borrowed), vec![first]);
        }
        let of_record = |(_, other): &(usize, Head)| other.used && other.ticket == head.ticket;
        let mut parts: Vec<(u16, usize)> =
            self.heads().filter(of_record).map(|(cell, head)| (head.part, cell)).collect();
        parts.sort_unstable();
        let whole = parts.iter().map(|(part, _)| *part).eq(0..head.parts);
        let payload: Vec<u8> = parts.iter().flat_map(|(_, cell)| text(*cell)).copied().collect();
        let payload = payload.get(..length).filter(|_| whole).map(|text| Cow::Owned(text.to_vec()));
        (payload, parts.into_iter().map(|(_, cell)| cell).collect())
    }
}

/// A request that is about to be entered: its record, but for the place.
pub(crate) struct Draft {
    payload: Vec<u8>,
}

impl Draft {
    pub(crate) fn new(request: &Request) -> Draft {
        Draft { payload: encode(request) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// How many cells it needs.
    pub(crate) fn parts(&self) -> usize {
        self.payload.len().div_ceil(PAYLOAD).max(1)
    }

    /// The cells of the record. `granted` is 0 if it has to wait.
    pub(crate) fn cells(
        &self,
        ticket: u64,
        token: u64,
        asked: u64,
        granted: u64,
    ) -> impl Iterator<Item = [u8; CELL]> {
        let length = self.payload.len() as u32;
        let parts = self.parts() as u16;
        let pid = std::process::id();
        (0..parts).map(move |part| {
            let head = Head { ticket, used: true, pid, token, asked, granted, part, parts, length };
            let start = usize::from(part) * PAYLOAD;
            let end = self.payload.len().min(start + PAYLOAD);
            head.write(&self.payload[start..end])
        })
    }
}

/// A request as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    label: Option<&'a str>,
    #[serde(borrow)]
    roots: Vec<StoredRoot<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StoredRoot<'a> {
    write: bool,
    #[serde(borrow)]
    node: Components<'a>,
    /// The ancestors, if they were given.
    above: Option<Vec<Components<'a>>>,
}

type Components<'a> = Vec<&'a [u8]>;

fn encode(request: &Request) -> Vec<u8> {
    let roots = request.roots().zip(request.given_ancestors()).map(|((access, node), above)| {
        let above =
            above.map(|above| above.iter().map(|node| node.components().collect()).collect());
        StoredRoot { write: access == Access::Write, node: node.components().collect(), above }
    });
    let stored = Stored { label: request.get_label(), roots: roots.collect() };
    postcard::to_stdvec(&stored).expect("memory takes everything")
}

fn decode(payload: &[u8]) -> Option<Request> {
    let (stored, rest): (Stored<'_>, _) = postcard::take_from_bytes(payload).ok()?;
    let request = stored.roots.iter().try_fold(Request::new(), enter).ok()?;
    rest.is_empty().then(|| match stored.label {
        Some(label) => request.label(label),
        None => request,
    })
}

fn enter(request: Request, root: &StoredRoot<'_>) -> Result<Request, NodeError> {
    let access = if root.write { Access::Write } else { Access::Read };
    let node = Node::from_components(&root.node)?;
    Ok(match &root.above {
        None => request.with(access, node),
        Some(above) => {
            let above: Result<Vec<Node>, _> = above.iter().map(Node::from_components).collect();
            request.with_ancestors(access, node, above?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(request: &Request) -> String {
        let above: Vec<_> = request.given_ancestors().collect();
        format!("{request:?} {above:?}")
    }

    #[test]
    fn requests_come_back_as_they_were() {
        let node = |component: &[u8]| Node::from_components([component]).expect("a good component");
        let long: String = "x".repeat(10_000);
        for request in [
            Request::new(),
            Request::new().label(""),
            Request::new().with(Access::Write, Node::root()).label("all\n\u{1f333}"),
            Request::new().read("a/b/c").unwrap().write("d").unwrap(),
            Request::new().with(Access::Read, node(b"\xff/\0")),
            Request::new().with_ancestors(Access::Write, node(b"7"), [node(b"3"), node(b"2")]),
            Request::new().with_ancestors(Access::Write, node(b"7"), []).read("x").unwrap(),
            (0..300).fold(Request::new(), |r, i| r.read(format!("{i}/{long}").as_str()).unwrap()),
        ] {
            let draft = Draft::new(&request);
            let mut cells: Vec<[u8; CELL]> = draft.cells(7, 8, 9, 10).collect();
            cells.reverse();
            cells.push([0; CELL]);
            let records: Vec<Record> = Cells(&cells).records().collect();
            assert_eq!(records.len(), 1);
            assert_eq!(shown(&records[0].request), shown(&request));
            assert!(!records[0].damaged);
            assert_eq!((records[0].ticket, records[0].granted), (7, 10));
            assert_eq!(records[0].cells.len(), draft.parts());
            assert_eq!(Cells(&cells).last(), (7, 8));
        }
    }

    /// Whatever stands in a cell, it is read as something, and what cannot be read is a write on all.
    #[test]
    fn damage_is_taken_as_a_write_on_everything() {
        let request = Request::new().read("a/b/c").unwrap().label("me");
        let whole: Vec<[u8; CELL]> = Draft::new(&request).cells(7, 8, 9, 10).collect();
        for byte in HEAD..HEAD + Draft::new(&request).bytes() {
            for value in [0, 1, 2, 0x2e, 0x7f, 0xff] {
                let mut cells = whole.clone();
                cells[0][byte] = value;
                let record = Cells(&cells).records().next().expect("a used cell is a record");
                let all = record.request.to_string() == "write /";
                assert_eq!(record.damaged, all && record.request.get_label() == Some(DAMAGED));
            }
        }
        let mut cells = whole.clone();
        cells[0][44] = 0xff; // a length beyond the cell
        assert!(Cells(&cells).records().next().expect("a record").damaged);
        cells[0][42] = 2; // a second part that is not there
        assert!(Cells(&cells).records().next().expect("a record").damaged);
    }
}
