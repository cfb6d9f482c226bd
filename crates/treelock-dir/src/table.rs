//! The lock table: one file in a directory, shared by processes that may die at any time.
//!
//! # How the rule is kept
//!
//! *A request waits exactly for the earlier live requests that conflict with it, and is granted as
//! soon as there are none* (C1).
//!
//! - *Entering.* Lock byte 0 of the file, the latch. Read the table, and note the tickets of the
//!   live requests that conflict. Take the next ticket, lock the byte with that number, write the
//!   record, and release the latch. So tickets are issued in the order of arrival, and every
//!   request sees all requests that came before it.
//! - *Waiting.* The noted tickets are all that this request will ever wait for, since all others
//!   are later. So the list only shrinks and needs no latch. A ticket has left when its byte is not
//!   locked, so to wait for a ticket is to wait for its byte. When the list is empty, the request
//!   is granted.
//! - *Leaving*, by release or cancellation: unlock the byte. This takes no latch and never waits.
//! - *Dying*, at any instruction: the kernel unlocks the byte, and the latch if it was held.
//!
//! A record whose byte is not locked belongs to no one; the next process that finds it frees its
//! cells. A leaving request frees its cells beforehand, so that no other process has to ask the
//! kernel about them. One seat of each handle is an exception: the handle's next request reuses its
//! cells, since a write is the most expensive call of all.
//!
//! Each request waits for the *latest* ticket of its list first. So in a line of writers each waits
//! for the one ahead of it, and a release wakes one. Each ticket number is used only once, so a
//! byte that is free stays free, and no request that waits for it can end up waiting for a later
//! one.
//!
//! # The bytes
//!
//! Locks on bytes are unrelated to what is stored there (and may lie beyond the end of the file):
//! byte 0 is the latch, and byte *n* is ticket *n*. Each live request has its own open file
//! description, so that a child can inherit just this lock. Descriptions are reused, since opening
//! a file costs as much as everything else.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use treelock::{Blocked, FencingToken, Request};

use crate::{
    ask::{Ask, Outcome, ReusableCells},
    error::{Doing, Error},
    file::{self, Latch, TABLE_NAME},
    format::{
        cells::{self, GRANTED_AT, PAYLOAD_BYTES_MAX, offset},
        request::Draft,
    },
    kernel::{self, Kind},
    life,
    lost::Losses,
    site::Site,
    watch::Watches,
};

/// How many unused descriptions a table keeps open.
const SPARE_FILES_MAX: usize = 16;

/// An open table.
pub(crate) struct Table {
    pub(crate) site: Arc<Site>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) losses: Arc<Losses>,
    spare: Mutex<Vec<Spare>>,
    /// The buffer that the table is read into.
    buffer: Mutex<Vec<u8>>,
}

/// What a live request has in the table.
pub(crate) struct Seat {
    pub(crate) ticket: u64,
    pub(crate) token: FencingToken,
    /// The open file description whose lock on the ticket's byte keeps the seat.
    pub(crate) file: File,
    cells: Vec<usize>,
}

/// An open file description that holds no lock.
struct Spare {
    file: File,
    /// The cells of its former seat, if they were not freed.
    cells: Option<ReusableCells>,
}

