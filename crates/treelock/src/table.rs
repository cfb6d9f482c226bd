//! The lock table: a state machine that takes requests and says whom to wake.
//!
//! # The grant rule
//!
//! *A request waits exactly for the earlier live requests that conflict with it, and is granted as soon
//! as there are none* (C1). The table decides it node by node, with work that does not depend on how
//! many requests are live.
//!
//! A request joins all its nodes in one step, with one claim (a joined [`Mode`]) at each. Two requests
//! conflict iff they have conflicting claims at some node: if a root p of one contains a root q of the
//! other, their claims meet at p, where one has read or write and the other that or an intention; and
//! claims that conflict at a node come from two such roots, since a joined mode conflicts with just what
//! its parts conflict with (`mode.rs` tests this). So a request may be granted iff at every node no
//! earlier live claim conflicts with its own. Call such a claim *unblocked*.
//!
//! Each node keeps a count per mode of its unblocked claims and a FIFO queue per mode of its blocked
//! ones, and with them the invariants
//!
//! 1. a claim is blocked iff an earlier live claim at its node conflicts with it;
//! 2. a request is granted iff none of its claims is blocked.
//!
//! *Arrival.* All live claims are earlier than a new one, so it is blocked iff any mode that is counted or
//! queued at the node conflicts with its own: two bit masks and one comparison.
//!
//! *Leaving* can only unblock claims at the nodes that are left. Take a blocked claim b.
//!
//! - An unblocked claim u that conflicts with b is earlier than b: were it later, b would block it. So
//!   the counts need no order: b stays blocked if a counted mode conflicts with it.
//! - A blocked claim that conflicts with b and is earlier exists iff the head of some queue of a
//!   conflicting mode is earlier, since queues are in ticket order.
//! - Claims of b's own mode have the same conflicts, so if b is unblocked then so is every one before it
//!   in its queue: only heads need looking at, at most five.
//!
//! One pass over the queues is enough: what is unblocked goes from a queue to the counts and so goes on
//! blocking the same modes. Cancelling is leaving: a blocked claim is unlinked from its queue, and the
//! same heads are looked at. So cost depends on the request's own claims and on the requests granted (C7).
//!
//! A waiting request holds nothing (C3), but its unblocked claims are counted as everybody's are: they are
//! what later requests wait for.
//!
//! # The tree
//!
//! Only nodes that have claims are in memory, with their ancestors. The index finds a node by the hash of
//! its prefix; a request looks for its root first and, where that is found, has all ancestors by following
//! parents. Nodes whose last claim is gone stay for a while, since they are likely to be asked for again:
//! the 1,024 that became idle last, with their ancestors, less than 2 MiB for names of ordinary length (C8).

use std::{collections::VecDeque, task::Waker, time::Instant};

use hashbrown::HashTable;

use crate::{
    arena::Arena,
    mode::{Mode, ModeSet},
    node::Node,
    request::{Chain, Claims, Request},
    snapshot::{Blocked, Root, Sighting, State},
};

/// The most nodes without claims that are kept for their next use.
const IDLE_NODES: usize = 1024;

/// The longest name that an idle node may keep in memory, in bytes.
const IDLE_NAME: usize = 1024;

/// The tree's root is always in memory, in the first place of the arena.
const ROOT: u32 = 0;

/// No claim.
const NONE: u32 = u32::MAX;

/// Wakers of the requests that a step granted, in the order of granting. To be woken when the table's
/// mutex is free again (C9).
#[derive(Default)]
pub(crate) struct Granted {
    /// The only one, mostly, which needs no memory of its own.
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Granted {
    fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn into_wakers(self) -> impl Iterator<Item = Waker> {
        self.first.into_iter().chain(self.more)
    }
}

/// The deepest node of each chain of a request; those above are its parents. The common request has
/// one chain, and needs no memory for it.
enum Leaves {
    One(u32),
    Many(Box<[u32]>),
}

pub(crate) struct LockTable {
    nodes: Arena<Place>,
    index: HashTable<u32>,
    idle: VecDeque<u32>,
    live: Arena<Live>,
    blocked: Arena<BlockedClaim>,
    tickets: u64,
    clock: fn() -> Instant,
}

/// What is claimed at a node.
struct Place {
    /// The node, or one below it; its first `depth` components are meant.
    node: Node,
    depth: u32,
    parent: u32,
    /// Nodes in memory whose parent this is.
    children: u32,
    /// Unblocked claims of each mode.
    unblocked: [u32; Mode::COUNT],
    /// The modes with unblocked claims.
    counted: ModeSet,
    /// The modes with blocked claims.
    queued: ModeSet,
    /// Whether the node is in the queue of idle ones.
    idle: bool,
    /// The blocked claims, if there are any.
    queues: Option<Box<[Queue; Mode::COUNT]>>,
}

/// The blocked claims of one mode at one node, in the order of their tickets.
#[derive(Clone, Copy)]
struct Queue {
    head: u32,
    tail: u32,
}

struct BlockedClaim {
    ticket: u64,
    request: u32,
    claim: u32,
    before: u32,
    behind: u32,
}

/// A request that waits or holds.
struct Live {
    ticket: u64,
    since: Instant,
    request: Request,
    leaves: Leaves,
    waiting: Option<Box<Waiting>>,
}

/// What only a waiting request needs.
struct Waiting {
    waker: Option<Waker>,
    /// The blocked claim, or `NONE`, for each claim.
    blocked: Box<[u32]>,
    /// How many are not `NONE`.
    remaining: usize,
}

impl Place {
    fn new(node: Node, depth: u32, parent: u32) -> Place {
        Place {
            node,
            depth,
            parent,
            children: 0,
            unblocked: [0; Mode::COUNT],
            counted: ModeSet::default(),
            queued: ModeSet::default(),
            idle: false,
            queues: None,
        }
    }

