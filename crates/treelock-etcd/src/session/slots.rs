//! The slots of a session: [`Slots`], where its requests stand.
//!
//! A slot's number is part of the keys of the request that has it. It is used again as soon as the
//! request's entry is known to be gone, because each new key costs etcd a tombstone.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
};

use tokio::sync::watch;

use crate::call::TakeOver;

/// How many keys may hang on one lease. To end a lease with 100,000 keys takes etcd two seconds, in
/// which it does nothing else.
const KEYS_PER_LEASE_MAX: usize = 5_000;

/// The slots of one session.
#[derive(Default)]
pub(super) struct Slots(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    taken: HashMap<u64, Arc<Slot>>,
    free: BTreeSet<u64>,
    next: u64,
    /// Counts the requests, so that each has a number that no other one of this session has.
    last_nonce: u64,
    keys: usize,
}

/// The slot of one request, from before it is first sent until it is known to be gone.
pub(crate) struct Slot {
    pub(crate) number: u64,
    pub(crate) nonce: u64,
    keys: usize,
    content: watch::Sender<Content>,
    /// The largest ticket of an entry here of which we heard that somebody deleted it.
    revoked_ticket: AtomicI64,
    /// The call that a caller's runtime makes for the request, if one is on its way.
    call: Mutex<Option<Weak<dyn TakeOver>>>,
}

/// What is known of the entry at a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// It is on its way.
    Unknown,
    /// It is there, with this ticket.
    Entry(i64),
    /// It had this ticket, and somebody else has deleted it.
    Revoked(i64),
    /// It is not there any more.
    Gone,
}

impl Content {
    /// Returns whether the entry with this ticket is certainly not there.
    fn is_gone(self, ticket: i64) -> bool {
        match self {
            Content::Unknown => false,
            Content::Entry(other) => other != ticket,
            Content::Revoked(_) | Content::Gone => true,
        }
    }
}

impl Slot {
    /// Notes the call that a caller's runtime makes for the request.
    pub(crate) fn set_call(&self, call: Weak<dyn TakeOver>) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    fn call(&self) -> Option<Arc<dyn TakeOver>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// Notes that the request has entered, with this ticket.
    pub(crate) fn enter(&self, ticket: i64) {
        self.content.send_replace(Content::Entry(ticket));
        // It may have been deleted before we learned that it was there.
        self.check_revoked();
    }

    /// Notes that somebody has deleted the entry with this ticket.
    fn revoke(&self, ticket: i64) {
        self.revoked_ticket.fetch_max(ticket, Ordering::AcqRel);
        self.check_revoked();
    }

    fn check_revoked(&self) {
        let ticket = self.revoked_ticket.load(Ordering::Acquire);
        self.content.send_if_modified(|content| {
            let is_own = *content == Content::Entry(ticket);
            if is_own {
                *content = Content::Revoked(ticket);
            }
            is_own
        });
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(*self.content.borrow(), Content::Revoked(_))
    }

    /// Waits until somebody else has deleted the entry.
    pub(crate) async fn revoked(&self) {
        let revoked = |content: &Content| matches!(content, Content::Revoked(_));
        // The sender lives as long as `self`.
        let _ = self.content.subscribe().wait_for(revoked).await;
    }

    /// Waits until the entry with this ticket is certainly not there.
    pub(crate) async fn gone(&self, ticket: i64) {
        // The sender lives as long as `self`.
        let _ = self.content.subscribe().wait_for(|content| content.is_gone(ticket)).await;
    }
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_empty(&self) -> bool {
        self.lock().taken.is_empty()
    }

    /// Takes a slot, if the lease has room for so many more keys.
    pub(super) fn take(&self, keys: usize) -> Option<Arc<Slot>> {
        let mut numbers = self.lock();
        if numbers.keys + keys > KEYS_PER_LEASE_MAX {
            return None;
        }
        numbers.last_nonce += 1;
        numbers.keys += keys;
        let number = numbers.free.pop_first().unwrap_or_else(|| {
            numbers.next += 1;
            numbers.next - 1
        });
        let slot = Arc::new(Slot {
            number,
            nonce: numbers.last_nonce,
            keys,
            content: watch::Sender::new(Content::Unknown),
            revoked_ticket: AtomicI64::new(0),
            call: Mutex::default(),
        });
        numbers.taken.insert(number, slot.clone());
        Some(slot)
    }

    /// Gives a slot back: no entry is there any more, and none will be.
    pub(super) fn give_back(&self, slot: &Slot) {
        let mut numbers = self.lock();
        numbers.keys -= slot.keys;
        numbers.taken.remove(&slot.number);
        numbers.free.insert(slot.number);
        drop(numbers);
        slot.content.send_replace(Content::Gone);
    }

    /// Returns the slot at which an entry may be; `None` if it certainly is not there.
    pub(super) fn holding(&self, number: u64, ticket: i64) -> Option<Arc<Slot>> {
        let slot = self.lock().taken.get(&number).cloned()?;
        let is_gone = slot.content.borrow().is_gone(ticket);
        (!is_gone).then_some(slot)
    }

    /// Notes that somebody has deleted the entry with this ticket.
    pub(super) fn revoke(&self, number: u64, ticket: i64) {
        let slot = self.lock().taken.get(&number).cloned();
        if let Some(slot) = slot {
            slot.revoke(ticket);
        }
    }

    /// Returns the calls of callers' runtimes that our thread has to take over.
    pub(super) fn overdue_calls(&self) -> Vec<Arc<dyn TakeOver>> {
        let calls: Vec<_> = self.lock().taken.values().filter_map(|slot| slot.call()).collect();
        calls.into_iter().filter(|call| call.is_overdue()).collect()
    }
}
