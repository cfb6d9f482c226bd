//! Who waits for which ticket to leave.
//!
//! A ticket of this process says so itself when it leaves. For a ticket of another process, a
//! thread blocks on its byte; the kernel wakes the thread when the byte is unlocked, by a release
//! or by death. There is one thread for each foreign ticket that anybody here has waited for,
//! however many wait. A blocked `fcntl` cannot be called back, so the thread stays until the ticket
//! leaves, even if nobody waits for it any more.

use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
};

use treelock::engine::wake_all;

use crate::kernel::{self, Kind};

/// The tickets of one table that are watched.
pub(crate) struct Watches {
    /// The open file description by which the threads wait. Nobody needs to inherit their locks.
    file: File,
    /// A ticket is here if it belongs to this process, or if a thread blocks on it.
    tickets: Mutex<HashMap<u64, Wakers>>,
}

/// Whom to wake, by the tickets of the waiters.
type Wakers = HashMap<u64, Waker>;

impl Watches {
    pub(crate) fn new(file: File) -> Watches {
        Watches { file, tickets: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Wakers>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a ticket of this process, which will say when it leaves. Others may have found it in
    /// the table already, and wait for it as for a foreign one.
    pub(crate) fn enter(&self, ticket: u64) {
        self.lock().entry(ticket).or_default();
    }

    /// Wakes whoever waited for a ticket that has left, once the mutex is free (C9).
    pub(crate) fn gone(&self, ticket: u64) {
        let left = self.lock().remove(&ticket);
        wake_all(left.into_iter().flat_map(Wakers::into_values), || ());
    }

    /// Forgets a waiter. Its waker is dropped once the mutex is free (C9).
    pub(crate) fn leave(&self, ticket: u64, waiter: u64) {
        let waker = self.lock().get_mut(&ticket).and_then(|wakers| wakers.remove(&waiter));
        drop(waker);
    }

    /// Has `waker` called when `ticket` has left. Look at the ticket once more after this, since it
    /// may have left just before.
    ///
    /// # Errors
    ///
    /// If a thread is needed and cannot be started.
    pub(crate) fn watch(
        self: &Arc<Watches>,
        ticket: u64,
        waiter: u64,
        waker: &Waker,
    ) -> io::Result<()> {
        let waker = waker.clone();
        let (known, old) = {
            let mut tickets = self.lock();
            let known = tickets.contains_key(&ticket);
            (known, tickets.entry(ticket).or_default().insert(waiter, waker))
        };
        drop(old);
        if known {
            return Ok(());
        }
        let watches = self.clone();
        let thread = thread::Builder::new().name("treelock-watch".into());
        let spawned = thread.spawn(move || watches.block_on(ticket));
        // Who else began to wait in between is woken to find the same error.
        spawned.map(drop).inspect_err(|_| self.gone(ticket))
    }

    /// Does the thread's work. All threads share one description: what they lock are shared locks,
    /// and nobody else ever locks the byte of a ticket that has left.
    fn block_on(&self, ticket: u64) {
        // If the kernel has no memory for the lock, those who wait are woken, look, and ask again.
        if kernel::lock(&self.file, ticket, Kind::Shared).is_ok() {
            kernel::unlock(&self.file, ticket);
        } else {
            thread::yield_now();
        }
        self.gone(ticket);
    }
}