    /// Whether a claim that arrives now would be blocked.
    #[inline]
    fn blocks(&self, mode: Mode) -> bool {
        self.counted.union(self.queued).intersects(mode.conflicts())
    }

    /// Count an unblocked claim.
    #[inline]
    fn count(&mut self, mode: Mode) {
        self.unblocked[mode as usize] += 1;
        self.counted.insert(mode);
    }

    /// Take back what `count` did.
    #[inline]
    fn discount(&mut self, mode: Mode) {
        let count = &mut self.unblocked[mode as usize];
        *count -= 1;
        if *count == 0 {
            self.counted.remove(mode);
        }
    }

    #[inline]
    fn has_claims(&self) -> bool {
        !self.counted.union(self.queued).is_empty()
    }

    fn hash(&self) -> u64 {
        self.node.hash(self.depth as usize)
    }

    fn queue(&mut self, mode: Mode) -> &mut Queue {
        const EMPTY: Queue = Queue { head: NONE, tail: NONE };
        &mut self.queues.get_or_insert_with(|| Box::new([EMPTY; Mode::COUNT]))[mode as usize]
    }
}

impl Live {
    fn state(&self) -> State {
        if self.waiting.is_some() { State::Waiting } else { State::Held }
    }
}

impl LockTable {
    pub(crate) fn new(clock: fn() -> Instant) -> LockTable {
        let mut nodes = Arena::new();
        // It counts as idle for good, so that nobody thinks of forgetting it.
        let root = nodes.insert(Place { idle: true, ..Place::new(Node::root(), 0, ROOT) });
        debug_assert_eq!(root, ROOT);
        LockTable {
            nodes,
            index: HashTable::new(),
            idle: VecDeque::new(),
            live: Arena::new(),
            blocked: Arena::new(),
            tickets: 0,
            clock,
        }
    }

    /// Take a ticket and join all nodes. Returns the number of the live request, good until it leaves,
    /// and whether it is granted.
    pub(crate) fn enqueue(&mut self, request: Request) -> (u32, bool) {
        let mut blocked = Vec::new();
        let leaves = match request.claims() {
            Claims::None => Leaves::Many(Box::default()),
            Claims::One(node, mode) => {
                Leaves::One(self.join_chain(&Chain::alone(node, mode), &mut blocked))
            }
            Claims::Many(claims) => Leaves::Many(
                claims.chains().map(|chain| self.join_chain(&chain, &mut blocked)).collect(),
            ),
        };
        self.tickets += 1;
        let live =
            Live { ticket: self.tickets, since: (self.clock)(), request, leaves, waiting: None };
        let id = self.live.insert(live);
        let granted = blocked.is_empty();
        if !granted {
            self.wait(id, &blocked);
        }
        (id, granted)
    }

    /// Claim the nodes of a chain, the latest at each; note the claims that are blocked. Returns the
    /// deepest node.
    #[inline(always)]
    fn join_chain(&mut self, chain: &Chain<'_>, blocked: &mut Vec<(usize, u32)>) -> u32 {
        let leaf = self.place(chain.node);
        let mut at = leaf;
        for (claim, mode) in chain.upwards() {
            let node = &mut self.nodes[at];
            if node.blocks(mode) {
                blocked.push((claim, at));
            } else {
                node.count(mode);
            }
            at = node.parent;
        }
        leaf
    }

