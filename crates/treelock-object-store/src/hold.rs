//! The guard that an operation holds while it works.
//!
//! What it buys: **`Ok` means that the lock was held to the end.** Some engines can lose a lock
//! that is held, when a lease ends. So the guard is asked before each step that changes something,
//! which does not begin if the lock is lost; and at the end, because after a loss nobody can say
//! that the operation was alone.

use std::sync::Arc;

use object_store::Result;
use treelock::Request;
use treelock::engine::{Engine, Held};

use crate::error::lock::LockError;

/// The guard of a granted request, shared by all that work under it: streams, uploads, jobs, views
/// and their clones. The lock is released when the last of them is gone.
pub(crate) struct Hold<L: Engine> {
    guard: L::Guard,
}

impl<L: Engine> Hold<L> {
    /// Waits for everything that a request names.
    pub(crate) async fn acquire(lock: &L, request: Request) -> Result<Arc<Hold<L>>, LockError> {
        match lock.acquire(&request).await {
            Ok(guard) => Ok(Arc::new(Hold { guard })),
            Err(error) => Err(LockError::not_granted(request, error)),
        }
    }

    pub(crate) fn request(&self) -> &Request {
        self.guard.request()
    }

    pub(crate) fn guard(&self) -> &L::Guard {
        &self.guard
    }

    /// Refuses to begin if the lock is lost.
    pub(crate) fn check(&self) -> Result<(), LockError> {
        self.check_step(false)
    }

    /// Lets a step end as it did only if the lock was held until then. What the store refused does
    /// not count either: that an object is missing, say, may be the doing of the next holder.
    pub(crate) fn confirm<T>(&self, result: Result<T>) -> Result<T> {
        self.check_step(true)?;
        result
    }

    /// Refuses a step if the lock is lost; the error says whether the work had `begun` before.
    pub(crate) fn check_step(&self, begun: bool) -> Result<(), LockError> {
        match self.guard.is_valid() {
            true => Ok(()),
            false => Err(LockError::Lost { request: self.request().clone(), begun }),
        }
    }
}
