//! Waiting for requests to leave.
//!
//! Who leaves rings the bells of those who wait for it: see [`handle`](crate::handle). A thread
//! that waits sleeps on the bell itself. For futures, one thread listens to the bell, looks which
//! of the watched requests have left, and calls their wakers. It ends when there has been nothing
//! to watch for a second.
//!
//! # Death
//!
//! Who dies rings no bell. So the kernel is asked now and then whether the life that a request
//! depends on goes on. In a long wait, a thread blocks on the byte of the life instead, and the
//! kernel wakes the thread when the life ends. There is one thread for a life, however many
//! requests are waited for. A blocked `fcntl` cannot be cancelled without a signal, and signals
//! belong to the program; so the thread stays until the life ends, even if nothing waits any more.
//! Therefore the number of threads is limited. Beyond the limit, or if no thread can be started,
//! the kernel is asked again and again.

use std::{
    collections::{HashMap, HashSet},
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use treelock::engine::wake_all;

use crate::{
    futex::{self, ANY},
    handle::Handle,
    kernel::{self, Kind},
    ledger::Other,
    memory::Broken,
};

/// Most waits are shorter than this. In longer ones, the kernel is asked about the life that is
/// waited for, each time that this has passed.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// In waits that are longer than this, a thread blocks on the life.
const GRACE: Duration = Duration::from_secs(1);

/// How often those look who are woken by whoever leaves. If the table was cut, nobody can ring.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How many threads may block on lives.
const BLOCKED_THREADS_MAX: usize = 64;

/// After what time a request is tried again for which there was no latch.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// How long the listener stays when there is nothing to watch.
const IDLE: Duration = Duration::from_secs(1);

/// The requests of other handles, and of this one, that are waited for.
pub(crate) struct Watches {
    handle: Arc<Handle>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    others: HashMap<Other, Entry>,
    listening: bool,
    closed: bool,
    /// The lives on which threads block.
    lives: HashSet<u64>,
}

struct Entry {
    /// By the tickets of the waiters.
    wakers: HashMap<u64, Waker>,
    since: Instant,
}

impl Watches {
    pub(crate) fn new(handle: Arc<Handle>) -> Watches {
        Watches { handle, watched: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the listener. Those who wait for nothing any more cannot notice.
    pub(crate) fn close(&self) {
        let listens = {
            let mut watched = self.lock();
            watched.closed = true;
            watched.listening
        };
        if listens {
            self.handle.ring_own();
        }
    }

    /// Blocks the thread until a request has left. Returns false at the deadline, if there is one.
    pub(crate) fn sleep(
        self: &Arc<Watches>,
        other: Other,
        deadline: Option<Instant>,
    ) -> Result<bool, Broken> {
        let handle = &self.handle;
        let start = Instant::now();
        handle.wait_for(other)?;
        loop {
            let seen = handle.bell().load(Ordering::SeqCst);
            if handle.has_left(other)? {
                return Ok(true);
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(false);
            }
            let check = self.next_check(other, start, now)?;
            let until = Some(deadline.map_or(check, |deadline| deadline.min(check)));
            if !handle.has_left(other)? {
                futex::wait(handle.bell(), seen, Handle::kind(other.cell), until);
            }
        }
    }

    /// Returns when a request that has been waited for since `start` is to be looked at again. Sees
    /// to its life, itself or by a thread. Lets the request leave if its owner is dead.
    fn next_check(
        self: &Arc<Watches>,
        other: Other,
        start: Instant,
        now: Instant,
    ) -> Result<Instant, Broken> {
        if now >= start + GRACE && self.is_guarded(other)? {
            return Ok(now + LOOK_INTERVAL);
        }
        if now >= start + POLL_INTERVAL {
            self.handle.bury(other)?;
        }
        Ok(now + POLL_INTERVAL)
    }

    /// Returns whether the bell will be rung when the owner of a request dies. Otherwise ask again
    /// after a while. Lets the request leave if its owner is dead already.
    fn is_guarded(self: &Arc<Watches>, other: Other) -> Result<bool, Broken> {
        let [owner, heir] = self.handle.memory.cell(other.cell)?.lives();
        // Our own end ends the waiting, too.
        if owner == self.handle.life || self.lock().lives.contains(&owner) {
            return Ok(true);
        }
        self.handle.bury(other)?;
        // An owner that is dead may have left without ringing; then the request has left.
        let life = if heir != 0 && self.handle.is_dead(owner) { heir } else { owner };
        let mut watched = self.lock();
        if self.handle.has_left(other)? || watched.lives.len() >= BLOCKED_THREADS_MAX {
            return Ok(false);
        }
        if !watched.lives.insert(life) {
            return Ok(true);
        }
        drop(watched);
        let watches = self.clone();
        let thread = thread::Builder::new().name("treelock-watch".into());
        let started = thread.spawn(move || watches.block_on(life)).is_ok();
        if !started {
            self.lock().lives.remove(&life);
        }
        Ok(started)
    }

    /// Does the work of a thread that blocks. All threads share one description. They take shared
    /// locks, and nothing else ever locks the byte of a life that has ended.
    fn block_on(&self, life: u64) {
        // If the kernel has no memory for the lock, the waiters are woken, and ask again.
        if kernel::lock(&self.handle.memory.file, life, Kind::Shared).is_ok() {
            kernel::unlock(&self.handle.memory.file, life);
        } else {
            thread::sleep(POLL_INTERVAL);
        }
        self.lock().lives.remove(&life);
        let bell = self.handle.bell();
        bell.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(bell, ANY);
    }

    /// Arranges for `waker` to be called when a request has left. Check it once more after this,
    /// since it may have left just before.
    ///
    /// # Errors
    ///
    /// Fails if a thread is needed and cannot be started.
    pub(crate) fn watch(
        self: &Arc<Watches>,
        other: Other,
        waiter: u64,
        waker: &Waker,
    ) -> io::Result<()> {
        let waker = waker.clone();
        // If the cell cannot be had, the next check says so.
        let _ = self.handle.wait_for(other);
        let mut watched = self.lock();
        let entry = || Entry { wakers: HashMap::new(), since: Instant::now() };
        let entry = watched.others.entry(other).or_insert_with(entry);
        let old = entry.wakers.insert(waiter, waker);
        let is_new = old.is_none();
        let listens = mem::replace(&mut watched.listening, true);
        drop(watched);
        drop(old);
        if !listens {
            return self.listen().inspect_err(|_| {
                let mut watched = self.lock();
                watched.listening = false;
                let all = mem::take(&mut watched.others);
                drop(watched);
                // Those who have begun to wait meanwhile are woken, to find the same error.
                wake_all(all.into_values().flat_map(|entry| entry.wakers.into_values()), || ());
            });
        }
        if is_new {
            self.handle.ring_own();
        }
        Ok(())
    }

    /// Forgets a waiter. Its waker is dropped once the mutex is free (C9).
    pub(crate) fn leave(&self, other: Other, waiter: u64) {
        let mut watched = self.lock();
        let Some(entry) = watched.others.get_mut(&other) else { return };
        let waker = entry.wakers.remove(&waiter);
        if entry.wakers.is_empty() {
            watched.others.remove(&other);
        }
        drop(watched);
        drop(waker);
    }

    /// Wakes those who waited for a request that has left, once the mutex is free (C9).
    fn gone(&self, other: Other) {
        let left = self.lock().others.remove(&other);
        wake_all(left.into_iter().flat_map(|entry| entry.wakers.into_values()), || ());
    }

    /// Starts the thread that listens.
    fn listen(self: &Arc<Watches>) -> io::Result<()> {
        let watches = self.clone();
        let thread = thread::Builder::new().name("treelock-listen".into());
        thread.spawn(move || while watches.listen_once() {}).map(drop)
    }

    /// Looks which requests have left, and sleeps until the bell is rung. Returns false when there
    /// has been nothing to watch for a while; then the listener is forgotten.
    fn listen_once(self: &Arc<Watches>) -> bool {
        let bell = self.handle.bell();
        let seen = bell.load(Ordering::SeqCst);
        let watched = self.lock();
        let all: Vec<(Other, Instant)> =
            watched.others.iter().map(|(other, entry)| (*other, entry.since)).collect();
        if all.is_empty() {
            let closed = watched.closed;
            drop(watched);
            return !closed && self.idle(seen);
        }
        drop(watched);
        let now = Instant::now();
        let mut until = None;
        for (other, since) in all {
            // If something is wrong with the cell, the waiter finds out.
            let check = self.next_check(other, since, now).unwrap_or(now);
            until = until.into_iter().chain([check]).min();
            if self.handle.has_left(other).unwrap_or(true) {
                // If a waker panics, the panic has been reported already.
                let _ = catch_unwind(AssertUnwindSafe(|| self.gone(other)));
            }
        }
        futex::wait(bell, seen, ANY, until);
        true
    }

    /// Waits for something to watch. Returns whether there may be something.
    fn idle(&self, seen: u32) -> bool {
        let end = Instant::now() + IDLE;
        futex::wait(self.handle.bell(), seen, ANY, Some(end));
        let mut watched = self.lock();
        watched.listening = Instant::now() < end || !watched.others.is_empty();
        watched.listening
    }

    /// Arranges for `waker` to be called after a moment.
    ///
    /// # Errors
    ///
    /// Fails if no thread can be started.
    pub(crate) fn retry_later(waker: &Waker) -> io::Result<()> {
        let waker = waker.clone();
        let thread = thread::Builder::new().name("treelock-retry".into());
        let wake = move || {
            thread::sleep(RETRY_INTERVAL);
            waker.wake();
        };
        thread.spawn(wake).map(drop)
    }
}
