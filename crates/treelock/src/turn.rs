//! A live request of one handle, waiting or held: [`Turn`]. Holders and waiters leave the lock in
//! the same way, by dropping it.

use std::{
    mem,
    task::Waker,
    time::{SystemTime, UNIX_EPOCH},
};

use coarsetime::Instant;

use crate::{
    arena::Slot,
    blocked::Blocked,
    event,
    fence::FencingToken,
    request::Request,
    sync::{Arc, Mutex, lock},
    table::{Granted, LockTable},
    wake::wake_all,
};

/// What all handles of one lock share.
pub(crate) struct Shared {
    table: Mutex<LockTable>,
    /// The token of ticket 0.
    first_token: u64,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        // The resource outlives this process, so tokens must keep growing from one process to the
        // next. Starting at the time in nanoseconds does that, since no lock grants more than one
        // request per nanosecond.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let table = LockTable::new(Instant::now_without_cache_update);
        Shared { table: Mutex::new(table), first_token: since_1970.as_nanos() as u64 }
    }

    /// Runs `work` on the table. `work` must not run any user code (C9).
    #[inline(always)]
    pub(crate) fn table<R>(&self, work: impl FnOnce(&mut LockTable) -> R) -> R {
        work(&mut lock(&self.table))
    }
}

/// A live request of this handle, waiting or held. Dropping it gives back whatever it has and lets
/// the requests behind it proceed, in one step (C10).
pub(crate) struct Turn {
    shared: Arc<Shared>,
    id: Slot,
    ticket: u64,
    request: Request,
}

impl Turn {
    /// Takes a place in the order of arrival. Returns it, and whether it was granted at once.
    #[inline]
    pub(crate) fn ask(shared: Arc<Shared>, request: Request) -> (Turn, bool) {
        request.prepare();
        let (id, ticket, granted) = shared.table(|table| table.enqueue(request.clone()));
        let turn = Turn { shared, id, ticket, request };
        if !granted {
            event::waiting(&turn.request);
        }
        (turn, granted)
    }

    /// Takes a place in the order of arrival if nothing is in the way; otherwise returns the
    /// blocker.
    pub(crate) fn attempt(shared: &Arc<Shared>, request: &Request) -> Result<Turn, Blocked> {
        request.prepare();
        let (entered, _left) = shared.table(|table| {
            let (id, ticket, _) = table.enqueue(request.clone());
            match table.why_waiting(id) {
                None => (Ok((id, ticket)), None),
                // It was the last in every queue, so nothing waits for it and nothing is granted.
                Some(blocked) => (Err(blocked), Some(table.leave(id, &mut Granted::default()))),
            }
        });
        let (id, ticket) = entered?;
        Ok(Turn { shared: shared.clone(), id, ticket, request: request.clone() })
    }

    /// Returns the request that would be in the way of `request` if it were made now.
    pub(crate) fn look(shared: &Shared, request: &Request) -> Option<Blocked> {
        request.prepare();
        let (blocked, _left) = shared.table(|table| {
            let (id, ..) = table.enqueue(request.clone());
            (table.why_waiting(id), table.leave(id, &mut Granted::default()))
        });
        blocked
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Returns the fencing token. Conflicting requests are granted in the order of their tickets,
    /// so tickets serve as tokens (C20).
    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.shared.first_token.wrapping_add(self.ticket))
    }

    /// Arranges for `waker` to be woken when the request is granted. Returns whether it is granted
    /// already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let registered = self.shared.table(|table| match table.waker(self.id) {
            None => Some(true),
            Some(Some(known)) if known.will_wake(waker) => Some(false),
            Some(_) => None,
        });
        // Cloning or dropping a waker runs the executor's code, so it stays outside the mutex.
        registered.unwrap_or_else(|| {
            let mut spare = Some(waker.clone());
            self.shared.table(|table| match table.waker(self.id) {
                None => true,
                Some(slot) => {
                    mem::swap(slot, &mut spare);
                    false
                }
            })
        })
    }

    /// Returns the request that is in the way, or `None` if the request is granted by now.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        self.shared.table(|table| table.why_waiting(self.id))
    }
}

/// Wakes in the order of granting, then emits the release event. No wake-up is lost, whatever a
/// listener to events does.
impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        let mut granted = Granted::default();
        let _left = self.shared.table(|table| table.leave(self.id, &mut granted));
        if granted.is_empty() {
            event::released(&self.request);
        } else {
            wake_all(granted.into_wakers(), || event::released(&self.request));
        }
    }
}
