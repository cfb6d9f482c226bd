//! Generic nodes: Python objects that say by `__hash__` and `__eq__` which node they are, and of which
//! nothing else is known. While one is in use, a node is lent to it, by which the core knows it.
//!
//! The code of a node runs outside of the mutex. So a lookup takes the objects of the same hash, lets the
//! mutex go, compares, and looks again whether they are still all. Each use has a number, and nodes are
//! given back by number, so that a release runs no code of theirs and cannot fail.
//!
//! # Paths among them
//!
//! A path is known by its text alone, and is not in here. But an object of another type may be equal to
//! one, and then both are one node. So from the first object on that could be, the lock is *mixed*: paths
//! are looked up too, at the price of their `__hash__` and `parents`.
//!
//! 1. Before such an object is looked up, the paths of all live requests are entered ([`Interner::mix`]).
//! 2. A request that was made while the lock became mixed is made again. From its last look at the answer
//!    until it is in the queue no code of Python's runs, so no other thread either.
//! 3. The lock is unmixed only at a moment when nobody holds or waits, nobody makes a request with objects
//!    in it, and no object is in use ([`Interner::settle`]).

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
use treelock::Node;

use crate::paths::path;

/// The generic nodes that requests of one lock use.
pub(crate) struct Interner {
    core: treelock::TreeLock,
    table: Mutex<Table>,
    mixed: AtomicBool,
    /// How many requests with objects in them are being made.
    making: AtomicUsize,
}

#[derive(Default)]
struct Table {
    entries: HashTable<Entry>,
    last: u64,
    /// Nodes to be used again, so that the core finds them among those that it kept.
    spare: Vec<Node>,
    named: u64,
    /// Of the nodes that are lent, whose they are.
    borrowers: HashMap<Node, Name>,
    /// The paths of requests that were live when they were entered; `None` if they have to be entered.
    live_paths: Option<Names>,
}

struct Entry {
    hash: u64,
    /// Never used twice.
    number: u64,
    node: Node,
    /// Whether the node is the object's for as long as it is in use, and not that of a path.
    is_lent: bool,
    object: Py<PyAny>,
    uses: usize,
}

/// How many nodes are kept for the next objects.
const SPARE_NODES: usize = 256;

/// What an object is known by while it is in use.
#[derive(Clone, Copy)]
struct Name {
    hash: u64,
    number: u64,
}

/// Is there while a request with objects in it is being made.
pub(crate) struct Making<'a>(&'a AtomicUsize);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Spread a hash over all bits: that of an `int` is the number itself, and the table looks at a few bits.
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

    /// Whether paths have to be looked up too. A request that was made under the other answer is not good.
    pub(crate) fn is_mixed(&self) -> bool {
        self.mixed.load(Ordering::Relaxed)
    }

    /// Look paths up too, from now on, beginning with those that are live.
    pub(crate) fn mix(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        if self.table(|table| table.live_paths.is_some()) {
            return Ok(());
        }
        self.mixed.store(true, Ordering::Relaxed);
        let mut live_paths = Names::default();
        for entry in self.core.snapshot().entries {
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

    /// A request with objects in it is being made, until this is dropped.
    pub(crate) fn making(&self) -> Making<'_> {
        self.making.fetch_add(1, Ordering::Relaxed);
        Making(&self.making)
    }

    /// Take paths by their text again, if nothing speaks against it.
    pub(crate) fn settle(&self) {
        let is_idle = || {
            let live = self.core.held() + self.core.waiting();
            live == 0 && self.making.load(Ordering::Relaxed) == 0
        };
        if self.is_mixed() && is_idle() {
            drop(self.table(|table| table.live_paths.take()));
            // That may have run code of a user's.
            let is_unused =
                self.table(|table| table.entries.is_empty() && table.live_paths.is_none());
            if is_unused && is_idle() {
                self.mixed.store(false, Ordering::Relaxed);
            }
        }
    }

    /// The entry that an object is equal to, or else a new one; used once more. A new one is known to the
    /// core by `node`, if that is given, or else by a node of no meaning.
    fn take(&self, object: &Bound<'_, PyAny>, node: Option<Node>) -> PyResult<(Name, Node)> {
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
                    let name = Name { hash, number: *number };
                    // It may be gone by now; then the next round finds out.
                    if let Some(taken) = self.table(|table| table.find(name).map(reuse)) {
                        return Ok(taken);
                    }
                }
            }
            known = candidates;
        }
    }

    /// The object to which a node is lent.
    pub(crate) fn borrower<'py>(&self, py: Python<'py>, node: &Node) -> Option<Bound<'py, PyAny>> {
        self.table(|table| {
            let name = *table.borrowers.get(node)?;
            table.find(name).map(|entry| entry.object.clone_ref(py).into_bound(py))
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

    fn find(&mut self, name: Name) -> Option<&mut Entry> {
        self.entries.find_mut(name.hash, |entry| entry.number == name.number)
    }

    fn insert(&mut self, hash: u64, object: Py<PyAny>, node: Option<Node>) -> (Name, Node) {
        self.last += 1;
        let number = self.last;
        let is_lent = node.is_none();
        let node = node.or_else(|| self.spare.pop()).unwrap_or_else(|| {
            self.named += 1;
            Node::from_components([format!("#{}", self.named)]).expect("a good component")
        });
        let name = Name { hash, number };
        if is_lent {
            self.borrowers.insert(node.clone(), name);
        }
        let entry = Entry { hash, number, node: node.clone(), is_lent, object, uses: 1 };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
        (name, node)
    }

    /// Returns the object to drop if this was the last use.
    fn give_back(&mut self, name: Name) -> Option<Py<PyAny>> {
        let found = self.entries.find_entry(name.hash, |entry| entry.number == name.number);
        let mut found = found.ok().expect("a node in use is in the table");
        found.get_mut().uses -= 1;
        if found.get().uses > 0 {
            return None;
        }
        let (entry, _) = found.remove();
        if entry.is_lent {
            self.borrowers.remove(&entry.node);
            if self.spare.len() < SPARE_NODES {
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
    fn reuse(&mut self) -> (Name, Node) {
        self.uses += 1;
        (Name { hash: self.hash, number: self.number }, self.node.clone())
    }
}

/// The generic nodes of one request, in use until this is dropped. Most requests have none.
#[derive(Default)]
pub(crate) struct Names(Option<Box<InUse>>);

struct InUse {
    interner: Arc<Interner>,
    names: Vec<Name>,
}

impl Names {
    /// The node of an object, in use from now on; a new one is known to the core by `node`, if given.
    pub(crate) fn node(
        &mut self,
        interner: &Arc<Interner>,
        object: &Bound<'_, PyAny>,
        node: Option<Node>,
    ) -> PyResult<Node> {
        let (name, node) = interner.take(object, node)?;
        let new = || Box::new(InUse { interner: interner.clone(), names: Vec::new() });
        self.0.get_or_insert_with(new).names.push(name);
        Ok(node)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let names = mem::take(&mut self.names);
        let unused = self.interner.table(|table| {
            names.iter().filter_map(|name| table.give_back(*name)).collect::<SmallVec<[_; 8]>>()
        });
        drop(unused); // with the mutex free: a destructor may be code of a user's
    }
}
