//! Reading a table to see which requests are live. Takes no latch, changes nothing, and needs no
//! right to write.
//!
//! A record is read, and then whether its request has left meanwhile; if it has, the record does
//! not count. So each request that is found was live while it was read. The requests are those up
//! to the last ticket at the start; later ones change nothing for them.

use std::{
    collections::HashMap,
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
    file::{self, TABLE_NAME},
    format::{
        header::{self, Kind},
        layout,
        request::Draft,
    },
    handle::Handle,
    kernel,
    ledger::Other,
    life,
    memory::{Broken, Memory},
    record::Record,
};

/// A table that was opened for reading only.
pub(crate) struct View {
    path: PathBuf,
    pub(crate) memory: Memory,
}

impl View {
    /// Opens the table of a directory. Returns `None` if there is no table, or one that the next
    /// request will begin anew.
    pub(crate) fn open(directory: &Path) -> Result<Option<View>, Error> {
        let path = directory.join(TABLE_NAME);
        let file = match file::open(&path, OpenOptions::new().read(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            file => file?,
        };
        let used = |file: &File, error| match life::is_used(file, &path)? {
            true => Err(error),
            false => Ok(None),
        };
        match file::kind(&file, &path)? {
            Kind::Table => {}
            Kind::Former => return used(&file, Error::Former { path: path.clone() }),
            Kind::Cut => return used(&file, Error::Damaged { path: path.clone() }),
            Kind::Foreign(what) => return Err(Error::Foreign { path, what }),
        }
        let memory = Memory::new(file, false).doing("map into memory", &path)?;
        match memory.is_whole() {
            true => Ok(Some(View { path, memory })),
            false => used(&memory.file, Error::Damaged { path: path.clone() }),
        }
    }

    /// Returns all live requests.
    pub(crate) fn live(&self) -> Result<Vec<Record>, Error> {
        let records = records(&self.memory, |_, _| true).map_err(|Broken| self.damaged())?;
        let lives = records.iter().flat_map(|record| record.stamp.lives).collect();
        let lives = life::living(&self.memory.file, &self.path, lives)?;
        let goes_on = |life: &u64| lives.binary_search(life).is_ok();
        let is_live = |record: &Record| record.stamp.lives.iter().any(goes_on);
        Ok(records.into_iter().filter(is_live).collect())
    }

    fn damaged(&self) -> Error {
        Error::Damaged { path: self.path.clone() }
    }

    /// Returns the last token that was issued.
    pub(crate) fn last_token(&self) -> u64 {
        self.memory.get(header::TOKEN)
    }
}

/// Returns the records of the requests that have not left and that `is_wanted` accepts by their
/// tickets and payloads, the earliest first.
fn records(
    memory: &Memory,
    is_wanted: impl Fn(u64, Option<&[u8]>) -> bool,
) -> Result<Vec<Record>, Broken> {
    let last = memory.get(header::TICKET);
    let cells = layout::cells(memory.chunk_count()?);
    let end = cells.min(memory.get(header::CELLS_USED) as usize);
    let mut records = Vec::new();
    for number in 0..end {
        if memory.cell(number)?.word().ticket() <= last {
            records.extend(Record::read_if(memory, number, &is_wanted)?);
        }
    }
    records.sort_unstable_by_key(|record| record.stamp.ticket);
    Ok(records)
}

/// Returns what is in the way of a request that waits for others.
pub(crate) fn in_the_way(
    handle: &Handle,
    request: &Request,
    ahead: &[Other],
) -> Result<Option<Blocked>, Error> {
    let damaged = |Broken| handle.site.damaged();
    let mut lives = Lives::new(|life| !handle.is_dead(life));
    let mut first = None;
    let mut count = 0;
    for other in ahead {
        let cell = handle.memory.cell(other.cell).map_err(damaged)?;
        if !handle.has_left(*other).map_err(damaged)? && lives.go_on(cell.lives()) {
            count += 1;
            if first.is_none() {
                let record = Record::read(&handle.memory, other.cell).map_err(damaged)?;
                // It may have left just now, and its cell may be another one's.
                first = record.filter(|record| record.stamp.ticket == other.ticket);
            }
        }
    }
    let Some(first) = first else { return Ok(None) };
    let earlier = earlier_ones(&handle.memory, &first).map_err(damaged)?;
    let blocked = describe(request, &first, count, &earlier, &mut lives);
    blocked.map(Some).ok_or_else(|| handle.site.damaged())
}

/// Returns what would be in the way of a request. Nothing is in the way if there is no table.
pub(crate) fn blocked_in(directory: &Path, request: &Request) -> Result<Option<Blocked>, Error> {
    let Some(view) = View::open(directory)? else { return Ok(None) };
    let draft = Draft::new(request);
    let conflicting = records(&view.memory, |_, payload| draft.conflicts(payload));
    let conflicting = conflicting.map_err(|Broken| view.damaged())?;
    // If it cannot be found out, it goes on.
    let go_on = |life| life::is_live(&view.memory.file, &view.path, life).unwrap_or(true);
    let mut lives = Lives::new(go_on);
    let lives_on = |record: &Record| lives.go_on(record.stamp.lives);
    let ahead: Vec<Record> = conflicting.into_iter().filter(lives_on).collect();
    let Some(first) = ahead.first() else { return Ok(None) };
    let earlier = earlier_ones(&view.memory, first).map_err(|Broken| view.damaged())?;
    let blocked = describe(request, first, ahead.len(), &earlier, &mut lives);
    blocked.map(Some).ok_or_else(|| view.damaged())
}

/// Returns the records of the requests that are earlier than one and conflict with it.
fn earlier_ones(memory: &Memory, first: &Record) -> Result<Vec<Record>, Broken> {
    let draft = Draft::new(&first.request);
    let last = first.stamp.ticket;
    records(memory, |ticket, payload| ticket < last && draft.conflicts(payload))
}

/// Which lives go on, each asked about once.
struct Lives<F> {
    known: HashMap<u64, bool>,
    ask: F,
}

impl<F: FnMut(u64) -> bool> Lives<F> {
    fn new(ask: F) -> Lives<F> {
        Lives { known: HashMap::new(), ask }
    }

