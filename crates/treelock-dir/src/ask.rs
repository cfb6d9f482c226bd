//! Asking: what happens while the latch is held.

use std::{fs::File, os::unix::fs::FileExt};

use treelock::{Blocked, FencingToken, Sighting};

use crate::{
    error::{Doing, Error},
    file::{self, Latch, PAGE},
    kernel::{self, Kind},
    payload::Draft,
    record::{self, CELL, COUNT_AT, Cells, GARBAGE, Record, Stamp, offset},
    table::{Left, Table},
    view::sighting,
};

/// A table with more cells than this is made smaller when most of them are free.
const CROWD: usize = 128;

/// So many tickets in a row that are locked without a record are not what a crash leaves.
const ODD: usize = 1024;

/// One who asks.
pub(crate) struct Ask<'a> {
    pub(crate) table: &'a Table,
    /// The open file description that its ticket will be locked by.
    pub(crate) file: &'a File,
    /// The place that the description had before.
    pub(crate) left: Option<&'a Left>,
    pub(crate) draft: &'a Draft<'a>,
    pub(crate) may_wait: bool,
}

pub(crate) enum Outcome {
    Entered {
        ticket: u64,
        token: FencingToken,
        cells: Vec<usize>,
        blockers: Vec<u64>,
    },
    Refused(Blocked),
    /// The table is no longer the one in its place.
    Gone,
}

