//! Reading a table to see which requests are live.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use treelock::{
    Blocked, Request,
    engine::{Process, Sighting},
};

use crate::{
    error::{Doing, Error},
    file::{self, Latch, TABLE_NAME},
    format::{
        cells::{Cells, Record},
        request::Draft,
    },
    kernel::{self, Kind},
    life,
};

/// A table that was opened for reading only. Looking makes no request and changes nothing.
pub(crate) struct View {
    path: PathBuf,
    pub(crate) file: File,
    /// How the latch is taken. Read-only users must take it shared. All others take it exclusively:
    /// if they shared it, they could follow one another forever, and no request could be made.
    pub(crate) latch: Kind,
}

impl View {
    /// Opens the table of a directory. Returns `None` if there is no table.
    pub(crate) fn open(directory: &Path) -> Result<Option<View>, Error> {
        let path = directory.join(TABLE_NAME);
        let writable = file::open(&path, OpenOptions::new().read(true).write(true));
        let (file, latch) = match writable {
            Err(Error::Io { source, .. }) if may_not_write(source.kind()) => {
                (file::open(&path, OpenOptions::new().read(true)), Kind::Shared)
            }
            file => (file, Kind::Exclusive),
        };
        match file {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            file => Ok(Some(View { file: file?, path, latch })),
        }
    }

    /// Returns all records at one moment, each with whether its request is live.
    pub(crate) fn look(&self) -> Result<Vec<(Record, bool)>, Error> {
        let Some(bytes) = read(&self.file, self.latch, &self.path)? else {
            return Ok(Vec::new());
        };
        let records: Vec<Record> = Cells::new(&bytes).records().collect();
        let tickets = records.iter().map(|record| record.ticket).collect();
        let live = life::living(&self.file, &self.path, tickets)?;
        let with_life = |record: Record| {
            let is_live = live.binary_search(&record.ticket).is_ok();
            (record, is_live)
        };
        Ok(records.into_iter().map(with_life).collect())
    }

    /// Returns the live requests at one moment.
    fn sightings(&self) -> Result<Vec<Sighting>, Error> {
        let records = self.look()?;
        let live = records.iter().filter(|(_, live)| *live);
        Ok(live.map(|(record, _)| sighting(record)).collect())
    }

    /// Returns the last token that was issued.
    pub(crate) fn last_token(&self) -> Result<u64, Error> {
        let bytes = file::read_all(&self.file).doing("read", &self.path)?;
        file::check(&self.path, &bytes)?;
        Ok(Cells::new(&bytes).last().1)
    }
}

fn may_not_write(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Returns the bytes of a table at one moment, or `None` if the next request will start it again.
///
/// The latch is held while the bytes are read, and no longer. Requests that enter later are not in
/// the bytes. Each ticket number is used only once, so a ticket that is seen to have left has left
/// permanently.
fn read(file: &File, latch: Kind, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let held = Latch::new(file, latch).doing("lock", path)?;
    let bytes = file::read_all(file).doing("read", path)?;
    drop(held);
    match file::check(path, &bytes) {
        Err(Error::Damaged { .. }) if !life::is_used(file, path)? => Ok(None),
        checked => checked.map(|()| Some(bytes)),
    }
}

/// Returns what is in the way of a request with this ticket, according to the table and through the
/// description of the request.
pub(crate) fn blocked(
    file: &File,
    path: &Path,
    (request, ticket): (&Request, u64),
) -> Result<Option<Blocked>, Error> {
    let Some(bytes) = read(file, Kind::Exclusive, path)? else { return Ok(None) };
    in_the_way(file, path, &Cells::new(&bytes), &Draft::new(request), ticket)
}

/// Returns what would be in the way of a request. Nothing is in the way if there is no table.
pub(crate) fn blocked_in(directory: &Path, request: &Request) -> Result<Option<Blocked>, Error> {
    let Some(View { file, latch, path }) = View::open(directory)? else { return Ok(None) };
    let Some(bytes) = read(&file, latch, &path)? else { return Ok(None) };
    in_the_way(&file, &path, &Cells::new(&bytes), &Draft::new(request), u64::MAX)
}

/// Returns what is in the way of a request with this ticket. Queries the life only of what
/// conflicts.
fn in_the_way(
    file: &File,
    path: &Path,
    cells: &Cells<'_>,
    draft: &Draft<'_>,
    ticket: u64,
) -> Result<Option<Blocked>, Error> {
    let conflicting = cells.conflicting(draft).map(|(other, _)| other);
    let ahead = conflicting.filter(|other| *other < ticket).collect();
    let ahead = life::living(file, path, ahead)?;
    describe(file, path, cells, draft.request, &ahead)
}

/// Describes the first of the live requests that are ahead of a request, the earliest first. It
/// waits itself if any earlier live request conflicts with it.
pub(crate) fn describe(
    file: &File,
    path: &Path,
    cells: &Cells<'_>,
    request: &Request,
    ahead: &[u64],
) -> Result<Option<Blocked>, Error> {
    let Some(first) = ahead.first().and_then(|ticket| cells.find(*ticket)) else {
        return Ok(None);
    };
    let first = cells.record(first);
    let mut sightings = vec![sighting(&first)];
    for (ticket, number) in cells.conflicting(&Draft::new(&first.request)) {
        if ticket < first.ticket && life::is_live(file, path, ticket)? {
            sightings.push(sighting(&cells.record(number)));
            break;
        }
    }
    let blocked = Blocked::of(&sightings, request, first.ticket + 1);
    Ok(blocked.map(|mut blocked| {
        blocked.ahead = ahead.len();
        blocked
    }))
}

/// Returns the live requests in the table of a directory.
pub(crate) fn live_in(directory: &Path) -> Result<Vec<Sighting>, Error> {
    View::open(directory)?.map_or(Ok(Vec::new()), |view| view.sightings())
}

/// Returns how the record of a live request is shown.
fn sighting(record: &Record) -> Sighting {
    let now = kernel::since_boot();
    let ago = |then: u64| Duration::from_nanos(now.saturating_sub(then));
    Sighting {
        ticket: record.ticket,
        request: record.request.clone(),
        asked: ago(record.asked),
        granted: (record.granted != 0).then(|| ago(record.granted)),
        process: Some(Process { pid: record.pid, host: None }.into()),
    }
}
