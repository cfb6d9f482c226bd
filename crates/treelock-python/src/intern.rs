//! Generic nodes: Python objects that say by `__hash__` and `__eq__` which node they are, and about
//! which nothing else is known. While one is in use, it borrows a node of the core.
//!
//! The code of an object runs outside the mutex. So a lookup takes the objects with the same hash,
//! releases the mutex, compares, and then checks whether more have been added. Each entry has a
//! number and is given back by number, so a release runs none of the objects' code and cannot fail.
//!
//! # Paths among them
//!
//! A path is identified by its text alone and has no entry here. But an object of another type may
//! be equal to a path, and then both are one node. So from the first object that might be equal to
//! a path, the lock is *mixed*: paths are looked up too, at the price of their `__hash__` and
//! `parents`.
//!
//! 1. Before such an object is looked up, the paths of all live requests are entered
//!    ([`Interner::mix`]).
//! 2. A request that was being created while the lock became mixed is created again. Between its
//!    last check of this answer and its place in the queue no Python code runs, so no other thread
//!    runs either.
//! 3. The lock is unmixed only at a moment when nothing is held or waited for, no request with
//!    objects in it is being created, and no object is in use ([`Interner::unmix_if_idle`]).

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;
use pyo3::{PyTraverseError, PyVisit, prelude::*};
use smallvec::SmallVec;
use treelock::{Node, Wait};

use crate::paths::path;

/// The generic nodes that the requests of one lock use.
pub(crate) struct Interner {
    core: treelock::TreeLock,
    table: Mutex<Table>,
    mixed: AtomicBool,
    /// The number of requests with objects in them that are being created.
    making: AtomicUsize,
}

#[derive(Default)]
struct Table {
    entries: HashTable<Entry>,
    /// The number of the newest entry.
    last_number: u64,
    /// Nodes to lend again, so that the core finds them among those that it has kept.
    spare: Vec<Node>,
    /// The number of nodes created so far.
    nodes_made: u64,
    /// The entry that each lent node is lent to.
    borrowers: HashMap<Node, EntryId>,
    /// The paths of the requests that were live when the lock became mixed; `None` before.
    live_paths: Option<NodesInUse>,
}

struct Entry {
    hash: u64,
    /// Never used twice.
    number: u64,
    node: Node,
    /// Whether the node is lent to the object while in use, as opposed to a path's own node.
    is_lent: bool,
    object: Py<PyAny>,
    uses: usize,
}

/// How many nodes are kept for later objects.
const SPARE_NODES_MAX: usize = 256;

/// Identifies an entry.
#[derive(Clone, Copy)]
struct EntryId {
    hash: u64,
    number: u64,
}

/// Counts a request with objects in it as being created, until this is dropped.
pub(crate) struct Making<'a>(&'a AtomicUsize);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Spreads a hash over all bits: the hash of an `int` is the number itself, and the table looks at
/// only a few bits.
fn scramble(hash: isize) -> u64 {
    let product = u128::from(hash as u64) * 0x9e37_79b9_7f4a_7c15; // 2^64 by the golden ratio
    (product >> 64) as u64 ^ product as u64
}

type Candidates = SmallVec<[(u64, Py<PyAny>); 2]>;

impl Interner {
    pub(crate) fn new(core: treelock::TreeLock) -> Interner {
        let (table, mixed, making) = Default::default();
        Interner { core, table, mixed, making }
    }

    fn table<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether paths have to be looked up too. A request created under the other answer is
    /// void.
    pub(crate) fn is_mixed(&self) -> bool {
        self.mixed.load(Ordering::Relaxed)
    }

    /// Starts looking up paths too, beginning with those of live requests.
    pub(crate) fn mix(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.table(|table| table.live_paths.is_some()) {
            return Ok(());
        }
        self.mixed.store(true, Ordering::Relaxed);
        let mut live_paths = NodesInUse::default();
        for entry in self.core.snapshot().wait().entries {
            for node in
                entry.roots.iter().flat_map(|root| root.node.ancestors().chain([root.node.clone()]))
            {
                if let Some(path) = path(py, &node)? {
                    live_paths.node(self, &path, Some(node))?;
                }
            }
        }
        drop(self.table(|table| table.live_paths.replace(live_paths)));
        Ok(())
    }

