//! Entering a request: what happens while the latch is held.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use treelock::{Blocked, FencingToken};

use crate::{
    error::{Doing, Error},
    file::{self, Latch, PAGE_BYTES, TABLE_BYTES_MAX},
    format::{
        cells::{self, CELL_BYTES, COUNT_AT, CURSOR_AT, Cells, NUMBERS_END, Stamp, offset},
        request::Draft,
    },
    kernel::{self, Kind},
    life, look,
    site::Site,
};

/// A table with more cells than this is shrunk when most of them are free.
const UNTRIMMED_CELLS_MAX: usize = 128;

/// How many tickets a request queries to find cells of the dead. The rest is left to later
/// requests.
const SEARCH_QUERIES_MAX: usize = 16;

/// Of the cells of the dead, a request frees at most about this many for later requests.
const SEARCH_FREED_CELLS_MAX: usize = 64;

/// A search begins when less than this part of the cells is free. Each request searches at least
/// [`SEARCH_QUERIES_MAX`] cells and mostly takes one.
const RESERVE_DIVISOR: usize = SEARCH_QUERIES_MAX;

/// If this many consecutive tickets are locked but have no record, a crash was not the cause.
const UNRECORDED_TICKETS_MAX: usize = 1024;

/// A request that is about to be entered.
pub(crate) struct Ask<'a> {
    pub(crate) site: &'a Site,
    /// The open file description that will lock its ticket.
    pub(crate) file: &'a File,
    /// The cells of the seat that the description had before.
    pub(crate) old: Option<&'a ReusableCells>,
    pub(crate) draft: &'a Draft<'a>,
    pub(crate) may_wait: bool,
}

/// The cells of a seat whose ticket has left. They are used again if they still have that ticket.
pub(crate) struct ReusableCells {
    pub(crate) ticket: u64,
    /// If the table was emptied and started again, the ticket may belong to another request, but
    /// the token does not.
    pub(crate) token: FencingToken,
    pub(crate) cells: Vec<usize>,
}

impl ReusableCells {
    fn are_there(&self, cells: &Cells<'_>) -> bool {
        self.cells.iter().all(|cell| cells.grant(*cell) == (self.ticket, self.token.get()))
    }
}

pub(crate) enum Outcome {
    Entered {
        ticket: u64,
        token: FencingToken,
        cells: Vec<usize>,
        blockers: Vec<u64>,
    },
    Refused(Blocked),
    /// There is no table any more, or another one is in its place.
    Gone,
}

