//! The lock table: one file in a directory, shared by processes that do not trust one another to live.
//!
//! # How the rule is kept
//!
//! *A request waits exactly for the earlier live requests that conflict with it, and is granted as soon
//! as there are none* (C1).
//!
//! - *Asking.* Lock byte 0 of the file, the latch. Read the table; note the tickets of the live requests that
//!   conflict. Take the next ticket, lock the byte with that number, write the record, let the latch go. So
//!   tickets are given in the order of asking, and everybody sees all who came before.
//! - *Waiting.* The tickets noted are all that this request will ever wait for: later ones are not
//!   earlier. So the list only shrinks, and needs no latch. A ticket is gone when its byte is not locked;
//!   to wait for it is to wait for its byte. When the list is empty the request is granted.
//! - *Leaving*, whether a release or a cancellation: unlock the byte. No latch, and nobody to wait for.
//! - *Dying*, at whatever instruction: the kernel unlocks the byte, and the latch if it was held.
//!
//! A record whose byte is not locked is nobody's; the next who comes across it frees its cells. Who leaves
//! frees them beforehand, so that nobody has to ask the kernel about them, but for those of one place, which
//! the next request by the same handle uses again: a write is the dearest call of all.
//!
//! Each waits for the *latest* of its list first, so in a line of writers each waits for the one ahead, and
//! a release wakes one. A ticket's number is used once, so a byte that is free stays free: whoever waits
//! for it cannot end up waiting for somebody later.
//!
//! # The bytes
//!
//! Locks on bytes say nothing of what is stored there (and may lie beyond the end of the file): byte 0 is the
//! latch, byte *n* is ticket *n*. Each live request has an open file description of its own, so that a
//! child can inherit just this lock. Descriptions are used again, since opening a file costs as much as
//! all the rest.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
};

use treelock::{Blocked, FencingToken, Request};

use crate::{
    ask::{Ask, Outcome},
    error::{Doing, Error},
    file::{self, Latch, NAME},
    kernel::{self, Identity, Kind},
    lost::Listener,
    payload::Draft,
    record::{self, Cells, GRANTED_AT, LARGEST, offset},
    watch::Watches,
};

/// How many unused descriptions are kept open.
const SPARE: usize = 16;

/// An open table.
pub(crate) struct Table {
    path: PathBuf,
    /// What the file is, whatever becomes of its name.
    identity: Identity,
    /// The process that opened it. One that it forked has the same open file descriptions, and with them
    /// the same locks, so it must not use them.
    process: u32,
    /// For locks that nobody needs to inherit: those of the threads that wait.
    pub(crate) file: File,
    pub(crate) watches: Watches,
    spare: Mutex<Vec<Spare>>,
    /// What the table is read into.
    buffer: Mutex<Vec<u8>>,
    /// The thread that listens for the loss of the table, from the first time that somebody asks.
    pub(crate) listener: Mutex<Option<Listener>>,
}

/// A request's place in the table.
pub(crate) struct Place {
    pub(crate) ticket: u64,
    pub(crate) token: FencingToken,
    /// The open file description whose lock is the place.
    pub(crate) file: File,
    cells: Vec<usize>,
}

/// An open file description that holds no lock.
struct Spare {
    file: File,
    /// The place that it had, if the cells were not freed.
    left: Option<Left>,
}

/// A place whose ticket has left, and its cells, which are used again if they still have that ticket.
pub(crate) struct Left {
    pub(crate) ticket: u64,
    /// In a table that was emptied and begun anew, somebody else may have the ticket, but not the token.
    token: FencingToken,
    pub(crate) cells: Vec<usize>,
}

impl Left {
    pub(crate) fn is_there(&self, cells: &Cells<'_>) -> bool {
        self.cells.iter().all(|cell| cells.grant(*cell) == (self.ticket, self.token.0))
    }
}

/// The answer to who asks.
pub(crate) enum Answer {
    /// Entered; waits for these tickets, the earliest first, or for nobody.
    Entered(Place, Vec<u64>),
    /// Not entered, since somebody is in the way.
    Refused(Blocked),
    /// The table is no longer the one in its place.
    Gone,
}