    /// Counts a request with objects in it as being created, until the returned value is dropped.
    pub(crate) fn making(&self) -> Making<'_> {
        self.making.fetch_add(1, Ordering::Relaxed);
        Making(&self.making)
    }

    /// Goes back to identifying paths by their text, if nothing is in use.
    pub(crate) fn unmix_if_idle(&self) {
        let is_idle = || {
            let live = self.core.held_count() + self.core.waiting_count();
            live == 0 && self.making.load(Ordering::Relaxed) == 0
        };
        if self.is_mixed() && is_idle() {
            drop(self.table(|table| table.live_paths.take()));
            // That may have run user code.
            let is_unused =
                self.table(|table| table.entries.is_empty() && table.live_paths.is_none());
            if is_unused && is_idle() {
                self.mixed.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Reuses the entry that an object is equal to, or else creates one. The core identifies a new
    /// entry by `node` if that is given, or else by a meaningless node.
    fn take(&self, object: &Bound<'_, PyAny>, node: Option<Node>) -> PyResult<(EntryId, Node)> {
        let py = object.py();
        let hash = scramble(object.hash()?);
        let mut known = Candidates::new();
        loop {
            let seen = self.table(|table| {
                let same = |entry: &Entry| entry.object.is(object);
                if let Some(entry) = table.entries.find_mut(hash, |entry| same(entry)) {
                    return Ok(entry.reuse());
                }
                let candidates = table.candidates(py, hash);
                let unseen = |(number, _): &(u64, _)| known.iter().all(|(seen, _)| seen != number);
                match candidates.iter().any(unseen) {
                    true => Err(candidates),
                    false => Ok(table.insert(hash, object.clone().unbind(), node.clone())),
                }
            });
            let candidates = match seen {
                Ok(taken) => return Ok(taken),
                Err(candidates) => candidates,
            };
            for (number, candidate) in &candidates {
                if candidate.bind(py).eq(object)? {
                    let reuse = |entry: &mut Entry| entry.reuse();
                    let id = EntryId { hash, number: *number };
                    // It may be gone by now, which the next round then finds.
                    if let Some(taken) = self.table(|table| table.find(id).map(reuse)) {
                        return Ok(taken);
                    }
                }
            }
            known = candidates;
        }
    }

    /// Returns the object that a node is lent to.
    pub(crate) fn borrower<'py>(&self, py: Python<'py>, node: &Node) -> Option<Bound<'py, PyAny>> {
        self.table(|table| {
            let id = *table.borrowers.get(node)?;
            table.find(id).map(|entry| entry.object.clone_ref(py).into_bound(py))
        })
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.table.try_lock() {
            Ok(table) => table.entries.iter().try_for_each(|entry| visit.call(&entry.object)),
            Err(_) => Ok(()),
        }
    }
}

impl Table {
    fn candidates(&self, py: Python<'_>, hash: u64) -> Candidates {
        let same_hash = self.entries.iter_hash(hash).filter(|entry| entry.hash == hash);
        same_hash.map(|entry| (entry.number, entry.object.clone_ref(py))).collect()
    }

    fn find(&mut self, id: EntryId) -> Option<&mut Entry> {
        self.entries.find_mut(id.hash, |entry| entry.number == id.number)
    }

    fn insert(&mut self, hash: u64, object: Py<PyAny>, node: Option<Node>) -> (EntryId, Node) {
        self.last_number += 1;
        let number = self.last_number;
        let is_lent = node.is_none();
        let node = node.or_else(|| self.spare.pop()).unwrap_or_else(|| {
            self.nodes_made += 1;
            let name = format!("#{}", self.nodes_made);
            Node::from_components([name]).expect("a valid component")
        });
        let id = EntryId { hash, number };
        if is_lent {
            self.borrowers.insert(node.clone(), id);
        }
        let entry = Entry { hash, number, node: node.clone(), is_lent, object, uses: 1 };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
        (id, node)
    }

    /// Ends one use. Returns the object to drop if this was the last use.
    fn give_back(&mut self, id: EntryId) -> Option<Py<PyAny>> {
        let found = self.entries.find_entry(id.hash, |entry| entry.number == id.number);
        let mut found = found.ok().expect("a node in use is in the table");
        found.get_mut().uses -= 1;
        if found.get().uses > 0 {
            return None;
        }
        let (entry, _) = found.remove();
        if entry.is_lent {
            self.borrowers.remove(&entry.node);
            if self.spare.len() < SPARE_NODES_MAX {
                self.spare.push(entry.node);
            }
        }
        if self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(2 * self.entries.len(), |entry| entry.hash);
            self.borrowers.shrink_to(2 * self.borrowers.len());
        }
        Some(entry.object)
    }
}

impl Entry {
    fn reuse(&mut self) -> (EntryId, Node) {
        self.uses += 1;
        (EntryId { hash: self.hash, number: self.number }, self.node.clone())
    }
}

/// The generic nodes of one request, in use until this is dropped. Most requests have none.
#[derive(Default)]
pub(crate) struct NodesInUse(Option<Box<Uses>>);

struct Uses {
    interner: Arc<Interner>,
    ids: Vec<EntryId>,
}

impl NodesInUse {
    /// Returns the node of an object, which is in use from now on. The core identifies a new one by
    /// `node`, if that is given.
    pub(crate) fn node(
        &mut self,
        interner: &Arc<Interner>,
        object: &Bound<'_, PyAny>,
        node: Option<Node>,
    ) -> PyResult<Node> {
        let (id, node) = interner.take(object, node)?;
        let new = || Box::new(Uses { interner: interner.clone(), ids: Vec::new() });
        self.0.get_or_insert_with(new).ids.push(id);
        Ok(node)
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        let ids = mem::take(&mut self.ids);
        let unused = self.interner.table(|table| {
            ids.iter().filter_map(|id| table.give_back(*id)).collect::<SmallVec<[_; 8]>>()
        });
        drop(unused); // while the mutex is free, since a destructor may run user code
    }
}
