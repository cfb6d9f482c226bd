//! The lock table: a state machine that takes requests and says whom to wake.
//!
//! # The grant rule
//!
//! *A request waits exactly for the earlier live requests that conflict with it, and is granted as soon
//! as there are none* (C1). The table decides it node by node, with work that does not depend on how
//! many requests are live.
//!
//! A request joins all its nodes in one step, with one claim (a joined mode) at each. Two requests
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

mod blockers;

use std::{slice, task::Waker};

use coarsetime::Instant;

use crate::{
    arena::{Arena, Slot},
    claimed::BlockedClaim,
    claims::{Chain, Claims},
    request::Request,
    sighting::{Sighting, State},
    tree::{RootLink, Tree},
};

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

pub(crate) struct LockTable {
    tree: Tree,
    live: Arena<Live>,
    blocked: Arena<BlockedClaim>,
    /// How many of the live requests are granted, and how many wait.
    held: usize,
    waiting: usize,
    tickets: u64,
    clock: fn() -> Instant,
}

/// A request that waits or holds.
struct Live {
    ticket: u64,
    since: Instant,
    request: Request,
    leaves: Leaves,
    waits: Waits,
}

/// What is left of a request that has left: to be dropped when the mutex is free, since it may hold the
/// waker of a cancelled future, whose drop is code of an executor's (C9).
#[must_use]
pub(crate) struct Left {
    _waits: Waits,
    _waker: Option<Waker>,
}

/// What a request waits for: the entries of its blocked claims in their queues. Mostly there is one.
enum Waits {
    /// For nothing: it is granted.
    Granted,
    /// The entry keeps the waker too, so that a hand-off touches few records.
    One {
        claim: u32,
        entry: Slot,
    },
    Many(Box<Many>),
}

struct Many {
    waker: Option<Waker>,
    /// The entry of each claim that is blocked.
    entries: Box<[Option<Slot>]>,
    remaining: usize,
}

impl Waits {
    /// The entry of a claim, if it is blocked.
    #[inline]
    fn entry(&self, claim: usize) -> Option<Slot> {
        match self {
            Waits::Granted => None,
            Waits::One { claim: blocked, entry } => (*blocked as usize == claim).then_some(*entry),
            Waits::Many(many) => many.entries[claim],
        }
    }
}

/// The deepest node of a chain; those above are its parents. And the neighbours in the list of the
/// requests that have a root there.
struct Leaf {
    at: Slot,
    before: Option<RootLink>,
    behind: Option<RootLink>,
}

/// The leaf of each chain. The common request has one, and needs no memory for it.
enum Leaves {
    One(Leaf),
    Many(Box<[Leaf]>),
}

impl Leaves {
    fn as_slice(&self) -> &[Leaf] {
        match self {
            Leaves::One(leaf) => slice::from_ref(leaf),
            Leaves::Many(leaves) => leaves,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Leaf] {
        match self {
            Leaves::One(leaf) => slice::from_mut(leaf),
            Leaves::Many(leaves) => leaves,
        }
    }
}

impl Live {
    fn state(&self) -> State {
        match self.waits {
            Waits::Granted => State::Held,
            _ => State::Waiting,
        }
    }
}

impl LockTable {
    pub(crate) fn new(clock: fn() -> Instant) -> LockTable {
        LockTable {
            tree: Tree::new(),
            live: Arena::new(),
            blocked: Arena::new(),
            held: 0,
            waiting: 0,
            tickets: 0,
            clock,
        }
    }

    /// Takes a ticket and joins all nodes. Returns the slot of the live request, good until it leaves, the
    /// ticket, and whether it is granted.
    pub(crate) fn enqueue(&mut self, request: Request) -> (Slot, u64, bool) {
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
        let ticket = self.tickets;
        let since = (self.clock)();
        let one = match &leaves {
            Leaves::One(leaf) => Some((leaf.at, leaf.behind)),
            Leaves::Many(_) => None,
        };
        let id = self.live.insert(Live { ticket, since, request, leaves, waits: Waits::Granted });
        match one {
            Some((at, behind)) => self.link_root(RootLink { request: id, chain: 0 }, at, behind),
            None => self.link_roots(id),
        }
        let granted = blocked.is_empty();
        if granted {
            self.held += 1;
        } else {
            self.waiting += 1;
            self.wait(id, &blocked);
        }
        (id, ticket, granted)
    }