impl Table {
    /// Open the table of a directory; make both if they are missing.
    pub(crate) fn open(directory: &Path) -> Result<Table, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.doing("make the directory", directory)?;
        file::refuse_shared(directory)?;
        let path = directory.join(NAME);
        let file = file::open_or_make(&path, directory)?;
        let (identity, _) = kernel::identify_open(&file).doing("read", &path)?;
        let watches = Watches::default();
        let (spare, buffer, listener) = Default::default();
        let process = process::id();
        let table = Table { path, identity, process, file, watches, spare, buffer, listener };
        table.begin(directory)?;
        Ok(table)
    }

    /// See that the file has a header of ours; write it if the file is new.
    fn begin(&self, directory: &Path) -> Result<(), Error> {
        let latch = Latch::new(&self.file, Kind::Exclusive).doing("lock", &self.path)?;
        let bytes = file::read_all(&self.file).doing("read", &self.path)?;
        match file::check(&self.path, &bytes) {
            Ok(()) => return Ok(()),
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        // Nothing live may be in a table that begins. What is cut short has lost its records.
        if file::is_used(&self.file, &self.path)? {
            return Err(Error::Damaged { path: self.path.clone() });
        }
        file::share(&self.file, directory);
        self.file.write_all_at(&file::first_page(), 0).doing("write the lock table", &self.path)?;
        drop(latch);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().expect("a table lies in a directory")
    }

    /// The process that opened it.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Whether it was this process that opened it.
    pub(crate) fn is_own(&self) -> bool {
        self.process == process::id()
    }

    /// Whether the table is still the one in its place. Where that cannot be seen it is not.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.size(), Ok(Some(_)))
    }

    /// Its size in bytes, if it is still the one in its place.
    pub(crate) fn size(&self) -> Result<Option<u64>, Error> {
        let found = kernel::identify(&self.path).doing("look for", &self.path)?;
        Ok(found.filter(|(identity, _)| *identity == self.identity).map(|(_, size)| size))
    }

    /// An open file description of this table that holds no lock; `None` if another is in its place.
    fn description(&self) -> Result<Option<Spare>, Error> {
        if let Some(spare) = self.spare().pop() {
            return Ok(Some(spare));
        }
        let file = match file::open(&self.path, OpenOptions::new().read(true).write(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            file => file?,
        };
        let (identity, _) = kernel::identify_open(&file).doing("read", &self.path)?;
        Ok((identity == self.identity).then_some(Spare { file, left: None }))
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keep a description for the next who asks.
    fn keep(&self, file: File, left: Option<Left>) {
        let mut spare = self.spare();
        if spare.len() < SPARE {
            spare.push(Spare { file, left });
        }
    }

    /// Whether the cells of a place need not be freed: those of one place wait to be used again. More would
    /// be a burden to all who read the table.
    fn may_leave_cells(&self) -> bool {
        let spare = self.spare();
        spare.len() < SPARE && spare.iter().all(|spare| spare.left.is_none())
    }

    /// Enter a request behind all that are live. One that will not wait is entered only if nobody is in
    /// the way.
    pub(crate) fn ask(&self, request: &Request, may_wait: bool) -> Result<Answer, Error> {
        let draft = Draft::new(request);
        if draft.payload.len() > LARGEST {
            return Err(Error::TooLarge { bytes: draft.payload.len(), most: LARGEST });
        }
        let Some(Spare { file, left }) = self.description()? else { return Ok(Answer::Gone) };
        let ask = Ask { table: self, file: &file, left: left.as_ref(), draft: &draft, may_wait };
        let mut buffer = std::mem::take(&mut *self.buffer());
        let outcome = ask.run(&mut buffer);
        *self.buffer() = buffer;
        Ok(match outcome? {
            Outcome::Entered { ticket, token, cells, blockers } => {
                Answer::Entered(Place { ticket, token, file, cells }, blockers)
            }
            Outcome::Refused(blocked) => {
                self.keep(file, left);
                Answer::Refused(blocked)
            }
            Outcome::Gone => Answer::Gone,
        })
    }

    fn buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of these tickets, the earliest first, have not left; the latest that has not is the last.
    /// Those before the last may have left too.
    pub(crate) fn shrink(&self, place: &Place, tickets: &mut Vec<u64>) -> Result<(), Error> {
        if let (Some(first), Some(last)) = (tickets.first(), tickets.last())
            && !file::is_any_live(&place.file, &self.path, *first, *last)?
        {
            tickets.clear();
        }
        while let Some(last) = tickets.last() {
            if file::is_live(&place.file, &self.path, *last)? {
                break;
            }
            tickets.pop();
        }
        Ok(())
    }

    /// Note in the record that its owner has seen the grant: what is shown counts from here.
    pub(crate) fn note_grant(&self, place: &Place) {
        let now = kernel::since_boot().to_le_bytes();
        if let Some(first) = place.cells.first() {
            let _ = place.file.write_all_at(&now, offset(*first) + GRANTED_AT as u64);
        }
    }

    /// Give a place back, and wake those here who wait for it. `shared` if a child has its description.
    pub(crate) fn leave(&self, place: &mut Option<Place>, shared: bool) {
        let Some(Place { ticket, token, file, cells }) = place.take() else { return };
        // A process that was forked from the holder only closes its copy.
        if !self.is_own() {
            return;
        }
        let leave_cells = !shared && self.may_leave_cells();
        if !leave_cells {
            record::free(&file, &cells);
        }
        kernel::unlock(&file, ticket);
        if !shared {
            self.keep(file, leave_cells.then_some(Left { ticket, token, cells }));
        }
        self.watches.gone(ticket);
    }
}
