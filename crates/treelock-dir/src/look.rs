//! Looking at a table: who is live in it.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use treelock::engine::{Process, Sighting};

use crate::{
    error::{Doing, Error},
    file::{self, Latch, TABLE_NAME},
    format::cells::{Cells, Record},
    kernel::{self, Kind},
};

/// A table that was opened to be looked at. Looking asks for nothing and changes nothing.
pub(crate) struct View {
    path: PathBuf,
    pub(crate) file: File,
    /// How the latch is taken. Read-only users must take it shared. All others take it exclusively:
    /// if they shared it, they could follow one another for ever, and nobody could ask.
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
        look(&self.file, self.latch, &self.path)
    }

    /// Returns the last token that was given.
    pub(crate) fn last_token(&self) -> Result<u64, Error> {
        let bytes = file::read_all(&self.file).doing("read", &self.path)?;
        file::check(&self.path, &bytes)?;
        Ok(Cells::new(&bytes).last().1)
    }
}

fn may_not_write(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// Returns all records at one moment, each with whether its request is live.
///
/// The latch is held while the bytes are read, and no longer. Requests that enter later are not in
/// the bytes; and a ticket's number is used once, so a ticket that is seen to have left has left
/// for good.
fn look(file: &File, latch: Kind, path: &Path) -> Result<Vec<(Record, bool)>, Error> {
    let held = Latch::new(file, latch).doing("lock", path)?;
    let bytes = file::read_all(file).doing("read", path)?;
    drop(held);
    match file::check(path, &bytes) {
        // The next request begins it anew.
        Err(Error::Damaged { .. }) if !file::is_used(file, path)? => return Ok(Vec::new()),
        checked => checked?,
    }
    let with_life = |record: Record| {
        let live = file::is_live(file, path, record.ticket)?;
        Ok((record, live))
    };
    Cells::new(&bytes).records().map(with_life).collect()
}

/// Returns the live requests in a table, seen by the description of one of them.
pub(crate) fn live_seen_from(file: &File, path: &Path) -> Result<Vec<Sighting>, Error> {
    Ok(sightings(&look(file, Kind::Exclusive, path)?))
}

/// Returns the live requests in the table of a directory.
pub(crate) fn live_in(directory: &Path) -> Result<Vec<Sighting>, Error> {
    Ok(match View::open(directory)? {
        None => Vec::new(),
        Some(view) => sightings(&view.look()?),
    })
}

fn sightings(records: &[(Record, bool)]) -> Vec<Sighting> {
    let live = records.iter().filter(|(_, live)| *live);
    live.map(|(record, _)| sighting(record)).collect()
}

/// Returns what is shown of a live request's record.
pub(crate) fn sighting(record: &Record) -> Sighting {
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