impl Ask<'_> {
    /// Enters behind all live requests. A request that may not wait is entered only if nothing is
    /// in its way.
    pub(crate) fn run(&self, buffer: &mut Vec<u8>) -> Result<Outcome, Error> {
        let path = self.site.path();
        let _latch = Latch::new(self.file, Kind::Exclusive).doing("lock", path)?;
        let Some(size) = self.site.size()? else { return Ok(Outcome::Gone) };
        let bytes = file::read(self.file, size, buffer).doing("read", path)?;
        file::check(path, bytes)?;
        let cells = Cells::new(bytes);
        let last = cells.last();
        let cells = self.trim(cells, last)?;
        let old = self.old.filter(|old| old.are_there(&cells));
        let blockers = self.blockers(&cells, old)?;
        if !self.may_wait && !blockers.is_empty() {
            let request = self.draft.request;
            let blocked = look::describe(self.file, path, &cells, request, &blockers)?;
            return blocked.map(Outcome::Refused).ok_or_else(|| self.site.damaged());
        }
        let places = self.room(&cells, old)?;
        self.enter(places, last, blockers)
    }

    /// Returns the tickets of the live requests that conflict, the earliest first. Frees the cells
    /// of dead requests.
    fn blockers(&self, cells: &Cells<'_>, old: Option<&ReusableCells>) -> Result<Vec<u64>, Error> {
        let others = cells.conflicting(self.draft);
        let others = others.filter(|(ticket, _)| old.is_none_or(|old| old.ticket != *ticket));
        let others: Vec<(u64, usize)> = others.collect();
        let tickets = others.iter().map(|(ticket, _)| *ticket).collect();
        let live = life::living(self.file, self.site.path(), tickets)?;
        for (ticket, first) in others {
            if live.binary_search(&ticket).is_err() {
                cells::free(self.file, &cells.cells_of(first));
            }
        }
        Ok(live)
    }

    /// Takes the next ticket, locks its byte and writes the record.
    fn enter(
        &self,
        places: Vec<usize>,
        (last_ticket, last_token): (u64, u64),
        blockers: Vec<u64>,
    ) -> Result<Outcome, Error> {
        let ticket = self.next_ticket(last_ticket)?;
        // Thanks to the clock, a new table continues above the tokens of the one before it.
        let token = kernel::since_1970().max(last_token + 1);
        let asked = kernel::since_boot();
        let granted = if blockers.is_empty() { asked } else { 0 };
        let stamp = Stamp { ticket, token, pid: self.site.process(), asked, granted };
        for (cell, place) in cells::write(self.draft, stamp).zip(&places) {
            if let Err(error) = self.file.write_all_at(&cell, offset(*place)) {
                cells::free(self.file, &places);
                kernel::unlock(self.file, ticket);
                return Err(error).doing("write the lock table", self.site.path());
            }
        }
        Ok(Outcome::Entered { ticket, token: FencingToken::new(token), cells: places, blockers })
    }

    /// Locks the first ticket after the last one issued that is not locked already. Returns it.
    fn next_ticket(&self, last: u64) -> Result<u64, Error> {
        // Only a table that was cut short has tickets without a cell.
        for ticket in (last + 1..NUMBERS_END).take(UNRECORDED_TICKETS_MAX) {
            let locked = kernel::try_lock(self.file, ticket, Kind::Exclusive);
            if locked.doing("lock", self.site.path())? {
                return Ok(ticket);
            }
        }
        Err(self.site.damaged())
    }

    /// Returns cells for the record. Prefers those of the handle's last seat, then free ones, then
    /// those of the dead, and finally new ones at the end.
    fn room(&self, cells: &Cells<'_>, old: Option<&ReusableCells>) -> Result<Vec<usize>, Error> {
        let wanted = cells::parts(self.draft);
        if let Some(old) = old {
            if old.cells.len() == wanted {
                return Ok(old.cells.clone());
            }
            cells::free(self.file, &old.cells);
        }
        let mut free: Vec<usize> = cells.free().collect();
        let count = cells.count();
        let has_reserve = |free: &[usize]| free.len() >= wanted + count / RESERVE_DIVISOR;
        if cells.cursor() == 0 && has_reserve(&free) {
            free.truncate(wanted);
            return Ok(free);
        }
        let is_last = self.search(cells, wanted, &mut free)?;
        let mut missing = wanted.saturating_sub(free.len());
        if is_last && !has_reserve(&free) {
            // Searching again at once would find as little.
            missing = missing.max((count / 3).saturating_sub(free.len()));
        }
        if missing > 0 {
            let all = self.enlarge(count, missing);
            let all = all.doing("enlarge the lock table", self.site.path())?;
            free.extend(count..all);
        }
        free.truncate(wanted);
        Ok(free)
    }

    /// Searches a few cells for those of the dead. Adds them to the list of free cells, and marks
    /// those that are not wanted now as free. Returns whether the last cell was reached.
    ///
    /// All others wait for the latch meanwhile, so a request continues the search where the one
    /// before it has stopped. A search begins while there is a reserve of free cells, which is
    /// enough for the requests that it takes. So the dead do not make the table grow.
    fn search(
        &self,
        cells: &Cells<'_>,
        wanted: usize,
        free: &mut Vec<usize>,
    ) -> Result<bool, Error> {
        let may_grow = offset(cells.count() + grown(wanted)) <= TABLE_BYTES_MAX;
        let most = if may_grow { SEARCH_QUERIES_MAX } else { usize::MAX };
        let mut queries = Queries::new(self, most);
        let (mut found, mut cursor) = (Vec::new(), 0);
        for (cell, ticket) in cells.tickets().skip_while(|(cell, _)| *cell < cells.cursor()) {
            let enough = may_grow && found.len() >= wanted + SEARCH_FREED_CELLS_MAX;
            match if enough { None } else { queries.is_live(ticket)? } {
                Some(true) => {}
                Some(false) => found.push(cell),
                None => {
                    cursor = cell;
                    break;
                }
            }
        }
        let used_now = wanted.saturating_sub(free.len()).min(found.len());
        cells::free(self.file, &found[used_now..]);
        free.extend(found);
        if cursor != cells.cursor() {
            // If it cannot be written, the next request searches the same cells.
            let _ = self.file.write_all_at(&(cursor as u64).to_le_bytes(), CURSOR_AT as u64);
        }
        Ok(cursor == 0)
    }

    /// Appends pages with at least this many cells. Returns how many cells there are then.
    fn enlarge(&self, end: usize, missing: usize) -> std::io::Result<usize> {
        let new = grown(missing);
        if offset(end + new) > TABLE_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(&vec![0; new * CELL_BYTES], offset(end))?;
        // The header comes last: it would be wrong if we died in between.
        self.file.write_all_at(&((end + new) as u64).to_le_bytes(), COUNT_AT as u64)?;
        Ok(end + new)
    }

    /// Cuts off the cells that a crowd has left behind, since every request reads the whole table.
    /// First stores in the header the last ticket and the last token, which the remaining cells may
    /// not contain.
    fn trim<'a>(&self, cells: Cells<'a>, last: (u64, u64)) -> Result<Cells<'a>, Error> {
        let count = cells.count();
        if count <= UNTRIMMED_CELLS_MAX || cells.tickets().count() * 4 > count {
            return Ok(cells);
        }
        let mut queries = Queries::new(self, SEARCH_QUERIES_MAX);
        let (mut end, mut dead) = (0, Vec::new());
        for (cell, ticket) in cells.tickets().rev() {
            // What has not been queried counts as live.
            if queries.is_live(ticket)? != Some(false) {
                end = cell + 1;
                break;
            }
            dead.push(cell);
        }
        let page = PAGE_BYTES / CELL_BYTES;
        // The header is a cell of the first page.
        let end = (end + 1).next_multiple_of(page) - 1;
        if end * 2 > count {
            // The next request need not query them again.
            cells::free(self.file, &dead);
            return Ok(cells);
        }
        let sums = cells::sums(end, last);
        let cut = self.file.write_all_at(&sums, COUNT_AT as u64);
        let cut = cut.and_then(|()| self.file.set_len(offset(end)));
        // If that fails, the table is as good as before, only longer.
        Ok(if cut.is_ok() { cells.first(end) } else { cells })
    }
}

/// Returns by how many cells a table grows if so many are missing: by whole pages.
fn grown(missing: usize) -> usize {
    missing.next_multiple_of(PAGE_BYTES / CELL_BYTES)
}

/// A limited number of queries.
struct Queries<'a> {
    file: &'a File,
    path: &'a Path,
    left: usize,
    /// The last ticket and whether it is live, since the cells of a record are often neighbours.
    last: Option<(u64, bool)>,
}

impl<'a> Queries<'a> {
    fn new(ask: &Ask<'a>, left: usize) -> Queries<'a> {
        Queries { file: ask.file, path: ask.site.path(), left, last: None }
    }

    /// Returns whether a ticket is live, or `None` if no queries are left.
    fn is_live(&mut self, ticket: u64) -> Result<Option<bool>, Error> {
        if let Some((_, live)) = self.last.filter(|(last, _)| *last == ticket) {
            return Ok(Some(live));
        }
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let live = life::is_live(self.file, self.path, ticket)?;
        self.last = Some((ticket, live));
        Ok(Some(live))
    }
}
