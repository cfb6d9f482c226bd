//! The lock table: one file in a directory, shared by processes that may die at any time.
//!
//! # How the rule is kept
//!
//! *A request waits exactly for the earlier live requests that conflict with it, and is granted as
//! soon as there are none* (C1).
//!
//! - *Entering.* Take the [latch](crate::latch). Find in the [index](crate::index) which requests
//!   conflict and have not left, and note them. Take the next ticket, write the record, enter it
//!   into the index, and release the latch. So tickets are issued in the order of arrival, and
//!   every request sees all requests that came before it.
//! - *Waiting.* The noted requests are all that this one will ever wait for, since all others are
//!   later. So the list only shrinks and needs no latch. A request has left when its cell says
//!   anything but *live, with this ticket*. When the list is empty, the request is granted.
//! - *Leaving*, by release or cancellation: change the state of the cell, and ring the
//!   [bells](crate::handle) of those who wait. This takes no latch and never waits.
//! - *Dying*, at any instruction: the [life](crate::life) of the process ends. Whoever comes across
//!   a request of a life that has ended lets it leave.
//!
//! Each request waits for the *latest* one of its list first. So in a line of writers each waits
//! for the one ahead of it, and a release wakes one.
//!
//! # What is true and what is a cache
//!
//! The cells and the lives are the truth. The index, the list of free cells and all counts follow
//! from them, and are built again if a process died while it changed them: see
//! [`ledger`](crate::ledger).
//!
//! # The bytes
//!
//! Locks on bytes are unrelated to what is stored there (and may lie beyond the end of the file):
//! byte 0 is the gate, which who joins the table passes, and byte *n* is life *n*.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use treelock::{FencingToken, Request};

use crate::{
    ask::{Ask, Reply},
    error::{Doing, Error},
    file::{self, Gate, TABLE_NAME},
    format::{cell::PAYLOAD_BYTES_MAX, header::Kind, request::Draft},
    handle::{self, Handle},
    kernel,
    ledger::Other,
    life,
    lost::Losses,
    memory::Memory,
    site::Site,
    watch::Watches,
};

/// An open table.
pub(crate) struct Table {
    pub(crate) handle: Arc<Handle>,
    pub(crate) site: Arc<Site>,
    pub(crate) watches: Arc<Watches>,
    pub(crate) losses: Arc<Losses>,
}

/// What a live request has in the table.
#[derive(Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) own: Other,
    pub(crate) token: FencingToken,
}

impl Table {
    /// Opens the table of a directory; creates both if they are missing. Fails with
    /// [`Error::Stuck`] if somebody else is joining it just now.
    pub(crate) fn open(directory: &Path) -> Result<Table, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.doing("create the directory", directory)?;
        file::refuse_shared(directory)?;
        let path = directory.join(TABLE_NAME);
        let file = file::open_or_make(&path, directory)?;
        let site = Arc::new(Site::new(path, &file)?);
        let same = file.try_clone().doing("duplicate the descriptor of", site.path())?;
        let gate = Gate::new(&same, site.path())?;
        let memory = begin(&site, file)?;
        let handle = Arc::new(Handle::new(memory, site.clone())?);
        drop(gate);
        handle.wait_until_open();
        let watches = Arc::new(Watches::new(handle.clone()));
        let losses = Losses::new(site.clone());
        Ok(Table { handle, site, watches, losses })
    }

    /// Enters a request behind all live ones. A request that may not wait is entered only if
    /// nothing is in its way. Waits for the latch until the deadline, if there is one.
    pub(crate) fn ask(
        &self,
        request: &Request,
        may_wait: bool,
        deadline: Option<Instant>,
    ) -> Result<Reply, Error> {
        let draft = Draft::new(request);
        let (bytes, most) = (draft.payload.len(), PAYLOAD_BYTES_MAX);
        if bytes > most {
            return Err(Error::TooLarge { bytes, most });
        }
        let marks = draft.marks(self.handle.memory.key());
        Ask { handle: &self.handle, draft: &draft, marks: &marks, may_wait }.run(deadline)
    }

    /// Removes requests that have left from the end of a list, which has the earliest first.
    /// Afterwards the last one of the list is the latest that has not left; those before it may
    /// have left too.
    pub(crate) fn shrink(&self, others: &mut Vec<Other>) -> Result<(), Error> {
        while let Some(last) = others.last() {
            if !self.handle.has_left(*last).map_err(|_| self.site.damaged())? {
                break;
            }
            others.pop();
        }
        Ok(())
    }

    /// Records that the owner has seen the grant; the age that is shown counts from here.
    pub(crate) fn note_grant(&self, seat: &Seat) {
        if let Ok(cell) = self.handle.memory.cell(seat.own.cell) {
            cell.note_grant(kernel::since_boot());
        }
    }

    /// Gives a request a life that a child can keep, by the open file description that is returned.
    pub(crate) fn share(&self, seat: &Seat) -> Result<File, Error> {
        let path = self.site.path();
        let file = file::open(path, OpenOptions::new().read(true).write(true))?;
        if !self.site.is(&file)? {
            return Err(self.site.lost());
        }
        let life = handle::begin_life(&self.handle.memory, &file, path)?;
        let cell = self.handle.memory.cell(seat.own.cell).map_err(|_| self.site.damaged())?;
        cell.bequeath(life);
        Ok(file)
    }

    /// Gives a seat back, and wakes the requests that wait for it.
    pub(crate) fn leave(&self, seat: &Seat) {
        // A process that was forked from the holder has no say in it.
        if self.site.is_own() {
            // In a table that is damaged, there is nothing to give back.
            let _ = self.handle.leave(seat.own);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.site.is_own() {
            self.watches.close();
            // Threads that block on other lives still have the description.
            kernel::unlock(&self.handle.memory.file, self.handle.life);
        }
    }
}

/// Checks that a file is a lock table, and begins it anew if it is of no use to anybody. The gate
/// must be locked.
fn begin(site: &Site, file: File) -> Result<Memory, Error> {
    let path = site.path();
    match file::kind(&file, path)? {
        Kind::Table => {
            let memory = Memory::new(file, true).doing("map into memory", path)?;
            if memory.is_whole() && memory.has_numbers_left() {
                return Ok(memory);
            }
            begin_anew(site, memory.file, Error::Damaged { path: path.into() })
        }
        Kind::Cut => begin_anew(site, file, Error::Damaged { path: path.into() }),
        Kind::Former => begin_anew(site, file, Error::Former { path: path.into() }),
        Kind::Foreign(what) => Err(Error::Foreign { path: path.into(), what }),
    }
}

/// Begins a table anew. It must contain nothing live: if it does, returns the error.
fn begin_anew(site: &Site, file: File, used: Error) -> Result<Memory, Error> {
    let path = site.path();
    if life::is_used(&file, path)? {
        return Err(used);
    }
    file::share(&file, site.directory());
    file::write_new(&file).doing("write the lock table", path)?;
    Memory::new(file, true).doing("map into memory", path)
}