    /// Put the blocked claims of a new request, given with their nodes, into the queues there.
    #[cold]
    fn wait(&mut self, id: u32, blocked: &[(usize, u32)]) {
        let Live { ticket, request, .. } = &self.live[id];
        let claims = request.claims();
        let mut entries = vec![NONE; claims.len()].into_boxed_slice();
        for &(claim, at) in blocked {
            let mode = claims.mode(claim);
            let node = &mut self.nodes[at];
            let before = node.queue(mode).tail;
            let entry = self.blocked.insert(BlockedClaim {
                ticket: *ticket,
                request: id,
                claim: claim as u32,
                before,
                behind: NONE,
            });
            match before {
                NONE => node.queue(mode).head = entry,
                before => self.blocked[before].behind = entry,
            }
            node.queue(mode).tail = entry;
            node.queued.insert(mode);
            entries[claim] = entry;
        }
        let waiting = Waiting { waker: None, blocked: entries, remaining: blocked.len() };
        self.live[id].waiting = Some(Box::new(waiting));
    }

    pub(crate) fn request(&self, id: u32) -> &Request {
        &self.live[id].request
    }

    /// The waker to call when the request is granted; `None` if it is granted already.
    pub(crate) fn waker(&mut self, id: u32) -> Option<&mut Option<Waker>> {
        self.live[id].waiting.as_mut().map(|waiting| &mut waiting.waker)
    }

    /// Take a request out, whether it waits or holds, and grant what becomes free. Returns it, to be
    /// dropped when the mutex is free.
    pub(crate) fn leave(&mut self, id: u32, granted: &mut Granted) -> Request {
        let Live { request, leaves, waiting, .. } = self.live.remove(id);
        let waiting = waiting.as_deref();
        match (request.claims(), &leaves) {
            (Claims::One(node, mode), Leaves::One(leaf)) => {
                self.leave_chain(&Chain::alone(node, mode), *leaf, waiting, granted);
            }
            (Claims::Many(claims), Leaves::Many(leaves)) => {
                // Backwards, so that no node is left before those below it.
                for (chain, leaf) in claims.chains().zip(leaves).rev() {
                    self.leave_chain(&chain, *leaf, waiting, granted);
                }
            }
            _ => {}
        }
        request
    }

    /// Take the claims of a chain back, from the deepest up.
    #[inline(always)]
    fn leave_chain(
        &mut self,
        chain: &Chain<'_>,
        leaf: u32,
        waiting: Option<&Waiting>,
        granted: &mut Granted,
    ) {
        let mut at = leaf;
        for (claim, mode) in chain.upwards() {
            let entry = waiting.map_or(NONE, |waiting| waiting.blocked[claim]);
            if entry != NONE {
                self.unlink(at, mode, entry);
            }
            let node = &mut self.nodes[at];
            let parent = node.parent;
            if entry == NONE {
                node.discount(mode);
            }
            if !node.queued.is_empty() || (node.counted.is_empty() && !node.idle) {
                self.left(at, granted);
            }
            at = parent;
        }
    }

    /// See to a node that a claim was taken from.
    #[cold]
    fn left(&mut self, at: u32, granted: &mut Granted) {
        if self.nodes[at].queued.is_empty() {
            self.rest(at);
        } else {
            self.unblock(at, granted);
        }
    }

    /// Say who is in the way of a live request, unless it is granted.
    pub(crate) fn why_waiting(&self, id: u32) -> Option<Blocked> {
        let live = &self.live[id];
        live.waiting.as_ref().map(|_| self.explain(&live.request, live.ticket))
    }

    /// All live requests, in no particular order. Takes time for each, so it is for people, not for
    /// programs that run with it.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        let now = (self.clock)();
        let sight = |live: &Live| Sighting {
            ticket: live.ticket,
            state: live.state(),
            age: now.saturating_duration_since(live.since),
            request: live.request.clone(),
        };
        self.live.iter().map(sight).collect()
    }

    /// Look at the heads of the node's queues, and unblock what nothing earlier blocks any more. See the
    /// head of this file for why this is all there is to do.
    fn unblock(&mut self, at: u32, granted: &mut Granted) {
        for mode in self.nodes[at].queued.iter() {
            while self.head_is_unblocked(at, mode) {
                let head = self.nodes[at].queue(mode).head;
                let BlockedClaim { request, claim, .. } = self.unlink(at, mode, head);
                self.nodes[at].count(mode);
                self.unblocked(request, claim, granted);
            }
        }
    }

    /// Whether nothing earlier blocks the first blocked claim of this mode, if there is one.
    fn head_is_unblocked(&self, at: u32, mode: Mode) -> bool {
        let node = &self.nodes[at];
        let Some(queues) = &node.queues else { return false };
        if !node.queued.contains(mode) || node.counted.intersects(mode.conflicts()) {
            return false;
        }
        let ticket = |mode: Mode| self.blocked[queues[mode as usize].head].ticket;
        let rivals = node.queued.intersection(mode.conflicts());
        rivals.iter().all(|rival| ticket(rival) >= ticket(mode))
    }