impl Ask<'_> {
    /// Enter behind all that are live. One that will not wait is entered only if nobody is in the way.
    pub(crate) fn run(&self, buffer: &mut Vec<u8>) -> Result<Outcome, Error> {
        let path = self.table.path();
        let _latch = Latch::new(self.file, Kind::Exclusive).doing("lock", path)?;
        let Some(size) = self.table.size()? else { return Ok(Outcome::Gone) };
        let bytes = file::read(self.file, size, buffer).doing("read", path)?;
        file::check(path, bytes)?;
        let cells = Cells::new(bytes);
        let last = cells.last();
        let cells = self.trim(cells, last)?;
        let left = self.left.filter(|left| left.is_there(&cells));
        let mut blockers = self.blockers(&cells, left)?;
        if !self.may_wait && !blockers.is_empty() {
            let sightings = self.in_the_way(&cells, &blockers)?;
            if let Some(blocked) = Blocked::of(&sightings, self.draft.request, u64::MAX) {
                return Ok(Outcome::Refused(blocked));
            }
            // All of them left just now: leaving needs no latch.
            blockers.clear();
        }
        let places = self.room(&cells, left)?;
        self.enter(places, last, blockers)
    }

    /// The tickets of the live requests that conflict, the earliest first.
    fn blockers(&self, cells: &Cells<'_>, left: Option<&Left>) -> Result<Vec<u64>, Error> {
        let mut blockers = Vec::new();
        for (ticket, places) in cells.conflicting(self.draft, left.map(|left| left.ticket)) {
            if self.is_live(ticket)? {
                blockers.push(ticket);
            } else {
                record::free(self.file, &places);
            }
        }
        blockers.sort_unstable();
        Ok(blockers)
    }

    /// Take the next ticket, lock its byte and write the record.
    fn enter(
        &self,
        places: Vec<usize>,
        (last_ticket, last_token): (u64, u64),
        blockers: Vec<u64>,
    ) -> Result<Outcome, Error> {
        let ticket = self.next_ticket(last_ticket)?;
        // By the clock, a new table goes on above the tokens of the one before it.
        let token = kernel::since_1970().max(last_token + 1);
        let asked = kernel::since_boot();
        let granted = if blockers.is_empty() { asked } else { 0 };
        let stamp = Stamp { ticket, token, pid: self.table.process(), asked, granted };
        for (cell, place) in record::write(self.draft, stamp).zip(&places) {
            if let Err(error) = self.file.write_all_at(&cell, offset(*place)) {
                record::free(self.file, &places);
                kernel::unlock(self.file, ticket);
                return Err(error).doing("write the lock table", self.table.path());
            }
        }
        Ok(Outcome::Entered { ticket, token: FencingToken(token), cells: places, blockers })
    }

    /// The first ticket behind the last one that nobody has locked, locked now.
    fn next_ticket(&self, last: u64) -> Result<u64, Error> {
        // Only a table that was cut short has tickets without a cell.
        for ticket in (last + 1..GARBAGE).take(ODD) {
            let locked = kernel::try_lock(self.file, ticket, Kind::Exclusive);
            if locked.doing("lock", self.table.path())? {
                return Ok(ticket);
            }
        }
        Err(Error::Damaged { path: self.table.path().to_path_buf() })
    }

    /// Find cells: those of the handle's last place, else free ones, else those of the dead, else new ones
    /// at the end.
    fn room(&self, cells: &Cells<'_>, left: Option<&Left>) -> Result<Vec<usize>, Error> {
        let count = record::parts(self.draft);
        if let Some(left) = left {
            if left.cells.len() == count {
                return Ok(left.cells.clone());
            }
            record::free(self.file, &left.cells);
        }
        let mut places: Vec<usize> = cells.free().take(count).collect();
        if places.len() == count {
            return Ok(places);
        }
        for (cell, ticket) in cells.tickets() {
            if places.len() < count && !self.is_live(ticket)? {
                places.push(cell);
            }
        }
        if places.len() < count {
            let end = cells.count();
            let all = self.enlarge(end, count - places.len());
            let all = all.doing("enlarge the lock table", self.table.path())?;
            places.extend((end..all).take(count - places.len()));
        }
        Ok(places)
    }

    /// Append pages with so many cells at least; returns how many cells there are then.
    fn enlarge(&self, end: usize, missing: usize) -> std::io::Result<usize> {
        let new = missing.next_multiple_of(PAGE / CELL);
        self.file.write_all_at(&vec![0; new * CELL], offset(end))?;
        // Only then the header, which would be wrong if we died in between.
        self.file.write_all_at(&((end + new) as u64).to_le_bytes(), COUNT_AT as u64)?;
        Ok(end + new)
    }

    /// Cut off what a crowd has left behind, since everybody reads the whole table. The last ticket and the
    /// last token, which the cells tell no more, go into the header first.
    fn trim<'a>(&self, cells: Cells<'a>, last: (u64, u64)) -> Result<Cells<'a>, Error> {
        let count = cells.count();
        if count <= CROWD || cells.tickets().count() * 4 > count {
            return Ok(cells);
        }
        let mut end = 0;
        for (cell, ticket) in cells.tickets().rev() {
            if self.is_live(ticket)? {
                end = cell + 1;
                break;
            }
        }
        let page = PAGE / CELL;
        // The header is a cell of the first page.
        let end = (end + 1).next_multiple_of(page) - 1;
        if end * 2 > count {
            return Ok(cells);
        }
        let sums = record::sums(end, last);
        let cut = self.file.write_all_at(&sums, COUNT_AT as u64);
        let cut = cut.and_then(|()| self.file.set_len(offset(end)));
        // If that fails the table is as good as before, only longer.
        Ok(if cut.is_ok() { cells.first(end) } else { cells })
    }

    /// The live ones among these tickets, and who is in the way of the first of them.
    fn in_the_way(&self, cells: &Cells<'_>, tickets: &[u64]) -> Result<Vec<Sighting>, Error> {
        let records: Vec<Record> = cells.records().collect();
        let first = records.iter().find(|record| Some(&record.ticket) == tickets.first());
        let matters = |record: &Record| {
            let before = |first: &Record| {
                record.ticket < first.ticket && first.request.conflict(&record.request).is_some()
            };
            tickets.contains(&record.ticket) || first.is_some_and(before)
        };
        let mut seen = Vec::new();
        for record in records.iter().filter(|record| matters(record)) {
            if self.is_live(record.ticket)? {
                seen.push(sighting(record));
            }
        }
        Ok(seen)
    }

    fn is_live(&self, ticket: u64) -> Result<bool, Error> {
        file::is_live(self.file, self.table.path(), ticket)
    }
}
