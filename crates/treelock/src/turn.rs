//! A live request of one handle, waiting or held: [`Turn`]. And how the lock is left, by holders and
//! waiters alike.

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
        // The resource outlives this process, so tokens go on from one process to the next: no lock grants
        // more than one request a nanosecond.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let table = LockTable::new(Instant::now_without_cache_update);
        Shared { table: Mutex::new(table), first_token: since_1970.as_nanos() as u64 }
    }

    /// Works on the table. Nothing that a user wrote runs in `work` (C9).
    #[inline(always)]
    pub(crate) fn table<R>(&self, work: impl FnOnce(&mut LockTable) -> R) -> R {
        work(&mut lock(&self.table))
    }
}

/// A live request of ours, waiting or held. Dropping it gives back whatever it has and lets those behind
/// it go on, in one step (C10).
pub(crate) struct Turn {
    shared: Arc<Shared>,
    id: Slot,
    ticket: u64,
    request: Request,
}

impl Turn {
    /// Takes a place in the order of arrival. Returns it, and whether it is granted at once.
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

    /// Takes a place in the order of arrival if nobody is in the way, and says who is if not.
    pub(crate) fn attempt(shared: &Arc<Shared>, request: &Request) -> Result<Turn, Blocked> {
        request.prepare();
        let (entered, _left) = shared.table(|table| {
            let (id, ticket, _) = table.enqueue(request.clone());
            match table.why_waiting(id) {
                None => (Ok((id, ticket)), None),
                // It was the last in every queue, so nobody waits for it and nobody is granted.
                Some(blocked) => (Err(blocked), Some(table.leave(id, &mut Granted::default()))),
            }
        });
        let (id, ticket) = entered?;
        Ok(Turn { shared: shared.clone(), id, ticket, request: request.clone() })
    }

    /// Says who would be in the way of a request that asked now.
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

    /// Requests that conflict are granted in the order of their tickets, so tickets are tokens (C20).
    pub(crate) fn token(&self) -> FencingToken {
        FencingToken::new(self.shared.first_token.wrapping_add(self.ticket))
    }

    /// Has `waker` called when the request is granted. Returns whether it is granted already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let registered = self.shared.table(|table| match table.waker(self.id) {
            None => Some(true),
            Some(Some(known)) if known.will_wake(waker) => Some(false),
            Some(_) => None,
        });
        // Cloning and dropping a waker is code of an executor's, so it stays out of the mutex.
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

    /// Says who is in the way; `None` if the request is granted by now.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        self.shared.table(|table| table.why_waiting(self.id))
    }
}

/// Wakes in the order of granting, then tells of the release: whatever a listener to events does, no
/// wake-up is lost.
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
