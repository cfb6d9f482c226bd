//! Looking at a table: who is live in it.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use treelock::{Process, Sighting};

use crate::{
    error::{Doing, Error},
    file::{self, Latch, NAME},
    kernel::{self, Kind},
    record::{Cells, Record},
};

/// A table opened to be looked at. Asks for nothing, changes nothing.
pub(crate) struct View {
    path: PathBuf,
    pub(crate) file: File,
    /// How the latch is taken. Who may only read cannot but share it; all others stand in line for it, since
    /// those who share it could otherwise follow one another for ever, and nobody would get in.
    pub(crate) latch: Kind,
}

impl View {
    /// The table of a directory; `None` if there is none.
    pub(crate) fn open(directory: &Path) -> Result<Option<View>, Error> {
        let path = directory.join(NAME);
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

    /// All records at one moment, each with whether it is a live request's.
    pub(crate) fn look(&self) -> Result<Vec<(Record, bool)>, Error> {
        look(&self.file, self.latch, &self.path)
    }

    /// The last token that was given.
    pub(crate) fn last_token(&self) -> Result<u64, Error> {
        let bytes = file::read_all(&self.file).doing("read", &self.path)?;
        file::check(&self.path, &bytes)?;
        Ok(Cells::new(&bytes).last().1)
    }
}

fn may_not_write(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

/// All records at one moment, each with whether it is a live request's.
///
/// The latch is held while the bytes are read, and no longer. Who enters later is not in them; and a ticket's
/// number is used once, so what is seen to have left has.
fn look(file: &File, latch: Kind, path: &Path) -> Result<Vec<(Record, bool)>, Error> {
    let held = Latch::new(file, latch).doing("lock", path)?;
    let bytes = file::read_all(file).doing("read", path)?;
    drop(held);
    match file::check(path, &bytes) {
        // Whoever asks next begins it anew.
        Err(Error::Damaged { .. }) if !file::is_used(file, path)? => return Ok(Vec::new()),
        checked => checked?,
    }
    let look = |record: Record| {
        let live = file::is_live(file, path, record.ticket)?;
        Ok((record, live))
    };
    Cells::new(&bytes).records().map(look).collect()
}

/// The live requests in a table, seen from one of them.
pub(crate) fn live_seen_from(file: &File, path: &Path) -> Result<Vec<Sighting>, Error> {
    Ok(sightings(&look(file, Kind::Exclusive, path)?))
}

/// The live requests in the table of a directory.
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

/// What is shown of a live request's record.
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
