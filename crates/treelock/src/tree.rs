//! The nodes that are in memory: those with claims, and their ancestors.
//!
//! The index finds a node by the hash of its prefix. A request looks for its root first and, where that is
//! found, has all ancestors by following parents.
//!
//! Nodes whose last claim is gone stay for a while, since they are likely to be asked for again: the 1,024
//! that became idle last, with their ancestors (less than 2 MiB for names of ordinary length, C8). They
//! wait in a queue; one that is used again keeps its place in it, so that using a node costs nothing here.

use std::{
    collections::VecDeque,
    ops::{Index, IndexMut},
};

use hashbrown::HashTable;

use crate::{
    arena::{Arena, Slot},
    claimed::Claimed,
    node::Node,
};

/// The most nodes without claims that are kept for their next use.
const IDLE_NODES: usize = 1024;

/// The longest name that an idle node may keep in memory, in bytes.
const IDLE_NAME: usize = 1024;

/// The tree's root, which is always in memory.
const ROOT: Slot = Slot::FIRST;

pub(crate) struct Tree {
    nodes: Arena<Branch>,
    index: HashTable<Slot>,
    idle: VecDeque<Slot>,
}

/// A node in memory.
pub(crate) struct Branch {
    /// The node, or one below it; its first `depth` components are meant.
    node: Node,
    depth: u32,
    /// The node above; the root is its own.
    pub(crate) parent: Slot,
    /// The nodes below are a list: the first, and each one's neighbours.
    first_child: Option<Slot>,
    before: Option<Slot>,
    behind: Option<Slot>,
    /// Whether it is in the queue of idle nodes. The root counts as such for good, so that nobody thinks
    /// of forgetting it.
    pub(crate) idle: bool,
    /// The requests that have a root here.
    pub(crate) roots: Option<RootLink>,
    pub(crate) claimed: Claimed,
}

/// One root of a live request: the request and the number of the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RootLink {
    pub(crate) request: Slot,
    pub(crate) chain: u32,
}

impl Branch {
    fn new(node: Node, depth: usize, parent: Slot) -> Branch {
        Branch {
            node,
            depth: u32::try_from(depth).expect("a node has fewer than 2^32 components"),
            parent,
            first_child: None,
            before: None,
            behind: None,
            idle: false,
            roots: None,
            claimed: Claimed::default(),
        }
    }

    fn depth(&self) -> usize {
        self.depth as usize
    }

    fn hash(&self) -> u64 {
        self.node.hash(self.depth())
    }

    fn is_needed(&self) -> bool {
        self.idle || !self.claimed.is_vacant() || self.first_child.is_some()
    }
}

impl Tree {
    pub(crate) fn new() -> Tree {
        let mut nodes = Arena::new();
        let root = Branch { idle: true, ..Branch::new(Node::root(), 0, ROOT) };
        let at = nodes.insert(root);
        debug_assert_eq!(at, ROOT);
        Tree { nodes, index: HashTable::new(), idle: VecDeque::new() }
    }

    /// Where a node is; it and its ancestors are brought into memory if they are not there.
    #[inline]
    pub(crate) fn locate(&mut self, node: &Node) -> Slot {
        let depth = node.depth();
        match self.find(node, depth) {
            Some(at) => at,
            None => self.bring(node, depth),
        }
    }

    #[inline(always)]
    fn find(&self, node: &Node, depth: usize) -> Option<Slot> {
        if depth == 0 {
            return Some(ROOT);
        }
        let same = |at: &Slot| {
            let branch = &self.nodes[*at];
            branch.depth() == depth && branch.node.shares(node, depth)
        };
        self.index.find(node.hash(depth), same).copied()
    }