    /// Returns whether any of the lives of a request goes on.
    fn go_on(&mut self, lives: [u64; 2]) -> bool {
        let Lives { known, ask } = self;
        lives.into_iter().any(|life| life != 0 && *known.entry(life).or_insert_with(|| ask(life)))
    }
}

/// Describes the first of the requests that are ahead of one. It waits itself if any earlier live
/// request conflicts with it. Returns `None` if its record is damaged, so that it is unknown which
/// of its nodes is in the way, and the request has none below `/`.
fn describe(
    request: &Request,
    first: &Record,
    count: usize,
    earlier: &[Record],
    lives: &mut Lives<impl FnMut(u64) -> bool>,
) -> Option<Blocked> {
    let mut sightings = vec![sighting(first)];
    let in_its_way = earlier.iter().find(|other| lives.go_on(other.stamp.lives));
    sightings.extend(in_its_way.map(sighting));
    let blocked = Blocked::of(&sightings, request, first.stamp.ticket + 1);
    blocked.map(|mut blocked| {
        blocked.ahead = count;
        blocked
    })
}

/// Returns the live requests in the table of a directory.
pub(crate) fn live_in(directory: &Path) -> Result<Vec<Sighting>, Error> {
    let Some(view) = View::open(directory)? else { return Ok(Vec::new()) };
    Ok(view.live()?.iter().map(sighting).collect())
}

/// Returns how the record of a live request is shown.
pub(crate) fn sighting(record: &Record) -> Sighting {
    let now = kernel::since_boot();
    let ago = |then: u64| Duration::from_nanos(now.saturating_sub(then));
    let stamp = &record.stamp;
    Sighting {
        ticket: stamp.ticket,
        request: record.request.clone(),
        asked: ago(stamp.asked),
        granted: (stamp.granted != 0).then(|| ago(stamp.granted)),
        process: Some(Process { pid: stamp.pid, host: None }.into()),
    }
}
