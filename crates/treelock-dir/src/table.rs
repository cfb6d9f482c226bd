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
//! - *Leaving*, whether a release or a cancellation: unlock the byte. No latch, nothing that could block or
//!   fail.
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
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    libc,
    unistd::linkat,
};
use treelock::{Blocked, FencingToken, Process, Request, Sighting};

use crate::{
    error::{Doing, Error},
    kernel::{self, FileSystem, Identity, Kind},
    lost::Listener,
    payload::Draft,
    record::{self, CELL, COUNT_AT, Cells, FREE, GRANTED_AT, LARGEST, Record, STATE_AT},
    watch::Watches,
};

/// The byte whose lock lets one at a time look and enter.
const LATCH: u64 = 0;

/// Cells that a table grows by: a page, with the header's.
const PAGE: usize = 4096;

/// How many unused descriptions are kept open.
const SPARE: usize = 16;

/// An open table.
pub(crate) struct Table {
    path: PathBuf,
    /// What the file is, whatever becomes of its name.
    identity: Identity,
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
struct Left {
    ticket: u64,
    /// In a table that was emptied and begun anew, somebody else may have the ticket, but not the token.
    token: FencingToken,
    cells: Vec<usize>,
}

impl Left {
    fn is_there(&self, cells: &Cells<'_>) -> bool {
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
        refuse_shared(directory)?;
        let path = directory.join(NAME);
        let file = open_or_make(&path, directory)?;
        let (identity, _) = kernel::identify_open(&file).doing("read", &path)?;
        let watches = Watches::default();
        let (spare, buffer, listener) = Default::default();
        let table = Table { path, identity, file, watches, spare, buffer, listener };
        table.begin(directory)?;
        Ok(table)
    }

    /// See that the file has a header of ours; write it if the file is new.
    fn begin(&self, directory: &Path) -> Result<(), Error> {
        let latch = Latch::new(&self.file, Kind::Exclusive).doing("lock", &self.path)?;
        let bytes = read_all(&self.file).doing("read", &self.path)?;
        match check(&self.path, &bytes) {
            Ok(()) => return Ok(()),
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        // Nothing live may be in a table that begins. What is cut short has lost its records.
        let live = kernel::locked(&self.file, LATCH + 1, i64::MAX as u64 - 1);
        if live.doing("look at the locks of", &self.path)?.is_some() {
            return Err(Error::Damaged { path: self.path.clone() });
        }
        share(&self.file, directory);
        self.file.write_all_at(&first_page(), 0).doing("write the lock table", &self.path)?;
        drop(latch);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().expect("a table lies in a directory")
    }

    /// Whether the table is still the one in its place. Where that cannot be seen it is not.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.size(), Ok(Some(_)))
    }

    /// Its size in bytes, if it is still the one in its place.
    fn size(&self) -> Result<Option<u64>, Error> {
        let found = kernel::identify(&self.path).doing("look for", &self.path)?;
        Ok(found.filter(|(identity, _)| *identity == self.identity).map(|(_, size)| size))
    }

