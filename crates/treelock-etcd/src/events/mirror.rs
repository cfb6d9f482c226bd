//! The live requests of a namespace as a listener knows them: [`Mirror`].
//!
//! etcd tells which entries were made and deleted, not which requests are granted. That follows
//! from the rule alone, so the mirror enters each request into a lock in memory, in the order of
//! etcd's revisions, and that lock says when it is granted.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant, SystemTime},
};

use treelock::{
    Acquire, Guard, State, TreeLock,
    engine::{Event, Sighting, What},
};

use crate::look::Place;

#[derive(Default)]
pub(super) struct Mirror {
    lock: TreeLock,
    live: HashMap<Place, Live>,
    woken: Arc<Woken>,
    has_begun: bool,
}

/// A live request.
struct Live {
    seen: Sighting,
    turn: Turn,
    asked: Option<Instant>,
    /// `None` if it waits, or was granted before the listening began.
    granted: Option<Instant>,
}

/// Its place in the lock in memory.
enum Turn {
    Waiting(Acquire),
    Held { _guard: Guard },
}

/// The places of requests that may be granted now.
type Woken = Mutex<Vec<Place>>;

struct PlaceWaker {
    place: Place,
    woken: Arc<Woken>,
}

impl Wake for PlaceWaker {
    fn wake(self: Arc<Self>) {
        let place = self.place.clone();
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}

impl Mirror {
    /// Takes in all live requests at one moment. Returns one event for each of them; or, if the
    /// mirror has begun already, that events are missing, and what has changed all in all.
    pub(super) fn all(&mut self, requests: Vec<(Place, Sighting)>) -> Vec<Event> {
        let now = Instant::now();
        if !std::mem::replace(&mut self.has_begun, true) {
            let mut places = Vec::new();
            for (place, seen) in requests {
                let asked = now.checked_sub(seen.asked);
                self.enter(place.clone(), seen, asked);
                places.push(place);
            }
            let live = places.iter().map(|place| {
                let live = &self.live[place];
                event(|seen| What::Live(live.state(), seen), live, now)
            });
            return live.collect();
        }
        let mut events = vec![Event::new(SystemTime::now(), What::Missed(None))];
        let there: HashSet<(&Place, u64)> =
            requests.iter().map(|(place, seen)| (place, seen.ticket)).collect();
        let is_gone =
            |(place, live): &(&Place, &Live)| !there.contains(&(*place, live.seen.ticket));
        let gone: Vec<Place> =
            self.live.iter().filter(is_gone).map(|(place, _)| place.clone()).collect();
        events.extend(gone.iter().flat_map(|place| self.deleted(place)));
        events.extend(requests.into_iter().flat_map(|(place, seen)| self.made(place, seen)));
        events
    }

    /// Takes in a request that was made just now.
    pub(super) fn made(&mut self, place: Place, seen: Sighting) -> Vec<Event> {
        let mut events = match self.live.get(&place) {
            // Another of its entries was written.
            Some(live) if live.seen.ticket == seen.ticket => return Vec::new(),
            Some(_) => self.deleted(&place),
            None => Vec::new(),
        };
        let now = Instant::now();
        let asked = Some(now);
        self.enter(place.clone(), seen, asked);
        let live = self.live.get_mut(&place).expect("it was just entered");
        let is_granted = live.state() == State::Held;
        events.push(event(What::Asked, live, now));
        if is_granted {
            live.granted = Some(now);
            events.push(event(What::Granted, live, now));
        }
        events
    }

    /// Takes in that an entry of a request was deleted, if it is one that is live.
    pub(super) fn deleted(&mut self, place: &Place) -> Vec<Event> {
        let now = Instant::now();
        let Some(live) = self.live.remove(place) else { return Vec::new() };
        let state = live.state();
        let mut events = vec![event(|seen| What::Left(state, seen), &live, now)];
        drop(live);
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for place in woken {
            let Some(live) = self.live.get_mut(&place) else { continue };
            if live.state() == State::Waiting && live.turn.is_granted(&place, &self.woken) {
                live.granted = Some(now);
                events.push(event(What::Granted, live, now));
            }
        }
        events
    }

