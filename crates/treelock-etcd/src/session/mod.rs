//! A session: one lease of this process, on which its entries hang: [`Session`].
//!
//! When nine tenths of the lease's time have passed since the last renewal that was answered was
//! *sent*, the session is over for us, while etcd still keeps it: etcd cannot have begun to count
//! before the renewal was sent.

pub(crate) mod lease;
pub(crate) mod meta;
pub(crate) mod open;
mod overdue;
mod renew;
pub(crate) mod slots;
mod stream;
pub(crate) mod watches;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    call::TakeOver,
    clock,
    cluster::servers::Servers,
    key::Space,
    protocol::session::{Identity, Learnt},
    runtime::background::Background,
};

use lease::Lease;
use slots::{Slot, Slots};
use watches::Watches;

pub(crate) struct Session {
    pub(crate) servers: Servers,
    pub(crate) space: Space,
    pub(crate) id: String,
    pub(crate) lease: Lease,
    /// The high bits of tokens, so that tokens grow even over a restore from a backup.
    pub(crate) fencing_epoch: u16,
    pub(crate) watches: Watches,
    pub(crate) background: Background,
    /// Who the session is, for the protocol.
    pub(crate) identity: Arc<Identity>,
    /// The revision at which the session's key was last written, as far as we know.
    epoch: AtomicI64,
    /// When the session is over for us, in nanoseconds of the clock of the boot.
    deadline: AtomicU64,
    is_over: watch::Sender<bool>,
    /// The lease was given back.
    is_closed: AtomicBool,
    slots: Slots,
}

impl Session {
    /// Gives the lease back if nothing hangs on it. Returns when that is done, or when nobody
    /// answers.
    pub(crate) async fn close(&self) {
        if self.slots.are_empty() {
            self.end();
            self.lease.revoke(&self.servers).await;
            self.is_closed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes what an answer says of the session.
    pub(crate) fn learn(&self, learnt: Learnt) {
        match learnt {
            Learnt::Nothing => {}
            Learnt::Epoch(revision) => {
                self.epoch.fetch_max(revision, Ordering::AcqRel);
            }
            Learnt::Over => self.end(),
        }
    }

    /// Returns whether its lease certainly has not ended.
    ///
    /// Once that is not certain, the session is over for good, even if etcd still accepts a
    /// renewal: what was to be given back may not have been, so nothing may keep it.
    pub(crate) fn is_alive(&self) -> bool {
        let is_past = self.is_past();
        if is_past {
            self.end();
        }
        !is_past
    }

    /// Returns whether it is not alive. Wakes nobody, so it may be called under a mutex.
    pub(crate) fn is_past(&self) -> bool {
        *self.is_over.borrow()
            || clock::now().as_nanos() as u64 >= self.deadline.load(Ordering::Acquire)
    }

    /// Returns how long it certainly lives.
    fn remaining(&self) -> Duration {
        let deadline = Duration::from_nanos(self.deadline.load(Ordering::Acquire));
        deadline.saturating_sub(clock::now())
    }

    /// Notes that the lease was renewed by a call that was sent then.
    fn renewed(&self, sent: Duration) {
        self.deadline.fetch_max(self.lease.deadline(sent), Ordering::AcqRel);
    }

    /// Ends it: its lease has ended, or may have.
    pub(crate) fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits until it is over.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Takes a slot that no other request of this session has, if so many more keys may hang on the
    /// lease.
    pub(crate) fn take_slot(&self, keys: usize) -> Option<Arc<Slot>> {
        self.slots.take(keys)
    }

    /// Gives a slot back: no entry is there any more, and none will be.
    pub(crate) fn give_back(&self, slot: &Slot) {
        self.slots.give_back(slot);
    }

    /// Returns the slot at which an entry may be; `None` if it certainly is not there.
    pub(crate) fn slot(&self, number: u64, ticket: i64) -> Option<Arc<Slot>> {
        self.slots.holding(number, ticket)
    }

    /// Notes that somebody has deleted the entry with this ticket.
    fn revoked(&self, slot: u64, ticket: i64) {
        self.slots.revoke(slot, ticket);
    }

    fn overdue_calls(&self) -> Vec<Arc<dyn TakeOver>> {
        self.slots.overdue_calls()
    }
}

impl Drop for Session {
    /// Gives the lease back, so that nobody has to wait for its end.
    fn drop(&mut self) {
        if !*self.is_closed.get_mut() {
            let (servers, lease) = (self.servers.clone(), self.lease);
            self.background.start(async move { lease.revoke(&servers).await });
        }
    }
}
