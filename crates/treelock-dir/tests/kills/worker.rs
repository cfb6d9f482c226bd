//! A worker: makes requests, waits, holds, gives up and releases as fast as it can.

use std::{
    error::Error,
    io::{Write, stderr},
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use fastrand::Rng;
use treelock::{Request, State, Wait};
use treelock_dir::{DirLock, Guard};

use crate::marks::{Counts, Marks, PLACES, Stay};

/// The nodes that everybody wants.
const NODES: [&str; 7] = ["/", "a", "b", "a/x", "a/y", "b/x", "b/y"];

/// What the herd tells a worker.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) folder: PathBuf,
    /// How many workers there are.
    pub(crate) workers: usize,
    pub(crate) row: usize,
    pub(crate) number: u64,
    /// How long a request may wait with nobody in its way.
    pub(crate) limit: Duration,
    /// Whether to lock at all.
    pub(crate) locks: bool,
}

impl Told {
    pub(crate) fn words(&self) -> [String; 6] {
        [
            self.folder.display().to_string(),
            self.workers.to_string(),
            self.row.to_string(),
            self.number.to_string(),
            self.limit.as_millis().to_string(),
            self.locks.to_string(),
        ]
    }

    pub(crate) fn from_words(words: &[String]) -> Result<Told, Box<dyn Error>> {
        let [folder, workers, row, number, limit, locks] = words else {
            return Err(format!("a worker was started with {words:?}").into());
        };
        Ok(Told {
            folder: folder.into(),
            workers: workers.parse()?,
            row: row.parse()?,
            number: number.parse()?,
            limit: Duration::from_millis(limit.parse()?),
            locks: locks.parse()?,
        })
    }

    pub(crate) fn lock(&self) -> DirLock {
        DirLock::new(self.folder.join("locks"))
    }

    pub(crate) fn marks(&self) -> std::io::Result<Marks> {
        Marks::open(&self.folder.join("marks"), self.workers)
    }
}

/// A worker at work.
struct Worker {
    told: Told,
    lock: DirLock,
    marks: Marks,
    random: Rng,
    counts: Counts,
}

/// Works until the marks say to stop.
pub(crate) fn work(told: Told) -> Result<(), Box<dyn Error>> {
    let (lock, marks) = (told.lock(), told.marks()?);
    marks.leave(told.row)?;
    let counts = marks.counted(told.row)?;
    let random = Rng::with_seed(told.number);
    let mut worker = Worker { told, lock, marks, random, counts };
    while !worker.marks.stop()? {
        worker.turn()?;
        worker.marks.count(worker.told.row, &worker.counts)?;
    }
    Ok(())
}

