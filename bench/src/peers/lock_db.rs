//! The crate `lock-db`: a sharded table of multi-granularity locks over numbered resources.
//!
//! It never waits (`try_acquire` fails instead) and leaves the numbering to its user: here a
//! running FNV-1a hash of the path's prefixes, about the cheapest that is sound enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lock_db::{LockManager, LockMode, ResourceId, TxnId};

use super::peer::Peer;

/// A `LockManager` with one transaction per lock. It releases by `release_all`, as its
/// documentation does, or, with `SINGLY`, one resource after the other, which is faster for few.
pub struct LockDb<const SINGLY: bool = false> {
    manager: Arc<LockManager>,
    transactions: AtomicU64,
}

/// The resources that one transaction holds.
pub struct LockDbHeld<const SINGLY: bool> {
    manager: Arc<LockManager>,
    transaction: TxnId,
    resources: Vec<ResourceId>,
}

impl<const SINGLY: bool> Peer for LockDb<SINGLY> {
    const NAME: &'static str = if SINGLY { "lock-db 1.0, released singly" } else { "lock-db 1.0" };
    type Held<'a> = LockDbHeld<SINGLY>;

    fn new() -> Self {
        LockDb { manager: Arc::new(LockManager::new()), transactions: AtomicU64::new(0) }
    }

    fn write(&self, path: &str) -> Self::Held<'_> {
        let transaction = TxnId::new(self.transactions.fetch_add(1, Ordering::Relaxed));
        let resources = resources(path);
        let (node, ancestors) = resources.split_last().expect("the root is always there");
        let take = |resource, mode| {
            self.manager.try_acquire(transaction, resource, mode).expect("the lock is free");
        };
        for &ancestor in ancestors {
            take(ancestor, LockMode::IntentionExclusive);
        }
        take(*node, LockMode::Exclusive);
        LockDbHeld { manager: Arc::clone(&self.manager), transaction, resources }
    }
}

impl<const SINGLY: bool> Drop for LockDbHeld<SINGLY> {
    fn drop(&mut self) {
        if SINGLY {
            for &resource in self.resources.iter().rev() {
                self.manager.release(self.transaction, resource).expect("it is held");
            }
        } else {
            self.manager.release_all(self.transaction);
        }
    }
}

fn resources(path: &str) -> Vec<ResourceId> {
    const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;
    let mut hash = FNV_OFFSET;
    let mut resources = Vec::with_capacity(9);
    for &byte in path.as_bytes() {
        if byte == b'/' {
            resources.push(ResourceId::new(hash));
        }
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    resources.push(ResourceId::new(hash));
    resources
}