    #[cold]
    fn bring(&mut self, node: &Node, depth: usize) -> Slot {
        let found = (0..depth).rev().find_map(|depth| Some((depth, self.find(node, depth)?)));
        let (above, mut at) = found.expect("the root is always there");
        for depth in above + 1..=depth {
            let parent = at;
            at = self.nodes.insert(Branch::new(short_name(node, depth), depth, parent));
            if let Some(sibling) = self.nodes[parent].first_child.replace(at) {
                self.nodes[sibling].before = Some(at);
                self.nodes[at].behind = Some(sibling);
            }
            let nodes = &self.nodes;
            self.index.insert_unique(node.hash(depth), at, |at| nodes[*at].hash());
        }
        at
    }

    /// The node and all above it, the root last.
    pub(crate) fn upwards(&self, at: Slot) -> impl Iterator<Item = Slot> {
        let above = |at: &Slot| (*at != ROOT).then(|| self.nodes[*at].parent);
        std::iter::successors(Some(at), above)
    }

    /// The nodes directly below.
    pub(crate) fn children(&self, at: Slot) -> impl Iterator<Item = Slot> {
        std::iter::successors(self.nodes[at].first_child, |child| self.nodes[*child].behind)
    }

    /// Keep a node without claims for its next use, and forget the one that has been idle longest if there
    /// are too many.
    pub(crate) fn rest(&mut self, at: Slot) {
        let far_out = self.is_far_out(at);
        let branch = &mut self.nodes[at];
        if branch.idle || !branch.claimed.is_vacant() {
            return;
        }
        if far_out {
            // Those that were kept while there were more nodes go the same way, one for one; and later than
            // this one, which may go with the oldest, its child.
            self.forget(at);
            return self.forget_oldest();
        }
        if branch.node.prefix_size(branch.depth()) > IDLE_NAME {
            return self.forget(at);
        }
        branch.node = short_name(&branch.node, branch.depth());
        branch.idle = true;
        self.idle.push_back(at);
        if self.idle.len() > IDLE_NODES {
            self.forget_oldest();
        }
    }

    /// Forget the node that has been idle longest.
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.idle.pop_front() {
            self.nodes[oldest].idle = false;
            self.forget(oldest);
        }
    }

    /// Whether a node lies among slots of which most are empty by now: it is not kept, so that the arena can
    /// shrink when many nodes have gone.
    fn is_far_out(&self, at: Slot) -> bool {
        at.number() > 16 * (self.index.len() + IDLE_NODES)
    }

    /// Remove a node, and those above it that were there for its sake, if nobody needs them.
    fn forget(&mut self, mut at: Slot) {
        while !self.nodes[at].is_needed() {
            let hash = self.nodes[at].hash();
            let entry = self.index.find_entry(hash, |other| *other == at);
            entry.expect("every node but the root is in the index").remove();
            let branch = self.nodes.remove(at);
            match branch.before {
                None => self.nodes[branch.parent].first_child = branch.behind,
                Some(before) => self.nodes[before].behind = branch.behind,
            }
            if let Some(behind) = branch.behind {
                self.nodes[behind].before = branch.before;
            }
            at = branch.parent;
        }
        self.shrink();
    }

    /// Give memory of the index back when most of it is empty. Halving at an eighth leaves as many
    /// removals before the next time as this one moves entries.
    fn shrink(&mut self) {
        if self.index.capacity() > 4 * IDLE_NODES && self.index.len() < self.index.capacity() / 8 {
            let nodes = &self.nodes;
            self.index.shrink_to(2 * self.index.len(), |at| nodes[*at].hash());
        }
    }
}

/// A node to keep for its prefix: a long name is not kept for the sake of a short one.
fn short_name(node: &Node, depth: usize) -> Node {
    let is_wasteful = node.size() > IDLE_NAME && node.prefix_size(depth) <= IDLE_NAME;
    if is_wasteful { node.prefix(depth) } else { node.clone() }
}

impl Index<Slot> for Tree {
    type Output = Branch;

    #[inline]
    fn index(&self, at: Slot) -> &Branch {
        &self.nodes[at]
    }
}

impl IndexMut<Slot> for Tree {
    #[inline]
    fn index_mut(&mut self, at: Slot) -> &mut Branch {
        &mut self.nodes[at]
    }
}
