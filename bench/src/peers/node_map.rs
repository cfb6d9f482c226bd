//! A map with one tokio `RwLock` per node: what people write by hand.
//!
//! Ancestors are locked for reading and the node for reading or writing, from the root down; unused
//! entries are removed. Two registries represent the two usual choices: one mutex around a
//! `HashMap`, visited once per request, and a `DashMap`, visited once per node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::peer::Peer;
use crate::paths::prefixes;
use crate::poll::ready;

type NodeLock = Arc<RwLock<()>>;

/// Where the locks of the nodes are found.
pub trait Registry: Default + Send + Sync + 'static {
    /// Its name in tables and plots.
    const NAME: &'static str;

    /// Returns the locks of the path and its ancestors, the root first; missing ones are created.
    fn resolve(&self, path: &str) -> Vec<NodeLock>;

    /// Removes those of them that are not in use.
    fn forget(&self, path: &str);
}

/// One mutex around a `HashMap`.
#[derive(Default)]
pub struct Single(Mutex<HashMap<Box<str>, NodeLock>>);

impl Registry for Single {
    const NAME: &'static str = "node map (Mutex<HashMap>)";

    fn resolve(&self, path: &str) -> Vec<NodeLock> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locks = Vec::with_capacity(9);
        for prefix in prefixes(path) {
            // Most ancestors are there already, so look before making an owned key.
            locks.push(match nodes.get(prefix) {
                Some(lock) => Arc::clone(lock),
                None => Arc::clone(nodes.entry(prefix.into()).or_default()),
            });
        }
        locks
    }

    fn forget(&self, path: &str) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for prefix in prefixes(path) {
            // Locks are handed out only under the mutex, so a count of one is final.
            if nodes.get(prefix).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                nodes.remove(prefix);
            }
        }
    }
}

/// A `DashMap`.
#[derive(Default)]
pub struct Sharded(DashMap<Box<str>, NodeLock>);

impl Registry for Sharded {
    const NAME: &'static str = "node map (DashMap)";

    fn resolve(&self, path: &str) -> Vec<NodeLock> {
        let mut locks = Vec::with_capacity(9);
        for prefix in prefixes(path) {
            let known = self.0.get(prefix).map(|lock| Arc::clone(&lock));
            locks.push(
                known.unwrap_or_else(|| Arc::clone(&self.0.entry(prefix.into()).or_default())),
            );
        }
        locks
    }

    fn forget(&self, path: &str) {
        for prefix in prefixes(path) {
            self.0.remove_if(prefix, |_, lock| Arc::strong_count(lock) == 1);
        }
    }
}

/// The hand-written lock over one of the registries.
#[derive(Default)]
pub struct NodeLocks<R: Registry>(Arc<R>);

/// The guards of a path and its ancestors.
pub struct NodeHeld<R: Registry> {
    registry: Arc<R>,
    path: Box<str>,
    ancestors: Vec<OwnedRwLockReadGuard<()>>,
    write: Option<OwnedRwLockWriteGuard<()>>,
}

impl<R: Registry> NodeLocks<R> {
    /// Waits for the lock on `path`.
    pub async fn acquire(&self, path: &str, write: bool) -> NodeHeld<R> {
        let mut locks = self.0.resolve(path);
        let mut held = NodeHeld {
            registry: Arc::clone(&self.0),
            path: path.into(),
            ancestors: Vec::with_capacity(locks.len()),
            write: None,
        };
        let node = if write { locks.pop() } else { None };
        for lock in locks {
            held.ancestors.push(lock.read_owned().await);
        }
        if let Some(lock) = node {
            held.write = Some(lock.write_owned().await);
        }
        held
    }
}

impl<R: Registry> Clone for NodeLocks<R> {
    fn clone(&self) -> Self {
        NodeLocks(Arc::clone(&self.0))
    }
}

impl<R: Registry> Drop for NodeHeld<R> {
    fn drop(&mut self) {
        self.write = None;
        self.ancestors.clear();
        self.registry.forget(&self.path);
    }
}

impl<R: Registry> Peer for NodeLocks<R> {
    const NAME: &'static str = R::NAME;
    type Held<'a> = NodeHeld<R>;

    fn new() -> Self {
        NodeLocks(Arc::default())
    }

    fn write(&self, path: &str) -> NodeHeld<R> {
        ready(self.acquire(path, true))
    }
}
