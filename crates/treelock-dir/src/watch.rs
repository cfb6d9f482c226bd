//! Who waits for which ticket to leave.
//!
//! A ticket of this process says so itself when it leaves. For a ticket of another process a thread blocks
//! on its byte, and the kernel wakes the thread when the byte is unlocked, by a release or by death: one
//! thread for each foreign ticket that somebody here waited for, however many do. A blocked `fcntl` cannot
//! be called back, so the thread stays until that ticket leaves, also when nobody waits any more.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
};

use crate::{
    kernel::{self, Kind},
    table::Table,
};

#[derive(Default)]
pub(crate) struct Watches(Mutex<HashMap<u64, Watch>>);

/// A ticket that is watched: one of this process, or one that a thread blocks on.
#[derive(Default)]
struct Watch {
    /// Whom to wake, by the tickets of the waiters.
    wakers: HashMap<u64, Waker>,
}

impl Watches {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enter a ticket of this process, which will say when it leaves. Others may have come upon it in the
    /// table already, and wait for it as for a foreign one.
    pub(crate) fn enter(&self, ticket: u64) {
        self.lock().entry(ticket).or_default();
    }

    /// A ticket has left: wake whoever waited for it, when the mutex is free (C9).
    pub(crate) fn gone(&self, ticket: u64) {
        let left = self.lock().remove(&ticket);
        wake_all(left.into_iter().flat_map(|watch| watch.wakers.into_values()));
    }

    /// Whoever waits here wakes no more. Its waker is dropped when the mutex is free.
    pub(crate) fn leave(&self, ticket: u64, waiter: u64) {
        let waker = self.lock().get_mut(&ticket).and_then(|watch| watch.wakers.remove(&waiter));
        drop(waker);
    }
}

/// Wake all, also when a waker of a user's panics: its panic goes on when all are woken, unless one is under
/// way already.
pub(crate) fn wake_all(wakers: impl Iterator<Item = Waker>) {
    let mut panicked = None;
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panicked.get_or_insert(payload);
        }
    }
    if let Some(payload) = panicked
        && !thread::panicking()
    {
        resume_unwind(payload);
    }
}

impl Table {
    /// Have `waker` called when `ticket` has left. It must be looked at once more after this, since it may
    /// have left just before.
    pub(crate) fn watch(
        self: &Arc<Table>,
        ticket: u64,
        waiter: u64,
        waker: &Waker,
    ) -> io::Result<()> {
        let waker = waker.clone();
        let (known, old) = {
            let mut watches = self.watches.lock();
            let known = watches.contains_key(&ticket);
            (known, watches.entry(ticket).or_default().wakers.insert(waiter, waker))
        };
        drop(old);
        if known {
            return Ok(());
        }
        let table = self.clone();
        let thread = thread::Builder::new().name("treelock-watch".into());
        let spawned = thread.spawn(move || table.block_on(ticket));
        // Who else began to wait in between is woken to find the same error.
        spawned.map(drop).inspect_err(|_| self.watches.gone(ticket))
    }

    /// The thread's work. All threads share one description: what they lock are shared locks, and
    /// nobody else ever locks the byte of a ticket that has left.
    fn block_on(&self, ticket: u64) {
        // If the kernel has no memory for the lock, those who wait are woken, look, and ask again.
        if kernel::lock(&self.file, ticket, Kind::Shared).is_ok() {
            kernel::unlock(&self.file, ticket);
        } else {
            thread::yield_now();
        }
        self.watches.gone(ticket);
    }
}
