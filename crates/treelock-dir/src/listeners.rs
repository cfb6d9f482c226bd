//! Who listens to the events of a table, and telling them.
//!
//! The header of the table has the lives of the listeners' handles, and the number of the
//! [ring](crate::ring) that they listen to, which is 0 while nobody does. So who asks or leaves
//! looks at one number. The places are changed under the latch only. A listener that died is
//! forgotten by the next listener, or by who asks, each time that the ring has gone round.
//!
//! # Nothing is lost at the start
//!
//! Who asks looks whether somebody listens after its record is live, under the latch. Who leaves
//! looks after its state has changed. A listener enters itself under the latch, and looks at the
//! table afterwards. So whatever it does not find in the table is told to it.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use crate::{
    format::header::{self, Number},
    memory::Memory,
    ring::{Message, Ring, SLOTS},
    site::Site,
};

fn places() -> impl Iterator<Item = Number> {
    (header::LISTENERS..header::LISTENERS + header::LISTENERS_MAX).map(Number)
}

/// Enters the listener with this life, in the place of a dead one if need be. Returns whether there
/// was a place.
pub(crate) fn enter(memory: &Memory, life: u64, ring: u64, is_dead: impl Fn(u64) -> bool) -> bool {
    let is_own = |place: &Number| memory.get(*place) == life;
    if !places().any(|place| is_own(&place)) {
        forget(memory, is_dead);
        let Some(free) = places().find(|place| memory.get(*place) == 0) else { return false };
        memory.set(free, life);
    }
    memory.number(header::RING).swap(ring, Ordering::SeqCst);
    true
}

/// Forgets the dead ones, once in a round of the ring.
pub(crate) fn forget_dead(memory: &Memory, round: u64, is_dead: impl Fn(u64) -> bool) {
    if memory.get(header::RING_ROUND) != round {
        memory.set(header::RING_ROUND, round);
        forget(memory, is_dead);
    }
}

/// Forgets listeners. Behind the last one nothing is told any more.
pub(crate) fn forget(memory: &Memory, is_gone: impl Fn(u64) -> bool) {
    let mut are_left = false;
    for place in places() {
        match memory.get(place) {
            0 => {}
            life if is_gone(life) => memory.set(place, 0),
            _ => are_left = true,
        }
    }
    if !are_left {
        memory.number(header::RING).swap(0, Ordering::SeqCst);
    }
}

/// What a handle tells with: the ring that it opened last, or that could not be opened.
#[derive(Default)]
pub(crate) struct Teller(Mutex<Option<(u64, Option<Arc<Ring>>)>>);

impl Teller {
    /// Tells a message to those who listen. Returns how often the ring has gone round.
    pub(crate) fn tell(
        &self,
        memory: &Memory,
        site: &Site,
        message: impl FnOnce() -> Message,
    ) -> Option<u64> {
        match memory.number(header::RING).load(Ordering::SeqCst) {
            0 => None,
            number => self.tell_ring(number, site, message),
        }
    }

    #[cold]
    fn tell_ring(
        &self,
        number: u64,
        site: &Site,
        message: impl FnOnce() -> Message,
    ) -> Option<u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = match &*known {
            Some((last, ring)) if *last == number => ring.clone(),
            _ => {
                let ring = Ring::open(site.directory(), number).map(Arc::new);
                known.insert((number, ring)).1.clone()
            }
        };
        drop(known);
        // Without a ring, its listeners find out themselves.
        ring.map(|ring| ring.tell(&message()).end / SLOTS)
    }
}