    fn enter(&mut self, place: Place, seen: Sighting, asked: Option<Instant>) {
        let mut turn = Turn::Waiting(self.lock.acquire(&seen.request));
        turn.is_granted(&place, &self.woken);
        self.live.insert(place, Live { seen, turn, asked, granted: None });
    }
}

impl Live {
    fn state(&self) -> State {
        match self.turn {
            Turn::Waiting(_) => State::Waiting,
            Turn::Held { .. } => State::Held,
        }
    }
}

impl Turn {
    /// Looks whether it is granted, and whom to tell if not.
    fn is_granted(&mut self, place: &Place, woken: &Arc<Woken>) -> bool {
        let Turn::Waiting(acquire) = self else { return true };
        let waker =
            Waker::from(Arc::new(PlaceWaker { place: place.clone(), woken: woken.clone() }));
        match Pin::new(acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => {
                *self = Turn::Held { _guard: guard };
                true
            }
            Poll::Pending => false,
        }
    }
}

/// Returns an event of this request, which happens `now`.
fn event(what: impl FnOnce(Sighting) -> What, live: &Live, now: Instant) -> Event {
    let since = |then: Instant| now.saturating_duration_since(then);
    let asked = live.asked.map_or(Duration::ZERO, since);
    let granted = live.granted.map(since);
    Event::new(SystemTime::now(), what(Sighting { asked, granted, ..live.seen.clone() }))
}

#[cfg(test)]
mod tests {
    use treelock::Request;

    use super::*;

    fn place(slot: u64) -> Place {
        Place { session: "s".into(), slot }
    }

    fn request(ticket: u64, slot: u64, node: &str) -> (Place, Sighting) {
        let request = Request::new().write(node).expect("a node");
        let asked = Duration::from_secs(ticket);
        (place(slot), Sighting { ticket, request, asked, granted: None, process: None })
    }

    fn texts(events: Vec<Event>) -> Vec<String> {
        let text = |event: Event| {
            let ticket = event.request().map_or(0, |request| request.ticket);
            match event.what {
                What::Live(state, _) => format!("#{ticket} live {state}"),
                What::Asked(_) => format!("#{ticket} asked"),
                What::Granted(_) => format!("#{ticket} granted"),
                What::Left(state, _) => format!("#{ticket} left {state}"),
                What::Missed(count) => format!("missed {count:?}"),
                _ => unreachable!("these are all"),
            }
        };
        events.into_iter().map(text).collect()
    }

    fn made(mirror: &mut Mirror, (place, seen): (Place, Sighting)) -> Vec<String> {
        texts(mirror.made(place, seen))
    }

    #[test]
    fn grants_follow_from_the_rule() {
        let mut mirror = Mirror::default();
        let live = vec![request(5, 0, "a"), request(7, 1, "a/b")];
        assert_eq!(texts(mirror.all(live)), ["#5 live held", "#7 live waiting"]);
        assert_eq!(made(&mut mirror, request(9, 2, "c")), ["#9 asked", "#9 granted"]);
        assert_eq!(made(&mut mirror, request(10, 3, "a/b/c")), ["#10 asked"]);
        assert!(made(&mut mirror, request(10, 3, "a/b/c")).is_empty(), "it is known");
        assert_eq!(texts(mirror.deleted(&place(0))), ["#5 left held", "#7 granted"]);
        assert!(mirror.deleted(&place(0)).is_empty(), "it is gone");
        // A slot is used again, and its old request was deleted in the same step.
        assert_eq!(
            made(&mut mirror, request(12, 1, "d")),
            ["#7 left held", "#10 granted", "#12 asked", "#12 granted"]
        );
    }

    #[test]
    fn after_a_gap_the_listener_is_brought_up_to_date() {
        let mut mirror = Mirror::default();
        mirror.all(vec![request(5, 0, "a"), request(7, 1, "a")]);
        let now = vec![request(7, 1, "a"), request(20, 0, "a")];
        let events = texts(mirror.all(now));
        assert_eq!(events, ["missed None", "#5 left held", "#7 granted", "#20 asked"]);
    }

    #[test]
    fn what_was_held_before_has_waited_for_an_unknown_time() {
        let mut mirror = Mirror::default();
        let events = mirror.all(vec![request(5, 0, "a"), request(7, 1, "a")]);
        assert_eq!((events[0].waited(), events[0].held()), (None, None));
        assert!(events[1].waited() >= Some(Duration::from_secs(7)));
        let events = mirror.deleted(&place(0));
        assert_eq!((events[0].waited(), events[0].held()), (None, None));
        assert!(events[1].waited() >= Some(Duration::from_secs(7)));
        assert_eq!(events[1].held(), Some(Duration::ZERO));
    }
}
