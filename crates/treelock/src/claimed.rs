//! What is claimed at one node: a count per mode of the unblocked claims, a queue per mode of the blocked
//! ones. The head of `table.rs` says what these words mean and why it is enough.

use std::task::Waker;

use crate::{
    arena::{Arena, Slot},
    mode::{Mode, ModeSet},
};

/// The claims at one node.
#[derive(Default)]
pub(crate) struct Claimed {
    /// Unblocked claims of each mode.
    unblocked: [u32; Mode::COUNT],
    /// The modes with unblocked claims.
    counted: ModeSet,
    /// The modes with blocked claims.
    queued: ModeSet,
    /// The blocked claims, if there are any.
    queues: Option<Box<[Queue; Mode::COUNT]>>,
}

/// The blocked claims of one mode, in the order of their tickets.
#[derive(Clone, Copy, Default)]
struct Queue {
    head: Option<Slot>,
    tail: Option<Slot>,
}

/// A claim in a queue.
pub(crate) struct BlockedClaim {
    pub(crate) ticket: u64,
    /// The request, and the number of the claim in it.
    pub(crate) request: Slot,
    pub(crate) claim: usize,
    /// The request's, if this is its only blocked claim.
    pub(crate) waker: Option<Waker>,
    before: Option<Slot>,
    behind: Option<Slot>,
}

impl BlockedClaim {
    pub(crate) fn new(ticket: u64, request: Slot, claim: usize) -> BlockedClaim {
        BlockedClaim { ticket, request, claim, waker: None, before: None, behind: None }
    }
}

impl Claimed {
    /// Whether a claim that arrives now would be blocked: whether any claim here conflicts with it.
    #[inline]
    pub(crate) fn blocks(&self, mode: Mode) -> bool {
        self.has(mode.conflicts())
    }

    /// Whether there is a claim of one of these modes.
    #[inline]
    pub(crate) fn has(&self, modes: ModeSet) -> bool {
        self.counted.union(self.queued).intersects(modes)
    }

    /// Count an unblocked claim.
    #[inline]
    pub(crate) fn count(&mut self, mode: Mode) {
        self.unblocked[mode as usize] += 1;
        self.counted.insert(mode);
    }

    /// Take back what `count` did.
    #[inline]
    pub(crate) fn discount(&mut self, mode: Mode) {
        let count = &mut self.unblocked[mode as usize];
        *count -= 1;
        if *count == 0 {
            self.counted.remove(mode);
        }
    }

    #[inline]
    pub(crate) fn is_vacant(&self) -> bool {
        self.counted.union(self.queued).is_empty()
    }

    /// The modes with blocked claims.
    #[inline]
    pub(crate) fn queued(&self) -> ModeSet {
        self.queued
    }

    /// Put a blocked claim at the end of the queue of its mode.
    pub(crate) fn push(&mut self, mode: Mode, entry: Slot, blocked: &mut Arena<BlockedClaim>) {
        let queue = &mut self.queues.get_or_insert_default()[mode as usize];
        match queue.tail.replace(entry) {
            None => queue.head = Some(entry),
            Some(before) => {
                blocked[before].behind = Some(entry);
                blocked[entry].before = Some(before);
            }
        }
        self.queued.insert(mode);
    }

    /// Take a blocked claim out of the queue of its mode.
    pub(crate) fn unlink(
        &mut self,
        mode: Mode,
        entry: Slot,
        blocked: &mut Arena<BlockedClaim>,
    ) -> BlockedClaim {
        let claim = blocked.remove(entry);
        let queues = self.queues.as_mut().expect("a queue where a claim is queued");
        let queue = &mut queues[mode as usize];
        match claim.before {
            None => queue.head = claim.behind,
            Some(before) => blocked[before].behind = claim.behind,
        }
        match claim.behind {
            None => queue.tail = claim.before,
            Some(behind) => blocked[behind].before = claim.before,
        }
        if queue.head.is_none() {
            self.queued.remove(mode);
            if self.queued.is_empty() {
                self.queues = None;
            }
        }
        claim
    }

    /// The first blocked claim of this mode, if nothing earlier blocks it any more.
    pub(crate) fn unblockable(&self, mode: Mode, blocked: &Arena<BlockedClaim>) -> Option<Slot> {
        let queues = self.queues.as_ref()?;
        let own = queues[mode as usize].head?;
        let rivals = mode.conflicts();
        let earlier = |rival: Mode| {
            let head = queues[rival as usize].head.expect("a queued mode has a head");
            blocked[head].ticket < blocked[own].ticket
        };
        let free = !self.counted.intersects(rivals)
            && !self.queued.intersection(rivals).iter().any(earlier);
        free.then_some(own)
    }
}
