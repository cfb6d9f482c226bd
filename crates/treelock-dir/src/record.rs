//! The records of requests in their cells: writing and reading them.

use std::collections::HashSet;

use treelock::Request;

use crate::{
    format::{
        cell::{Cell, PAYLOAD_BYTES, Stamp, State, Word, cells_for},
        layout,
        request::{self, Draft},
    },
    memory::{Broken, Memory},
};

/// A request in the table.
pub(crate) struct Record {
    pub(crate) stamp: Stamp,
    /// What it requests. A damaged record counts as a write on everything, which is safe.
    pub(crate) request: Request,
    pub(crate) damaged: bool,
}

impl Record {
    /// Reads the record that begins in a cell. Returns `None` if no live one begins there, or if it
    /// has left while it was read. Needs no latch.
    pub(crate) fn read(memory: &Memory, number: usize) -> Result<Option<Record>, Broken> {
        Record::read_if(memory, number, |_, _| true)
    }

    /// Does the same if `is_wanted` accepts the ticket and the payload, which may be damaged.
    pub(crate) fn read_if(
        memory: &Memory,
        number: usize,
        is_wanted: impl Fn(u64, Option<&[u8]>) -> bool,
    ) -> Result<Option<Record>, Broken> {
        let cell = memory.cell(number)?;
        let word = cell.word();
        if word.state() != State::Live {
            return Ok(None);
        }
        let (stamp, _) = cell.stamp();
        let payload = payload(memory, number)?;
        // What was read belongs together if the request has not left: its cells are not changed
        // before that.
        if !cell.is_still(word) || !is_wanted(word.ticket(), payload.as_deref()) {
            return Ok(None);
        }
        let request = payload.and_then(|payload| request::decode(&payload));
        let damaged = request.is_none();
        let request = request.unwrap_or_else(request::damaged);
        Ok(Some(Record { stamp: Stamp { ticket: word.ticket(), ..stamp }, request, damaged }))
    }
}

/// Returns the payload of the record that begins in a live cell, or `None` if it is not whole.
pub(crate) fn payload(memory: &Memory, number: usize) -> Result<Option<Vec<u8>>, Broken> {
    let cell = memory.cell(number)?;
    let ticket = cell.word().ticket();
    let (_, length) = cell.stamp();
    // A length that is damaged must not make us reserve memory for it.
    let mut payload = Vec::with_capacity(length.min(PAYLOAD_BYTES));
    cell.read_payload(length, &mut payload);
    let mut next = cell.links().1;
    while payload.len() < length {
        let Some(part) = part(memory, next, ticket)? else { return Ok(None) };
        part.read_payload(length - payload.len(), &mut payload);
        next = part.links().1;
    }
    Ok(Some(payload))
}

/// Returns the further cell of a record that a link leads to.
fn part(memory: &Memory, link: u32, ticket: u64) -> Result<Option<Cell<'_>>, Broken> {
    let Some(number) = (link as usize).checked_sub(1) else { return Ok(None) };
    if number >= layout::cells(memory.chunk_count()?) {
        return Ok(None);
    }
    let cell = memory.cell(number)?;
    Ok((cell.word() == Word::new(ticket, State::Part)).then_some(cell))
}

/// Returns how many cells the record of a draft takes.
pub(crate) fn cells_of(draft: &Draft<'_>) -> usize {
    cells_for(draft.payload.len())
}

/// Writes a record into free cells. The first one becomes live in the last step.
pub(crate) fn write(
    memory: &Memory,
    cells: &[usize],
    draft: &Draft<'_>,
    stamp: &Stamp,
    entries: u32,
) -> Result<(), Broken> {
    let first = memory.cell(cells[0])?;
    first.begin();
    let mut next = 0;
    let payload = &draft.payload[..];
    let (begin, further) = payload.split_at(payload.len().min(PAYLOAD_BYTES));
    for (payload, number) in further.chunks(PAYLOAD_BYTES).zip(&cells[1..]).rev() {
        let cell = memory.cell(*number)?;
        cell.write_payload(payload);
        cell.link(0, next);
        cell.become_state(stamp.ticket, State::Part);
        next = *number as u32 + 1;
    }
    first.write_stamp(stamp, payload.len());
    first.write_payload(begin);
    first.link(entries, next);
    first.become_state(stamp.ticket, State::Live);
    Ok(())
}

/// Returns the cells of all records in the first `end` cells that are live at this moment.
pub(crate) fn live_cells(memory: &Memory, end: usize) -> Result<HashSet<usize>, Broken> {
    let mut live = HashSet::new();
    for number in 0..end {
        let cell = memory.cell(number)?;
        let word = cell.word();
        if word.state() != State::Live {
            continue;
        }
        live.insert(number);
        let mut next = cell.links().1;
        while let Some(part) = part(memory, next, word.ticket())? {
            // A link that leads back ends the record.
            if !live.insert(next as usize - 1) {
                break;
            }
            next = part.links().1;
        }
    }
    Ok(live)
}