    /// An open file description of this table that holds no lock; `None` if another is in its place.
    fn description(&self) -> Result<Option<Spare>, Error> {
        if let Some(spare) = self.spare().pop() {
            return Ok(Some(spare));
        }
        let file = match open(&self.path, OpenOptions::new().read(true).write(true)) {
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
        let mut buffer = std::mem::take(&mut *self.buffer());
        let outcome = self.ask_with(&file, left.as_ref(), request, &draft, may_wait, &mut buffer);
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

    fn ask_with(
        &self,
        file: &File,
        left: Option<&Left>,
        request: &Request,
        draft: &Draft<'_>,
        may_wait: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Outcome, Error> {
        let _latch = Latch::new(file, Kind::Exclusive).doing("lock", &self.path)?;
        let Some(size) = self.size()? else { return Ok(Outcome::Gone) };
        let bytes = read(file, size, buffer).doing("read", &self.path)?;
        check(&self.path, bytes)?;
        let cells = cells(bytes);
        let left = left.filter(|left| left.is_there(&cells));
        let mut blockers = Vec::new();
        for (ticket, own_cells) in cells.conflicting(draft, left.map(|left| left.ticket)) {
            if self.is_live(file, ticket)? {
                blockers.push(ticket);
            } else {
                self.free(file, &own_cells);
            }
        }
        blockers.sort_unstable();
        if !may_wait && !blockers.is_empty() {
            let sightings = self.in_the_way(file, &cells, &blockers)?;
            if let Some(blocked) = Blocked::of(&sightings, request, u64::MAX) {
                return Ok(Outcome::Refused(blocked));
            }
            // All of them left just now: leaving needs no latch.
            blockers.clear();
        }
        self.enter(file, left, &cells, draft, blockers)
    }

    /// Take the next ticket, lock its byte and write the record.
    fn enter(
        &self,
        file: &File,
        left: Option<&Left>,
        cells: &Cells<'_>,
        draft: &Draft<'_>,
        blockers: Vec<u64>,
    ) -> Result<Outcome, Error> {
        let places = self.room(file, left, cells, record::parts(draft))?;
        let (last_ticket, last_token) = cells.last();
        let mut ticket = last_ticket + 1;
        // Only a table that was cut short has tickets without a cell.
        while !kernel::try_lock(file, ticket, Kind::Exclusive).doing("lock", &self.path)? {
            ticket += 1;
        }
        // By the clock, a new table goes on above the tokens of the one before it.
        let token = kernel::since_1970().max(last_token + 1);
        let asked = kernel::since_boot();
        let granted = if blockers.is_empty() { asked } else { 0 };
        for (cell, place) in record::write(draft, ticket, token, asked, granted).zip(&places) {
            if let Err(error) = file.write_all_at(&cell, offset(*place)) {
                self.free(file, &places);
                kernel::unlock(file, ticket);
                return Err(error).doing("write the lock table", &self.path);
            }
        }
        Ok(Outcome::Entered { ticket, token: FencingToken(token), cells: places, blockers })
    }

    /// Find cells: those of the handle's last place, else free ones, else those of the dead, else new ones
    /// at the end.
    fn room(
        &self,
        file: &File,
        left: Option<&Left>,
        cells: &Cells<'_>,
        count: usize,
    ) -> Result<Vec<usize>, Error> {
        if let Some(left) = left {
            if left.cells.len() == count {
                return Ok(left.cells.clone());
            }
            self.free(file, &left.cells);
        }
        let mut places: Vec<usize> = cells.free().take(count).collect();
        if places.len() == count {
            return Ok(places);
        }
        for (cell, ticket) in cells.tickets() {
            if places.len() < count && !self.is_live(file, ticket)? {
                places.push(cell);
            }
        }
        let end = cells.count();
        let new = (count - places.len()).next_multiple_of(PAGE / CELL);
        if places.len() < count {
            let empty = vec![0; new * CELL];
            let all = ((end + new) as u64).to_le_bytes();
            let enlarged = file.write_all_at(&empty, offset(end));
            // Only then the header, which would be wrong if we died in between.
            let enlarged = enlarged.and_then(|()| file.write_all_at(&all, COUNT_AT as u64));
            enlarged.doing("enlarge the lock table", &self.path)?;
            places.extend((end..end + new).take(count - places.len()));
        }
        Ok(places)
    }

    /// Mark cells as free. If that fails they are still nobody's, for their ticket is not locked.
    fn free(&self, file: &File, cells: &[usize]) {
        for cell in cells {
            let _ = file.write_all_at(&FREE, offset(*cell) + STATE_AT as u64);
        }
    }

    fn is_live(&self, file: &File, ticket: u64) -> Result<bool, Error> {
        // Ticket 0 was never given.
        let locked = if ticket == 0 { Ok(None) } else { kernel::locked(file, ticket, ticket) };
        Ok(locked.doing("look at the locks of", &self.path)?.is_some())
    }

    /// Which of these tickets, the earliest first, have not left; the latest that has not is the last.
    /// Those before the last may have left too.
    pub(crate) fn shrink(&self, place: &Place, tickets: &mut Vec<u64>) -> Result<(), Error> {
        if let (Some(first), Some(last)) = (tickets.first(), tickets.last()) {
            let any = kernel::locked(&place.file, *first, *last);
            if any.doing("look at the locks of", &self.path)?.is_none() {
                tickets.clear();
            }
        }
        while let Some(last) = tickets.last() {
            if self.is_live(&place.file, *last)? {
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
        let leave_cells = !shared && self.may_leave_cells();
        if !leave_cells {
            self.free(&file, &cells);
        }
        kernel::unlock(&file, ticket);
        if !shared {
            self.keep(file, leave_cells.then_some(Left { ticket, token, cells }));
        }
        self.watches.gone(ticket);
    }

    /// The live ones among these tickets, and who is in the way of the first of them.
    fn in_the_way(
        &self,
        file: &File,
        cells: &Cells<'_>,
        tickets: &[u64],
    ) -> Result<Vec<Sighting>, Error> {
        let records: Vec<Record> = cells.records().collect();
        let first = records.iter().find(|record| Some(&record.ticket) == tickets.first());
        let matters = |record: &Record| {
            let before = |first: &Record| {
                record.ticket < first.ticket && first.request.conflict(&record.request).is_some()
            };
            tickets.contains(&record.ticket) || first.is_some_and(before)
        };
        sightings(records.iter().filter(|record| matters(record)), |ticket| {
            self.is_live(file, ticket)
        })
    }
}

/// The name of the table in its directory.
pub(crate) const NAME: &str = "table";

enum Outcome {
    Entered { ticket: u64, token: FencingToken, cells: Vec<usize>, blockers: Vec<u64> },
    Refused(Blocked),
    Gone,
}

/// The latch, held until it is dropped.
pub(crate) struct Latch<'a>(&'a File);

impl Latch<'_> {
    pub(crate) fn new(file: &File, kind: Kind) -> io::Result<Latch<'_>> {
        kernel::lock(file, LATCH, kind)?;
        Ok(Latch(file))
    }

    /// The latch, if nobody has it.
    pub(crate) fn attempt(file: &File, kind: Kind) -> io::Result<Option<Latch<'_>>> {
        Ok(kernel::try_lock(file, LATCH, kind)?.then_some(Latch(file)))
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        kernel::unlock(self.0, LATCH);
    }
}

/// A table opened to be looked at, by whoever may read it. Asks for nothing, changes nothing.
pub(crate) struct View {
    path: PathBuf,
    pub(crate) file: File,
}

impl View {
    /// The table of a directory; `None` if there is none.
    pub(crate) fn open(directory: &Path) -> Result<Option<View>, Error> {
        let path = directory.join(NAME);
        match open(&path, OpenOptions::new().read(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            file => Ok(Some(View { file: file?, path })),
        }
    }

    /// All records of live requests, at one moment.
    pub(crate) fn live(&self) -> Result<Vec<Record>, Error> {
        Ok(self.look()?.into_iter().filter(|(_, live)| *live).map(|(record, _)| record).collect())
    }

    /// All records at one moment, each with whether it is a live request's.
    pub(crate) fn look(&self) -> Result<Vec<(Record, bool)>, Error> {
        let _latch = Latch::new(&self.file, Kind::Shared).doing("lock", &self.path)?;
        let bytes = read_all(&self.file).doing("read", &self.path)?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        check(&self.path, &bytes)?;
        let look = |record: Record| {
            let live = record.ticket != 0
                && kernel::locked(&self.file, record.ticket, record.ticket)
                    .doing("look at the locks of", &self.path)?
                    .is_some();
            Ok((record, live))
        };
        cells(&bytes).records().map(look).collect()
    }

    /// The last token that was given.
    pub(crate) fn last_token(&self) -> Result<u64, Error> {
        let bytes = read_all(&self.file).doing("read", &self.path)?;
        Ok(cells(&bytes).last().1)
    }
}

/// What is shown of records: those that are live.
pub(crate) fn sightings<'a>(
    records: impl Iterator<Item = &'a Record>,
    is_live: impl Fn(u64) -> Result<bool, Error>,
) -> Result<Vec<Sighting>, Error> {
    let now = kernel::since_boot();
    let ago = |then: u64| std::time::Duration::from_nanos(now.saturating_sub(then));
    let mut seen = Vec::new();
    for record in records {
        if is_live(record.ticket)? {
            seen.push(Sighting {
                ticket: record.ticket,
                request: record.request.clone(),
                asked: ago(record.asked),
                granted: (record.granted != 0).then(|| ago(record.granted)),
                process: Some(Process { pid: record.pid, host: None }.into()),
            });
        }
    }
    Ok(seen)
}

fn offset(cell: usize) -> u64 {
    ((cell + 1) * CELL) as u64
}

/// The cells behind the header. What is cut short at the end is no cell.
fn cells(bytes: &[u8]) -> Cells<'_> {
    Cells::new(bytes[CELL..].as_chunks().0)
}

/// The first `size` bytes of a file, or all if it has become shorter. A record overlooked would be a
/// conflict overlooked, so a read that ends early goes on.
fn read<'a>(file: &File, size: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    let size = usize::try_from(size).map_err(io::Error::other)?;
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    let mut length = 0;
    while length < size {
        match file.read_at(&mut buffer[length..size], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..length])
}

