//! The lock itself: the core's lock, the nodes lent to Python objects, and the type of its nodes.
//! `lock.rs` has the methods that Python sees.

use std::sync::{Arc, OnceLock};

use pyo3::{PyTraverseError, PyVisit, prelude::*};

use crate::intern::Interner;

/// A lock over all sub-trees of one tree. One request can take several, shared or exclusive.
///
/// A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none. Two requests conflict iff a root of one equals, contains or lies within
/// a root of the other, and at least one of the two is a write. So the lock is fair, never waits
/// for anything that is not in its way, and requests cannot deadlock one another.
///
/// The lock is not re-entrant: a holder that requests something that conflicts with what it already
/// holds waits for itself. Request everything at once.
///
/// One lock serves any number of tasks, event loops and threads at the same time. With
/// ``strings=True`` its nodes are strings, split at ``/``: ``'/a/b'``, ``'a/b'`` and ``'a//b/'``
/// are the same node, and ``'/'`` is the root of all.
///
/// >>> lock = TreeLock()
/// >>> lock
/// <treelock.TreeLock object at 0x... [unlocked]>
#[pyclass(module = "treelock", frozen, subclass, dict, weakref)]
pub(crate) struct TreeLock {
    core: treelock::TreeLock,
    interner: Arc<Interner>,
    /// Chosen by `__init__` or by the first use.
    strings: OnceLock<bool>,
}

impl Default for TreeLock {
    fn default() -> TreeLock {
        let core = treelock::TreeLock::new();
        let interner = Arc::new(Interner::new(core.clone()));
        TreeLock { core, interner, strings: OnceLock::new() }
    }
}

impl TreeLock {
    pub(crate) fn core(&self) -> &treelock::TreeLock {
        &self.core
    }

    pub(crate) fn interner(&self) -> &Arc<Interner> {
        &self.interner
    }

    /// Chooses whether nodes are strings, unless that is already chosen. Returns the choice.
    pub(crate) fn choose_strings(&self, strings: bool) -> bool {
        *self.strings.get_or_init(|| strings)
    }

    /// Returns whether nodes are strings.
    pub(crate) fn takes_strings(&self) -> bool {
        self.choose_strings(false)
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.interner.traverse(visit)
    }
}