/// The reply to a request.
pub(crate) enum Reply {
    /// The request is entered, and waits for these tickets, the earliest first. If there are none,
    /// it is granted.
    Entered(Seat, Vec<u64>),
    /// The request is not entered, since another is in its way.
    Refused(Blocked),
    /// There is no table any more, or another one is in its place.
    Gone,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// Opens the table of a directory; creates both if they are missing.
    pub(crate) fn open(directory: &Path) -> Result<Table, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.doing("create the directory", directory)?;
        file::refuse_shared(directory)?;
        let path = directory.join(TABLE_NAME);
        let file = file::open_or_make(&path, directory)?;
        let site = Arc::new(Site::new(path, &file)?);
        begin(&site, &file)?;
        let watches = Arc::new(Watches::new(file));
        let losses = Losses::new(site.clone());
        let (spare, buffer) = Default::default();
        Ok(Table { site, watches, losses, spare, buffer })
    }

    /// Returns an open file description of this table that holds no lock, or `None` if another
    /// table is in its place.
    fn description(&self) -> Result<Option<Spare>, Error> {
        if let Some(spare) = lock(&self.spare).pop() {
            return Ok(Some(spare));
        }
        let file = match file::open(self.site.path(), OpenOptions::new().read(true).write(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            file => file?,
        };
        Ok(self.site.is(&file)?.then_some(Spare { file, cells: None }))
    }

    /// Keeps a description for the next request.
    fn keep(&self, file: File, cells: Option<ReusableCells>) {
        let mut spare = lock(&self.spare);
        if spare.len() < SPARE_FILES_MAX {
            spare.push(Spare { file, cells });
        }
    }

    /// Returns whether the cells of a seat may be left for reuse instead of being freed. One seat's
    /// cells may wait for reuse; more would burden every request that reads the table.
    fn may_leave_cells(&self) -> bool {
        let spare = lock(&self.spare);
        spare.len() < SPARE_FILES_MAX && spare.iter().all(|spare| spare.cells.is_none())
    }

    /// Enters a request behind all live ones. A request that may not wait is entered only if
    /// nothing is in its way.
    pub(crate) fn ask(&self, request: &Request, may_wait: bool) -> Result<Reply, Error> {
        let draft = Draft::new(request);
        let (bytes, most) = (draft.payload.len(), PAYLOAD_BYTES_MAX);
        if bytes > most {
            return Err(Error::TooLarge { bytes, most });
        }
        let Some(Spare { file, cells: old }) = self.description()? else {
            return Ok(Reply::Gone);
        };
        let site = &self.site;
        let ask = Ask { site, file: &file, old: old.as_ref(), draft: &draft, may_wait };
        let mut buffer = std::mem::take(&mut *lock(&self.buffer));
        let outcome = ask.run(&mut buffer);
        *lock(&self.buffer) = buffer;
        Ok(match outcome? {
            Outcome::Entered { ticket, token, cells, blockers } => {
                Reply::Entered(Seat { ticket, token, file, cells }, blockers)
            }
            Outcome::Refused(blocked) => {
                self.keep(file, old);
                Reply::Refused(blocked)
            }
            Outcome::Gone => Reply::Gone,
        })
    }

    /// Removes tickets that have left from the end of a list, which has the earliest first.
    /// Afterwards the last ticket of the list is the latest one that has not left; those before it
    /// may have left too.
    pub(crate) fn shrink(&self, seat: &Seat, tickets: &mut Vec<u64>) -> Result<(), Error> {
        let path = self.site.path();
        if let (Some(first), Some(last)) = (tickets.first(), tickets.last())
            && !life::is_any_live(&seat.file, path, *first, *last)?
        {
            tickets.clear();
        }
        while let Some(last) = tickets.last() {
            if life::is_live(&seat.file, path, *last)? {
                break;
            }
            tickets.pop();
        }
        Ok(())
    }

    /// Records that the owner has seen the grant; the age that is shown counts from here.
    pub(crate) fn note_grant(&self, seat: &Seat) {
        let now = kernel::since_boot().to_le_bytes();
        if let Some(first) = seat.cells.first() {
            let _ = seat.file.write_all_at(&now, offset(*first) + GRANTED_AT as u64);
        }
    }

    /// Gives a seat back, and wakes the requests of this process that wait for it. `shared` says
    /// that a child has its description.
    pub(crate) fn leave(&self, seat: Seat, shared: bool) {
        // A process that was forked from the holder only closes its copy.
        if !self.site.is_own() {
            return;
        }
        let Seat { ticket, token, file, cells } = seat;
        let leave_cells = !shared && self.may_leave_cells();
        if !leave_cells {
            cells::free(&file, &cells);
        }
        kernel::unlock(&file, ticket);
        if !shared {
            self.keep(file, leave_cells.then_some(ReusableCells { ticket, token, cells }));
        }
        self.watches.gone(ticket);
    }
}

/// Checks that the file has the header of a lock table; writes the header if the file is new.
fn begin(site: &Site, file: &File) -> Result<(), Error> {
    let path = site.path();
    let latch = Latch::new(file, Kind::Exclusive).doing("lock", path)?;
    let bytes = file::read_all(file).doing("read", path)?;
    match file::check(path, &bytes) {
        Ok(()) => return Ok(()),
        Err(Error::Damaged { .. }) => {}
        Err(error) => return Err(error),
    }
    // A table that is being started must contain nothing live. One that was cut short has lost its
    // records.
    if life::is_used(file, path)? {
        return Err(site.damaged());
    }
    file::share(file, site.directory());
    file.write_all_at(&file::first_page(), 0).doing("write the lock table", path)?;
    drop(latch);
    Ok(())
}
