//! The three ways to keep workers apart. All run the very same folder verbs.

use std::sync::Arc;

use object_store::ObjectStore;
use serde::Serialize;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use treelock_any::AnyLock;
use treelock_object_store::{LockedStore, treelock::TreeLock};

pub(crate) type Store = LockedStore<Arc<dyn ObjectStore>, AnyLock>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    WithoutLocks,
    GlobalLock,
    Treelock,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::WithoutLocks, Kind::GlobalLock, Kind::Treelock];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Kind::WithoutLocks => "without locks",
            Kind::GlobalLock => "one global lock",
            Kind::Treelock => "treelock",
        }
    }
}

/// How one round keeps its workers apart.
pub(crate) struct Scheme {
    kind: Kind,
    bare: Arc<dyn ObjectStore>,
    global: Arc<RwLock<()>>,
    shared: Store,
}

/// What an operation holds while it works.
#[expect(dead_code, reason = "guards are held, not read")]
pub(crate) enum Held {
    Nothing,
    Read(OwnedRwLockReadGuard<()>),
    Write(OwnedRwLockWriteGuard<()>),
}

impl Scheme {
    pub(crate) fn new(kind: Kind, bare: Arc<dyn ObjectStore>, lock: AnyLock) -> Scheme {
        let shared = LockedStore::with_lock(Arc::clone(&bare), lock);
        Scheme { kind, bare, global: Arc::default(), shared }
    }

    /// Returns what an operation has to hold, and the store to work on.
    ///
    /// A `LockedStore` that nobody shares has a lock that nobody else sees: that is how the other
    /// two rounds use the same verbs without treelock keeping them apart.
    pub(crate) async fn enter(&self, writes: bool) -> (Held, Store) {
        let own = || AnyLock::new(TreeLock::new());
        let alone = || LockedStore::with_lock(Arc::clone(&self.bare), own());
        match (self.kind, writes) {
            (Kind::Treelock, _) => (Held::Nothing, self.shared.clone()),
            (Kind::WithoutLocks, _) => (Held::Nothing, alone()),
            (Kind::GlobalLock, false) => {
                (Held::Read(Arc::clone(&self.global).read_owned().await), alone())
            }
            (Kind::GlobalLock, true) => {
                (Held::Write(Arc::clone(&self.global).write_owned().await), alone())
            }
        }
    }
}