    /// Claim the nodes of a chain, the latest at each; note the claims that are blocked, with their nodes.
    /// Returns the leaf, to be linked in front of those at its node.
    #[inline(always)]
    fn join_chain(&mut self, chain: &Chain<'_>, blocked: &mut Vec<(usize, Slot)>) -> Leaf {
        let leaf = self.tree.locate(chain.node);
        let mut at = leaf;
        for (claim, mode) in chain.upwards() {
            let branch = &mut self.tree[at];
            if branch.claimed.blocks(mode) {
                blocked.push((claim, at));
            } else {
                branch.claimed.count(mode);
            }
            at = branch.parent;
        }
        Leaf { at: leaf, before: None, behind: self.tree[leaf].roots }
    }

    /// Put the blocked claims of a new request, given with their nodes, into the queues there.
    #[cold]
    fn wait(&mut self, id: Slot, blocked: &[(usize, Slot)]) {
        let Live { ticket, request, .. } = &self.live[id];
        let claims = request.claims();
        let mut queue = |(claim, at): (usize, Slot)| {
            let entry = self.blocked.insert(BlockedClaim::new(*ticket, id, claim));
            self.tree[at].claimed.push(claims.mode(claim), entry, &mut self.blocked);
            entry
        };
        self.live[id].waits = if let &[(claim, at)] = blocked {
            Waits::One { claim: claim as u32, entry: queue((claim, at)) }
        } else {
            let mut entries = vec![None; claims.len()].into_boxed_slice();
            blocked.iter().for_each(|&(claim, at)| entries[claim] = Some(queue((claim, at))));
            Waits::Many(Box::new(Many { waker: None, entries, remaining: blocked.len() }))
        };
    }

    /// The waker to call when the request is granted; `None` if it is granted already.
    pub(crate) fn waker(&mut self, id: Slot) -> Option<&mut Option<Waker>> {
        match &mut self.live[id].waits {
            Waits::Granted => None,
            Waits::One { entry, .. } => Some(&mut self.blocked[*entry].waker),
            Waits::Many(many) => Some(&mut many.waker),
        }
    }

    /// Takes a request out, whether it waits or holds, and grants what becomes free. Returns what is left of
    /// it. Whoever asked has the request still, so that nothing of it is freed here.
    pub(crate) fn leave(&mut self, id: Slot, granted: &mut Granted) -> Left {
        let Live { request, leaves, waits, .. } = self.live.remove(id);
        let mut waker = None;
        match waits {
            Waits::Granted => self.held -= 1,
            _ => self.waiting -= 1,
        }
        match (request.claims(), &leaves) {
            (Claims::One(node, mode), Leaves::One(leaf)) => {
                self.leave_chain(&Chain::alone(node, mode), leaf, &waits, &mut waker, granted);
            }
            (Claims::Many(claims), Leaves::Many(leaves)) => {
                // Backwards, so that no node is left before those below it.
                for (chain, leaf) in claims.chains().zip(leaves).rev() {
                    self.leave_chain(&chain, leaf, &waits, &mut waker, granted);
                }
            }
            _ => {}
        }
        Left { _waits: waits, _waker: waker }
    }

