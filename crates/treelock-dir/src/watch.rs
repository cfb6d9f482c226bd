//! Waiting for tickets to leave.
//!
//! A ticket of this process reports itself when it leaves. For a ticket of another process, a
//! thread blocks on its byte, and the kernel wakes the thread when the byte is unlocked, by a
//! release or by death. There is one thread for such a ticket, however many requests wait for it.
//!
//! A blocked `fcntl` cannot be cancelled without a signal, and signals belong to the program. So a
//! thread stays until its ticket leaves, even if nothing waits for it any more. Therefore the
//! number of threads is limited. Beyond the limit, a single thread queries all further tickets
//! again and again, the less often the longer they have been waited for. When a thread ends, one of
//! these tickets gets a thread.

use std::{
    collections::HashMap,
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use treelock::engine::wake_all;

use crate::kernel::{self, Kind};

/// How many threads may block on tickets of other processes.
const BLOCKED_THREADS_MAX: usize = 64;

/// A ticket that is polled is queried when this part of the time that it has been waited for has
/// passed again, within these limits.
const POLL_DIVISOR: u32 = 16;
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(1);
const POLL_INTERVAL_MAX: Duration = Duration::from_millis(50);

/// Polling takes at most one part in this many of a processor's time.
const POLL_REST: u32 = 8;

/// The tickets of one table that are watched.
pub(crate) struct Watches {
    /// The open file description on which the threads wait. Their locks need not be inherited.
    file: File,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    tickets: HashMap<u64, Ticket>,
    /// How many threads block on tickets.
    blocked_threads: usize,
    /// The thread that polls, if there is one.
    poller: Option<Thread>,
}

struct Ticket {
    wakers: Wakers,
    watch: Watch,
}

/// The wakers to call, by the tickets of the waiters.
type Wakers = HashMap<u64, Waker>;

/// How it is noticed that a ticket leaves.
#[derive(Clone, Copy)]
enum Watch {
    /// It belongs to this process and reports itself.
    Own,
    /// A thread blocks on it.
    Blocked,
    /// It is queried since this time.
    Polled(Instant),
}

impl Watches {
    pub(crate) fn new(file: File) -> Watches {
        Watches { file, watched: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a ticket of this process, which will report when it leaves. Other requests may
    /// already have found it in the table and be waiting for it as for a foreign one.
    pub(crate) fn enter(&self, ticket: u64) {
        let own = || Ticket { wakers: Wakers::new(), watch: Watch::Own };
        let mut watched = self.lock();
        let entry = watched.tickets.entry(ticket).or_insert_with(own);
        if let Watch::Polled(_) = entry.watch {
            entry.watch = Watch::Own;
        }
    }

    /// Wakes the requests that waited for a ticket that has left, once the mutex is free (C9).
    pub(crate) fn gone(&self, ticket: u64) {
        let left = self.lock().tickets.remove(&ticket);
        let wakers = left.into_iter().flat_map(|ticket| ticket.wakers.into_values());
        wake_all(wakers, || ());
    }

    /// Forgets a waiter. Its waker is dropped once the mutex is free (C9).
    pub(crate) fn leave(&self, ticket: u64, waiter: u64) {
        let mut watched = self.lock();
        let Some(entry) = watched.tickets.get_mut(&ticket) else { return };
        let waker = entry.wakers.remove(&waiter);
        if let (Watch::Polled(_), true) = (entry.watch, entry.wakers.is_empty()) {
            watched.tickets.remove(&ticket);
        }
        drop(watched);
        drop(waker);
    }

    /// Arranges for `waker` to be called when `ticket` has left. Check the ticket once more after
    /// this, since it may have left just before.
    ///
    /// # Errors
    ///
    /// Fails if a thread is needed and cannot be started.
    pub(crate) fn watch(
        self: &Arc<Watches>,
        ticket: u64,
        waiter: u64,
        waker: &Waker,
    ) -> io::Result<()> {
        let waker = waker.clone();
        let mut watched = self.lock();
        if let Some(known) = watched.tickets.get_mut(&ticket) {
            let old = known.wakers.insert(waiter, waker);
            drop(watched);
            drop(old);
            return Ok(());
        }
        let blocks = watched.blocked_threads < BLOCKED_THREADS_MAX;
        let watch = if blocks { Watch::Blocked } else { Watch::Polled(Instant::now()) };
        let wakers = Wakers::from([(waiter, waker)]);
        watched.tickets.insert(ticket, Ticket { wakers, watch });
        let started = if blocks {
            watched.blocked_threads += 1;
            drop(watched);
            self.start_to_block(ticket)
        } else {
            self.start_to_poll(watched)
        };
        // Any request that started to wait in the meantime is woken, to find the same error.
        started.inspect_err(|_| self.gone(ticket))
    }

    /// Starts a thread that has been counted already.
    fn start_to_block(self: &Arc<Watches>, ticket: u64) -> io::Result<()> {
        let watches = self.clone();
        let thread = thread::Builder::new().name("treelock-watch".into());
        let spawned = thread.spawn(move || watches.block_on(ticket));
        spawned.map(drop).inspect_err(|_| self.lock().blocked_threads -= 1)
    }

    /// Does the work of a thread that blocks. All threads share one description. They take shared
    /// locks, and nothing else ever locks the byte of a ticket that has left.
    fn block_on(&self, ticket: u64) {
        // If the kernel has no memory for the lock, the waiters are woken, check, and ask again.
        if kernel::lock(&self.file, ticket, Kind::Shared).is_ok() {
            kernel::unlock(&self.file, ticket);
        } else {
            thread::yield_now();
        }
        let poller = {
            let mut watched = self.lock();
            watched.blocked_threads -= 1;
            watched.poller.clone()
        };
        // One of its tickets can have a thread now.
        if let Some(poller) = poller {
            poller.unpark();
        }
        self.gone(ticket);
    }

    /// Starts the thread that polls, or lets it look at a new ticket.
    fn start_to_poll(self: &Arc<Watches>, mut watched: MutexGuard<'_, Watched>) -> io::Result<()> {
        if let Some(poller) = &watched.poller {
            poller.unpark();
            return Ok(());
        }
        let watches = self.clone();
        let thread = thread::Builder::new().name("treelock-poll".into());
        // It waits for the mutex, so it is known before it can end.
        let spawned = thread.spawn(move || watches.poll())?;
        watched.poller = Some(spawned.thread().clone());
        Ok(())
    }

    /// Does the work of the thread that polls, until there is nothing left to poll.
    fn poll(self: &Arc<Watches>) {
        while let Some(polled) = self.polled() {
            let start = Instant::now();
            let mut rest = POLL_INTERVAL_MAX;
            for (ticket, since) in polled {
                // After an error the waiters check, and find the same error.
                if matches!(kernel::locked(&self.file, ticket, ticket), Ok(Some(_))) {
                    rest = rest.min(since.elapsed() / POLL_DIVISOR);
                } else {
                    self.gone_quietly(ticket);
                }
            }
            thread::park_timeout(rest.max(POLL_INTERVAL_MIN).max(POLL_REST * start.elapsed()));
        }
    }

    /// Does the same as [`gone`](Watches::gone) for a thread that must go on. If a waker panics,
    /// the panic has been reported already.
    fn gone_quietly(&self, ticket: u64) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.gone(ticket)));
    }

    /// Returns the tickets to poll, each with the time since when it has been polled. Gives those
    /// of them threads for which there are some. Returns `None`, and the thread that polls is
    /// forgotten, if there is nothing to poll.
    fn polled(self: &Arc<Watches>) -> Option<Vec<(u64, Instant)>> {
        let mut watched = self.lock();
        let since = |(ticket, entry): (&u64, &Ticket)| match entry.watch {
            Watch::Polled(since) => Some((*ticket, since)),
            Watch::Own | Watch::Blocked => None,
        };
        let mut polled: Vec<(u64, Instant)> = watched.tickets.iter().filter_map(since).collect();
        let mut blocked = Vec::new();
        while watched.blocked_threads < BLOCKED_THREADS_MAX
            && let Some((ticket, _)) = polled.pop()
        {
            watched.blocked_threads += 1;
            watched.tickets.entry(ticket).and_modify(|entry| entry.watch = Watch::Blocked);
            blocked.push(ticket);
        }
        if polled.is_empty() {
            watched.poller = None;
        }
        drop(watched);
        for ticket in blocked {
            // Without a thread the waiters check, and ask for one again.
            if self.start_to_block(ticket).is_err() {
                self.gone_quietly(ticket);
            }
        }
        (!polled.is_empty()).then_some(polled)
    }
}
