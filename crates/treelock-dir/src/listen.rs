//! A listener: reads the [ring](crate::ring), and keeps a [mirror](crate::mirror) of the table.
//!
//! # Exactly once
//!
//! A listener enters itself and reads the head of the ring and the last ticket under one latch, so
//! each later request is told to it. Then it looks which of the others are live. What was live then
//! leaves later, and is told. Who left before is unknown to the mirror, which therefore ignores
//! that it is told once more.
//!
//! A listener that was overrun, or finds a place that somebody took and never wrote, does the same
//! again, and tells how the table differs from what it knew. So no place is waited for for long.
//!
//! # What nobody tells
//!
//! Who dies tells nothing. So once in a second a listener looks which of the requests it knows are
//! still live, lets the dead leave, and checks that the table and the ring are still in their
//! places. Otherwise it sleeps until something is told.

use std::{
    collections::HashSet,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use treelock::engine::Event;

use crate::{
    error::{Doing, Error},
    file::{self, Gate, TABLE_NAME},
    format::{header, layout, request},
    handle::Handle,
    kernel,
    latch::{self, Latch},
    ledger::Other,
    life, listeners,
    memory::{Broken, Memory},
    mirror::{Mirror, Seen},
    record::Record,
    ring::{Found, Kind, Message, Ring},
    table::Table,
};

/// How often a listener looks for what nobody tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often it looks for a table while there is none.
const TABLE_INTERVAL: Duration = Duration::from_millis(20);

/// How long it waits for the latch and for the gate, which others mostly hold for a microsecond.
const LATCH_TIMEOUT: Duration = Duration::from_millis(250);

/// How long it waits for who has taken a place in the ring and not written there yet. Who lives has
/// mostly written in less than a microsecond, but may have to wait for a processor.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const WRITE_INTERVAL: Duration = Duration::from_micros(50);

/// At most so many messages are read at once, so that the first are not told late.
const BATCH: usize = 256;

/// Wakes a listener that is no longer needed.
#[derive(Default)]
pub(crate) struct Stop {
    is_over: AtomicBool,
    ring: Mutex<Option<Arc<Ring>>>,
}

impl Stop {
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(ring) = &*self.ring.lock().unwrap_or_else(PoisonError::into_inner) {
            ring.wake();
        }
    }

    fn set_ring(&self, ring: Option<Arc<Ring>>) {
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = ring;
    }
}

/// Reads the events of a lock.
pub(crate) struct Listener {
    directory: PathBuf,
    mirror: Mirror,
    /// `None` while there is no table.
    joined: Option<Joined>,
    /// The key of the table that the mirror shows.
    key: Option<[u64; 2]>,
    /// What has happened and is not told yet.
    ready: Vec<Event>,
    looked: Instant,
    /// Those that had left by the last look, though nobody had told.
    left: HashSet<Other>,
    has_failed: bool,
    stop: Arc<Stop>,
}

/// A table that is listened to.
struct Joined {
    table: Table,
    ring: Arc<Ring>,
    place: u64,
    /// Since when the place is taken and not written.
    unfinished: Option<Instant>,
}

impl Listener {
    /// Begins to listen, if there is a table.
    pub(crate) fn new(directory: &Path) -> Result<Listener, Error> {
        let mut listener = Listener {
            directory: directory.into(),
            mirror: Mirror::default(),
            joined: None,
            key: None,
            ready: Vec::new(),
            looked: Instant::now(),
            left: HashSet::new(),
            has_failed: false,
            stop: Arc::default(),
        };
        listener.join()?;
        Ok(listener)
    }

    pub(crate) fn stop(&self) -> Arc<Stop> {
        self.stop.clone()
    }