/// The whole file.
fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let (_, size) = kernel::identify_open(file)?;
    let length = read(file, size, &mut buffer)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// See that these are the bytes of a table.
fn check(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = || path.to_path_buf();
    // Zeros are where a table was cut short and its users went on to free their cells.
    let Some(header) = bytes.first_chunk::<CELL>().filter(|header| **header != [0; CELL]) else {
        return Err(Error::Damaged { path: path() });
    };
    if record::foreign(header).is_none() && record::is_cut_short(header, bytes.len() / CELL - 1) {
        return Err(Error::Damaged { path: path() });
    }
    match record::foreign(header) {
        Some(what) => Err(Error::Foreign { path: path(), what }),
        None => Ok(()),
    }
}

/// A link is not followed, and opening a pipe does not wait for its other end.
fn open(path: &Path, how: &mut OpenOptions) -> Result<File, Error> {
    let file = how.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.doing("open the lock table", path)?;
    match kernel::is_regular(&file).doing("read", path)? {
        true => Ok(file),
        false => Err(Error::Foreign { path: path.into(), what: "it is not a file".into() }),
    }
}

/// Never with `O_CREAT` if it is there: in a directory where all may write, Linux may be told to refuse that
/// for another user's file (`fs.protected_regular`).
fn open_or_make(path: &Path, directory: &Path) -> Result<File, Error> {
    loop {
        match open(path, OpenOptions::new().read(true).write(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            file => return file,
        }
        match make(path, directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.doing("make the lock table", path)?,
        }
    }
}

/// Make a table that has its rights and its header before it has its name, so that nobody finds half of it.
fn make(path: &Path, directory: &Path) -> io::Result<()> {
    let unnamed = OpenOptions::new()
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(directory);
    match unnamed {
        Ok(file) => {
            share(&file, directory);
            file.write_all_at(&first_page(), 0)?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            let follow = AtFlags::AT_SYMLINK_FOLLOW;
            Ok(linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, follow)?)
        }
        // Few file systems have no such files.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR)) => {
            let named = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            share(&named, directory);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn first_page() -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..CELL].copy_from_slice(&record::header(PAGE / CELL - 1));
    page
}

/// Let those use the table whom its directory lets in, whatever the umask of who came first.
fn share(file: &File, directory: &Path) {
    let mode = fs::metadata(directory).map(|metadata| metadata.permissions().mode());
    // If the file is not ours, its owner has done it.
    let _ = mode
        .and_then(|mode| file.set_permissions(fs::Permissions::from_mode(mode & 0o666 | 0o600)));
}

fn refuse_shared(directory: &Path) -> Result<(), Error> {
    match kernel::file_system(directory).doing("look at the file system of", directory)? {
        FileSystem::Network(kind) => Err(Error::Shared { path: directory.to_path_buf(), kind }),
        _ => Ok(()),
    }
}
