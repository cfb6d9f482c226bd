//! Who is in the way of a request.
//!
//! Each node lists the requests that have a root there. Who is in the way of a request has a root on the way
//! up from one of its roots, or below one. So the search follows the tree, along nodes with a conflicting
//! claim only: it takes time for the roots at these nodes and for their children, not for all that is live.
//! A flat request, whose ancestors are given, is listed at each node that it claims.

use std::iter::successors;

use super::{Live, LockTable};
use crate::{
    arena::Slot,
    blocked::Blocked,
    mode::Mode,
    root::{Placed, Root},
    sighting::State,
    tree::RootLink,
};

impl LockTable {
    /// Say who is in the way of a live request, unless it is granted.
    pub(crate) fn why_waiting(&self, id: Slot) -> Option<Blocked> {
        let live = &self.live[id];
        if live.state() == State::Held {
            return None;
        }
        let ahead = self.ahead_of(live);
        let (first, chain) = ahead.first().expect("who waits is waiting for somebody");
        let (_, at) = first.request.claims().leaf(*chain);
        let blocker = if first.request.claims().is_flat() {
            live.request.conflicting_at(&first.request, at)
        } else {
            Some(Placed::by_name(first.request.claims().root(*chain)))
        };
        let blocker = blocker.expect("a root that is in the way");
        let wanted = live.request.placed().find(|wanted| wanted.conflicts(&blocker));
        let wanted = wanted.expect("a root for which it waits");
        Some(Blocked {
            wanted: Root::new((wanted.access, wanted.node)),
            blocker: Root::new((blocker.access, blocker.node)),
            label: first.request.label().map(Into::into),
            ticket: first.ticket,
            state: first.state(),
            age: (self.clock)().duration_since(first.since).into(),
            ahead: ahead.len(),
            process: None,
        })
    }

    /// The earlier live requests that conflict with this one, the earliest first, each with the number of
    /// a chain whose root is in the way.
    fn ahead_of(&self, live: &Live) -> Vec<(&Live, usize)> {
        let mut found = Vec::new();
        let claims = live.request.claims();
        for (own, (chain, leaf)) in claims.chains().zip(live.leaves.as_slice()).enumerate() {
            // The chains have each node once, so each is looked at once.
            for (at, (_, mode)) in self.tree.upwards(leaf.at).zip(chain.upwards()) {
                found.extend(self.linked_in_the_way(at, mode, live.ticket));
            }
            let (mode, _) = claims.leaf(own);
            if mode == mode.intention() {
                continue;
            }
            let mode = claims.root(own).0.mode();
            let mut below: Vec<Slot> = self.tree.children(leaf.at).collect();
            while let Some(at) = below.pop() {
                if self.tree[at].claimed.has(mode.conflicts()) {
                    // What is flat and has this node above it was found there.
                    let by_name = |(other, _): &(&Live, usize)| !other.request.claims().is_flat();
                    found.extend(self.linked_in_the_way(at, mode, live.ticket).filter(by_name));
                    below.extend(self.tree.children(at));
                }
            }
        }
        found.sort_by_key(|(other, root)| (other.ticket, *root));
        found.dedup_by_key(|(other, _)| other.ticket);
        found
    }

    /// The chains linked at a node that conflict there with a mode, of requests earlier than a ticket.
    fn linked_in_the_way(
        &self,
        at: Slot,
        mode: Mode,
        ticket: u64,
    ) -> impl Iterator<Item = (&Live, usize)> {
        let rivals = mode.conflicts();
        let linked = self.tree[at].claimed.has(rivals).then(|| self.rooted_at(at));
        linked.into_iter().flatten().filter_map(move |link| {
            let (other, chain) = (&self.live[link.request], link.chain as usize);
            let claims = other.request.claims();
            let its_mode = match claims.is_flat() {
                true => claims.leaf(chain).0,
                false => claims.root(chain).0.mode(),
            };
            (other.ticket < ticket && rivals.contains(its_mode)).then_some((other, chain))
        })
    }

    /// The chains of live requests that end at a node.
    fn rooted_at(&self, at: Slot) -> impl Iterator<Item = RootLink> {
        let behind =
            |link: &RootLink| self.live[link.request].leaves.as_slice()[link.chain as usize].behind;
        successors(self.tree[at].roots, behind)
    }
}