    /// Returns what has happened since the last time. Sleeps until something happens, or for as
    /// long as nothing has to be looked for.
    pub(crate) fn next(&mut self) -> Result<Vec<Event>, Error> {
        if self.stop.is_over.load(Ordering::SeqCst) {
            // The thread is about to hear of it too.
            thread::sleep(WRITE_INTERVAL);
            return Ok(Vec::new());
        }
        let read = if self.joined.is_some() { self.read() } else { self.join() };
        match read {
            Ok(()) => self.has_failed = false,
            // Somebody was stopped with the latch.
            Err(Error::Stuck { .. }) => {}
            Err(error) => {
                self.leave();
                // The first failure is told at once, the next ones not more often than one looks.
                if std::mem::replace(&mut self.has_failed, true) {
                    thread::sleep(LOOK_INTERVAL);
                }
                return Err(error);
            }
        }
        if self.joined.is_none() && self.ready.is_empty() {
            thread::sleep(TABLE_INTERVAL);
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Joins the table, if there is one.
    fn join(&mut self) -> Result<(), Error> {
        let path = self.directory.join(TABLE_NAME);
        if kernel::identify(&path).doing("look for", &path)?.is_none() {
            self.key = None;
            self.ready.extend(self.mirror.clear());
            return Ok(());
        }
        let joined = Joined::new(&self.directory)?;
        self.stop.set_ring(Some(joined.ring.clone()));
        let key = joined.memory().key();
        if self.key.replace(key).is_some_and(|before| before != key) {
            self.ready.extend(self.mirror.clear());
        }
        self.joined = Some(joined);
        let looked = self.look_at_all();
        if looked.is_err() {
            self.leave();
        }
        looked
    }

    fn leave(&mut self) {
        self.stop.set_ring(None);
        self.joined = None;
    }

    /// Compares all that is live with what is known, and goes on with what is told behind that.
    fn look_at_all(&mut self) -> Result<(), Error> {
        let Some(joined) = &mut self.joined else { return Ok(()) };
        let last = joined.enter()?;
        let damaged = |Broken| joined.table.site.damaged();
        let seen = live(joined.memory(), last).map_err(damaged)?;
        joined.bury_dead(seen.iter().map(|seen| seen.own))?;
        let handle = &joined.table.handle;
        let is_live = |seen: &Seen| !handle.has_left(seen.own).unwrap_or(true);
        let seen = seen.into_iter().filter(is_live).collect();
        self.ready.extend(self.mirror.all(seen, last));
        Ok(())
    }

    fn read(&mut self) -> Result<(), Error> {
        if self.looked.elapsed() >= LOOK_INTERVAL {
            self.looked = Instant::now();
            self.look()?;
        }
        for _ in 0..BATCH {
            let Some(joined) = &mut self.joined else { return Ok(()) };
            match joined.ring.read(joined.place) {
                Found::Message(message, next) => {
                    joined.unfinished = None;
                    joined.place = next;
                    self.hear(message);
                }
                Found::Overrun => return self.look_at_all(),
                // What is ready is told first.
                _ if !self.ready.is_empty() => return Ok(()),
                Found::Unfinished => {
                    let since = *joined.unfinished.get_or_insert_with(Instant::now);
                    if since.elapsed() >= WRITE_TIMEOUT {
                        return self.look_at_all();
                    }
                    thread::sleep(WRITE_INTERVAL);
                }
                Found::Nothing => {
                    let is_over = || self.stop.is_over.load(Ordering::SeqCst);
                    joined.ring.sleep(joined.place, self.looked + LOOK_INTERVAL, is_over);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: Message) {
        let Message { kind, ticket, cell, pid, at, payload } = message;
        if kind == Kind::Left {
            self.ready.extend(self.mirror.left(ticket, at));
            return;
        }
        let own = Other { ticket, cell };
        let request = match payload {
            Some(payload) => request::decode(&payload),
            None => self.joined.as_ref().and_then(|joined| joined.long_request(own)),
        };
        match request {
            Some(request) => {
                let seen = Seen { own, request, pid, asked: at, granted: 0 };
                self.ready.extend(self.mirror.asked(seen));
            }
            // It was too long to be told, and has left: the mirror counts it as missed.
            None => self.ready.extend(self.mirror.left(ticket, at)),
        }
    }

    /// Looks for what nobody tells.
    fn look(&mut self) -> Result<(), Error> {
        let Some(joined) = &self.joined else { return Ok(()) };
        let memory = joined.memory();
        if !joined.table.site.is_there()? {
            self.leave();
            return self.join();
        }
        if !memory.is_whole() {
            return Err(joined.table.site.damaged());
        }
        if memory.get(header::RING) != joined.ring.number() || !joined.ring.is_whole() {
            self.leave();
            return self.join();
        }
        joined.bury_dead(self.mirror.live())?;
        let handle = &joined.table.handle;
        let has_left = |other: &Other| handle.has_left(*other).unwrap_or(false);
        // Somebody may have died between leaving and telling. Others tell it before the next look.
        let left: HashSet<Other> = self.mirror.live().filter(has_left).collect();
        let now = kernel::since_boot();
        for other in self.left.intersection(&left) {
            self.ready.extend(self.mirror.left(other.ticket, now));
        }
        self.left = left;
        // Somebody could not open the ring.
        let joined = self.joined.as_ref();
        let is_behind = |joined: &Joined| {
            let last = joined.memory().get(header::TICKET);
            joined.place == joined.ring.head() && last > self.mirror.last()
        };
        if joined.is_some_and(is_behind) { self.look_at_all() } else { Ok(()) }
    }
}

impl Joined {
    fn new(directory: &Path) -> Result<Joined, Error> {
        let end = Some(Instant::now() + LATCH_TIMEOUT);
        let table = file::until_passed(end, || Table::open(directory))?;
        let handle = table.handle.clone();
        // Of two listeners, one begins the ring.
        let new_gate = || Gate::new(&handle.memory.file, handle.path());
        let gate = file::until_passed(end, new_gate)?;
        let number = handle.memory.get(header::RING);
        let known = if number == 0 { None } else { Ring::open(directory, number) };
        let ring = match known {
            Some(ring) => ring,
            None => Ring::begin(directory)?,
        };
        let mut joined = Joined { table, ring: ring.into(), place: 0, unfinished: None };
        joined.enter()?;
        drop(gate);
        Ok(joined)
    }

    fn memory(&self) -> &Memory {
        &self.table.handle.memory
    }

    fn latch(&self) -> Result<Latch<'_>, Error> {
        let handle = &self.table.handle;
        let (memory, pid) = (&handle.memory, handle.site.process());
        let end = Some(Instant::now() + LATCH_TIMEOUT);
        Latch::take(memory, handle.life, pid, end, |life| handle.is_dead(life)).ok_or_else(|| {
            let process = latch::holder(memory).map(|(_, pid)| pid);
            Error::Stuck { path: handle.path().into(), process }
        })
    }

    /// Enters the listener, and goes to the end of the ring. Returns the last ticket before that.
    fn enter(&mut self) -> Result<u64, Error> {
        let latch = self.latch()?;
        let Handle { memory, life, .. } = &*self.table.handle;
        let is_dead = |life| self.table.handle.is_dead(life);
        if !listeners::enter(memory, *life, self.ring.number(), is_dead) {
            let source = io::Error::new(ErrorKind::ResourceBusy, "there are 32 listeners already");
            let path = self.table.site.path().into();
            return Err(Error::Io { doing: "listen to the events of", path, source });
        }
        let (place, last) = (self.ring.head(), memory.get(header::TICKET));
        drop(latch);
        (self.place, self.unfinished) = (place, None);
        Ok(last)
    }

    /// Lets those of some requests leave whose owners are dead.
    fn bury_dead(&self, others: impl Iterator<Item = Other>) -> Result<(), Error> {
        let handle = &self.table.handle;
        let damaged = |Broken| self.table.site.damaged();
        let mut lives = Vec::new();
        let mut found = Vec::new();
        for other in others {
            let cell = handle.memory.cell(other.cell).map_err(damaged)?;
            lives.extend(cell.lives().into_iter().filter(|life| *life != handle.life));
            found.push((other, cell.lives()));
        }
        let living = life::living(&handle.memory.file, handle.path(), lives)?;
        let is_dead = |life: &u64| *life != handle.life && living.binary_search(life).is_err();
        for (other, _) in found.iter().filter(|(_, lives)| lives.iter().all(is_dead)) {
            handle.bury(*other).map_err(damaged)?;
        }
        Ok(())
    }

    /// Reads a request that is too long to be told, if it is still live.
    fn long_request(&self, own: Other) -> Option<treelock::Request> {
        let record = Record::read(self.memory(), own.cell).ok()??;
        (record.stamp.ticket == own.ticket && !record.damaged).then_some(record.request)
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // If somebody was stopped with the latch, its place is taken back like that of the dead.
        if self.table.site.is_own()
            && let Ok(_latch) = self.latch()
        {
            let own = self.table.handle.life;
            listeners::forget(self.memory(), |life| life == own);
        }
    }
}

/// Returns the requests that have not left, of those up to a ticket, the earliest first.
fn live(memory: &Memory, last: u64) -> Result<Vec<Seen>, Broken> {
    let cells = layout::cells(memory.chunk_count()?);
    let end = cells.min(memory.get(header::CELLS_USED) as usize);
    let mut all = Vec::new();
    for cell in 0..end {
        let record = Record::read_if(memory, cell, |ticket, _| ticket <= last)?;
        all.extend(record.map(|Record { stamp, request, .. }| Seen {
            own: Other { ticket: stamp.ticket, cell },
            request,
            pid: stamp.pid,
            asked: stamp.asked,
            granted: stamp.granted,
        }));
    }
    all.sort_unstable_by_key(|seen| seen.own.ticket);
    Ok(all)
}