    /// Take the claims of a chain back, from the deepest up.
    #[inline(always)]
    fn leave_chain(
        &mut self,
        chain: &Chain<'_>,
        leaf: &Leaf,
        waits: &Waits,
        waker: &mut Option<Waker>,
        granted: &mut Granted,
    ) {
        self.unlink_root(leaf);
        let mut at = leaf.at;
        for (claim, mode) in chain.upwards() {
            let branch = &mut self.tree[at];
            let parent = branch.parent;
            match waits.entry(claim) {
                None => branch.claimed.discount(mode),
                Some(entry) => {
                    let claim = branch.claimed.unlink(mode, entry, &mut self.blocked);
                    *waker = waker.take().or(claim.waker);
                }
            }
            if !branch.claimed.queued().is_empty() || (branch.claimed.is_vacant() && !branch.idle) {
                self.left(at, granted);
            }
            at = parent;
        }
    }

    /// See to a node that a claim was taken from.
    #[cold]
    fn left(&mut self, at: Slot, granted: &mut Granted) {
        if self.tree[at].claimed.queued().is_empty() {
            self.tree.rest(at);
        } else {
            self.unblock(at, granted);
        }
    }

    /// Look at the heads of the node's queues, and unblock what nothing earlier blocks any more. See the
    /// head of this file for why this is all there is to do.
    fn unblock(&mut self, at: Slot, granted: &mut Granted) {
        for mode in self.tree[at].claimed.queued().iter() {
            let claimed = &mut self.tree[at].claimed;
            while let Some(head) = claimed.unblockable(mode, &self.blocked) {
                let claim = claimed.unlink(mode, head, &mut self.blocked);
                claimed.count(mode);
                if unblocked(&mut self.live[claim.request], claim, self.clock, granted) {
                    self.waiting -= 1;
                    self.held += 1;
                }
            }
        }
    }

    /// How many live requests are granted, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.held, self.waiting)
    }

    /// All live requests, in no particular order. Takes time for each of them.
    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        let now = (self.clock)();
        let sight = |live: &Live| {
            let age = now.duration_since(live.since).into();
            Sighting {
                ticket: live.ticket,
                request: live.request.clone(),
                asked: age,
                granted: (live.state() == State::Held).then_some(age),
                process: None,
            }
        };
        self.live.iter().map(sight).collect()
    }
}

/// Note that a claim of a waiting request is no longer blocked; grant the request if it was the last.
/// Returns whether it is granted.
fn unblocked(
    live: &mut Live,
    claim: BlockedClaim,
    clock: fn() -> Instant,
    granted: &mut Granted,
) -> bool {
    let waker = match &mut live.waits {
        Waits::Granted => unreachable!("a blocked claim is a waiting request's"),
        Waits::One { .. } => claim.waker,
        Waits::Many(many) => {
            many.entries[claim.claim] = None;
            many.remaining -= 1;
            if many.remaining > 0 {
                return false;
            }
            many.waker.take()
        }
    };
    // Without a waker its first poll is under way and will see the grant.
    if let Some(waker) = waker {
        granted.push(waker);
    }
    live.waits = Waits::Granted;
    live.since = clock();
    true
}

/// The lists of the requests that have a root at a node.
impl LockTable {
    #[cold]
    fn leaf_mut(&mut self, link: RootLink) -> &mut Leaf {
        &mut self.live[link.request].leaves.as_mut_slice()[link.chain as usize]
    }

    fn link_roots(&mut self, request: Slot) {
        for chain in 0..self.live[request].leaves.as_slice().len() {
            let Leaf { at, behind, .. } = self.live[request].leaves.as_slice()[chain];
            self.link_root(RootLink { request, chain: chain as u32 }, at, behind);
        }
    }

    /// Put a root of a new request in front of those at the same node.
    #[inline(always)]
    fn link_root(&mut self, link: RootLink, at: Slot, behind: Option<RootLink>) {
        self.tree[at].roots = Some(link);
        if let Some(behind) = behind {
            self.leaf_mut(behind).before = Some(link);
        }
    }

    #[inline(always)]
    fn unlink_root(&mut self, leaf: &Leaf) {
        match leaf.before {
            None => self.tree[leaf.at].roots = leaf.behind,
            Some(before) => self.leaf_mut(before).behind = leaf.behind,
        }
        if let Some(behind) = leaf.behind {
            self.leaf_mut(behind).before = leaf.before;
        }
    }
}