impl Worker {
    /// Makes one request, and enters if it is granted.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let (request, stay) = self.wish()?;
        self.counts.requests += 1;
        if !self.told.locks {
            return self.stay(&stay, None);
        }
        if self.random.u8(..) < 8 {
            // A handle that has nothing open yet.
            self.lock = self.told.lock();
        }
        if let Some(guard) = self.ask(&request)? {
            self.counts.grants += 1;
            self.stay(&stay, Some(&guard))?;
        }
        Ok(())
    }

    /// Returns a random request, and where it allows to be.
    fn wish(&mut self) -> Result<(Request, Stay), Box<dyn Error>> {
        let (mut request, mut stay) = (Request::new(), Stay::default());
        for _ in 0..self.random.usize(1..4) {
            let (node, writes) = (NODES[self.random.usize(..NODES.len())], self.random.bool());
            request = if writes { request.write(node)? } else { request.read(node)? };
            for (place, own) in PLACES.iter().zip(&mut stay) {
                if node == "/" || place.starts_with(node) {
                    *own = Some(writes || *own == Some(true));
                }
            }
        }
        // Names that come and go, sometimes many at once, and records of several cells.
        let many = if self.random.u8(..) < 8 { 200 } else { self.random.usize(0..3) };
        for _ in 0..many {
            request = request.read(&*format!("c/{}/d", self.random.u16(..)))?;
        }
        if self.random.u8(..) < 32 {
            request = request.with_label("label ".repeat(150));
        }
        Ok((request, stay))
    }

    /// Makes a request in a random way, and perhaps gives up.
    fn ask(&mut self, request: &Request) -> Result<Option<Guard>, Box<dyn Error>> {
        match self.random.u8(0..4) {
            0 => granted(self.lock.try_acquire(request).wait()),
            1 => {
                let mut acquire = self.lock.acquire(request);
                match acquire.wait_timeout(Duration::from_micros(self.random.u64(..300))) {
                    Some(guard) => Ok(Some(guard?)),
                    None if self.random.bool() => Ok(None),
                    None => granted(acquire.give_up().wait()),
                }
            }
            2 => {
                let mut acquire = self.lock.acquire(request);
                for _ in 0..self.random.u8(..4) {
                    let context = &mut Context::from_waker(Waker::noop());
                    if let Poll::Ready(guard) = Pin::new(&mut acquire).poll(context) {
                        return Ok(Some(guard?));
                    }
                }
                Ok(None)
            }
            _ => self.wait(request),
        }
    }

    /// Waits for a grant. Polls only when it is woken, since a poll would make up for a wake-up
    /// that was lost.
    fn wait(&mut self, request: &Request) -> Result<Option<Guard>, Box<dyn Error>> {
        let start = Instant::now();
        let bell = Arc::new(Bell { thread: thread::current(), rings: AtomicBool::new(false) });
        let waker = Waker::from(bell.clone());
        let mut acquire = self.lock.acquire(request);
        loop {
            if let Poll::Ready(guard) =
                Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker))
            {
                let waited = start.elapsed().as_micros() as u64;
                self.counts.longest_wait = self.counts.longest_wait.max(waited);
                return Ok(Some(guard?));
            }
            let mut woken = bell.wait(self.told.limit);
            while !woken {
                let snapshot = self.lock.snapshot().wait()?;
                let ticket = acquire.ticket();
                let own = snapshot.entries.iter().find(|entry| Some(entry.ticket) == ticket);
                let is_free = own.is_none_or(|own| own.state == State::Held);
                // It may have become free a moment ago.
                woken = bell.wait(self.told.limit);
                if is_free && !woken {
                    self.counts.lost_wake_ups += 1;
                    let who = self.told.number;
                    eprintln!("worker {who} sleeps, with nobody in its way: {request}\n{snapshot}");
                    return Ok(None);
                }
            }
        }
    }

    /// Is in its places for a moment.
    fn stay(&mut self, stay: &Stay, guard: Option<&Guard>) -> Result<(), Box<dyn Error>> {
        let Told { row, number, .. } = self.told;
        for (other, place) in self.marks.enter(row, number, stay)? {
            self.counts.overlaps += 1;
            if guard.is_some() {
                // In one piece, since several may write at once.
                let what = format!("workers {number} and {other} were in {place} together\n");
                stderr().write_all(what.as_bytes())?;
            }
        }
        let mut aside = None;
        if let Some(guard) = guard {
            let stale = self.marks.pass_token(stay, guard.token().get())?;
            self.counts.stale_tokens += stale;
            if self.random.u8(..) < 32 {
                // A handle with two tickets. A try never waits, so nobody can be deadlocked.
                let request = Request::new().write(&*format!("aside/{row}"))?;
                aside = granted(self.lock.try_acquire(&request).wait())?;
            }
        }
        (0..self.random.u32(..2000)).for_each(|_| std::hint::spin_loop());
        drop(aside);
        Ok(self.marks.leave(row)?)
    }
}

/// Wakes a thread.
struct Bell {
    thread: Thread,
    rings: AtomicBool,
}

impl Bell {
    /// Waits until it rings, or for this long. Returns whether it has rung.
    fn wait(&self, limit: Duration) -> bool {
        let start = Instant::now();
        while !self.rings.swap(false, Ordering::AcqRel) {
            let Some(left) = limit.checked_sub(start.elapsed()) else { return false };
            thread::park_timeout(left);
        }
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Returns the guard, or nothing if others were in the way.
fn granted(answer: Result<Guard, treelock_dir::Error>) -> Result<Option<Guard>, Box<dyn Error>> {
    match answer {
        Ok(guard) => Ok(Some(guard)),
        Err(error) if error.blocked().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