    /// Note that a claim of a waiting request is no longer blocked; grant the request if it was the last.
    fn unblocked(&mut self, id: u32, claim: u32, granted: &mut Granted) {
        let live = &mut self.live[id];
        let waiting = live.waiting.as_mut().expect("a blocked claim is a waiting request's");
        waiting.blocked[claim as usize] = NONE;
        waiting.remaining -= 1;
        if waiting.remaining == 0 {
            // Without a waker it is not being awaited yet: its first poll is under way and will see.
            if let Some(waker) = waiting.waker.take() {
                granted.push(waker);
            }
            live.waiting = None;
            live.since = (self.clock)();
        }
    }

    /// Take a blocked claim out of its queue.
    fn unlink(&mut self, at: u32, mode: Mode, entry: u32) -> BlockedClaim {
        let claim = self.blocked.remove(entry);
        let node = &mut self.nodes[at];
        match claim.before {
            NONE => node.queue(mode).head = claim.behind,
            before => self.blocked[before].behind = claim.behind,
        }
        match claim.behind {
            NONE => node.queue(mode).tail = claim.before,
            behind => self.blocked[behind].before = claim.before,
        }
        if node.queue(mode).head == NONE {
            node.queued.remove(mode);
            if node.queued.is_empty() {
                node.queues = None;
            }
        }
        claim
    }

    /// Say who is in the way of a request: of the live requests earlier than `ticket`.
    ///
    /// Compares with all of them. Who asks and fails pays for the explanation; who locks and unlocks
    /// keeps no books for it.
    #[cold]
    fn explain(&self, request: &Request, ticket: u64) -> Blocked {
        let mut ahead = 0;
        let mut first: Option<&Live> = None;
        for live in self.live.iter().filter(|live| live.ticket < ticket) {
            if request.conflict(&live.request).is_some() {
                ahead += 1;
                first = first.filter(|first| first.ticket < live.ticket).or(Some(live));
            }
        }
        let first = first.expect("a blocked claim has an earlier conflicting request");
        let conflict = request.conflict(&first.request).expect("found above");
        Blocked {
            wanted: Root::new(conflict.own),
            blocker: Root::new(conflict.other),
            label: first.request.get_label().map(Into::into),
            ticket: first.ticket,
            state: first.state(),
            age: (self.clock)().saturating_duration_since(first.since),
            ahead,
        }
    }
}

/// The tree.
impl LockTable {
    /// Where a node is in memory; it and its ancestors are put there if they are not.
    #[inline]
    fn place(&mut self, node: &Node) -> u32 {
        let depth = node.depth();
        match self.find(node, depth) {
            Some(at) => at,
            None => self.put(node, depth),
        }
    }

    /// Put the prefix of a node into memory, and those above it that are not there.
    #[cold]
    fn put(&mut self, node: &Node, depth: usize) -> u32 {
        let found = (0..depth).rev().find_map(|depth| Some((depth, self.find(node, depth)?)));
        let (above, mut at) = found.expect("the root is always there");
        for depth in above + 1..=depth {
            self.nodes[at].children += 1;
            at = self.nodes.insert(Place::new(node.clone(), depth as u32, at));
            let nodes = &self.nodes;
            self.index.insert_unique(node.hash(depth), at, |at| nodes[*at].hash());
        }
        at
    }

    #[inline(always)]
    fn find(&self, node: &Node, depth: usize) -> Option<u32> {
        if depth == 0 {
            return Some(ROOT);
        }
        let same = |at: &u32| {
            let place = &self.nodes[*at];
            place.depth as usize == depth && place.node.shares(node, depth)
        };
        self.index.find(node.hash(depth), same).copied()
    }

    /// Keep a node without claims for its next use, and forget the one that has rested longest if these
    /// are too many.
    fn rest(&mut self, at: u32) {
        let node = &mut self.nodes[at];
        if node.idle || node.has_claims() {
            return;
        }
        if node.node.size() > IDLE_NAME {
            node.node = node.node.prefix(node.depth as usize);
            if node.node.size() > IDLE_NAME {
                return self.forget(at);
            }
        }
        node.idle = true;
        self.idle.push_back(at);
        if self.idle.len() > IDLE_NODES {
            let oldest = self.idle.pop_front().expect("more than none");
            self.nodes[oldest].idle = false;
            self.forget(oldest);
        }
    }

    /// Remove a node, and those above it that were there for its sake, if nobody needs them.
    fn forget(&mut self, mut at: u32) {
        loop {
            let node = &self.nodes[at];
            if node.idle || node.has_claims() || node.children > 0 {
                return;
            }
            let Ok(entry) = self.index.find_entry(node.hash(), |other| *other == at) else {
                return;
            };
            entry.remove();
            at = self.nodes.remove(at).parent;
            self.nodes[at].children -= 1;
            self.shrink();
        }
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
