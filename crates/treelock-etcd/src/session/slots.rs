//! The slots of a session: [`Slots`], where its requests stand.
//!
//! A slot's number is part of the keys of the request that has it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::watch;

use crate::{
    call::TakeOver,
    protocol::{numbers::Numbers, slot::Content},
};

/// How many keys may hang on one lease. To end a lease with 100,000 keys takes etcd two seconds, in
/// which it does nothing else.
const KEYS_PER_LEASE_MAX: usize = 5_000;

/// The slots of one session.
#[derive(Default)]
pub(super) struct Slots(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    slots: HashMap<u64, Arc<Slot>>,
    numbers: Numbers,
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
    /// The call that a caller's runtime makes for the request, if one is on its way.
    call: Mutex<Option<Weak<dyn TakeOver>>>,
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
        self.content.send_modify(|content| content.enter(ticket));
    }

    /// Notes that somebody has deleted the entry with this ticket.
    fn revoke(&self, ticket: i64) {
        self.content.send_modify(|content| content.revoke(ticket));
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.content.borrow().is_revoked()
    }

    /// Waits until somebody else has deleted the entry.
    pub(crate) async fn revoked(&self) {
        // The sender lives as long as `self`.
        let _ = self.content.subscribe().wait_for(Content::is_revoked).await;
    }

    /// Waits until the entry with this ticket is certainly not there.
    pub(crate) async fn gone(&self, ticket: i64) {
        // The sender lives as long as `self`.
        let _ = self.content.subscribe().wait_for(|content| content.is_gone(ticket)).await;
    }
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    /// Takes a slot, if the lease has room for so many more keys.
    pub(super) fn take(&self, keys: usize) -> Option<Arc<Slot>> {
        let mut taken = self.lock();
        if taken.keys + keys > KEYS_PER_LEASE_MAX {
            return None;
        }
        taken.last_nonce += 1;
        taken.keys += keys;
        let number = taken.numbers.take();
        let slot = Arc::new(Slot {
            number,
            nonce: taken.last_nonce,
            keys,
            content: watch::Sender::new(Content::default()),
            call: Mutex::default(),
        });
        taken.slots.insert(number, slot.clone());
        Some(slot)
    }

    /// Gives a slot back: no entry is there any more, and none will be.
    pub(super) fn give_back(&self, slot: &Slot) {
        let mut taken = self.lock();
        taken.keys -= slot.keys;
        taken.slots.remove(&slot.number);
        taken.numbers.give_back(slot.number);
        drop(taken);
        slot.content.send_modify(Content::leave);
    }

    /// Returns the slot at which an entry may be; `None` if it certainly is not there.
    pub(super) fn holding(&self, number: u64, ticket: i64) -> Option<Arc<Slot>> {
        let slot = self.lock().slots.get(&number).cloned()?;
        let is_gone = slot.content.borrow().is_gone(ticket);
        (!is_gone).then_some(slot)
    }

    /// Notes that somebody has deleted the entry with this ticket.
    pub(super) fn revoke(&self, number: u64, ticket: i64) {
        let slot = self.lock().slots.get(&number).cloned();
        if let Some(slot) = slot {
            slot.revoke(ticket);
        }
    }

    /// Returns the calls of callers' runtimes that our thread has to take over.
    pub(super) fn overdue_calls(&self) -> Vec<Arc<dyn TakeOver>> {
        let calls: Vec<_> = self.lock().slots.values().filter_map(|slot| slot.call()).collect();
        calls.into_iter().filter(|call| call.is_overdue()).collect()
    }
}
