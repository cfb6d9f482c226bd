//! The live requests of a table as a listener knows them: [`Mirror`].
//!
//! It is told which requests are made and leave, not which are granted. That follows from the rule
//! alone (C1), so the mirror enters each request into a lock in memory, and that lock says when it
//! is granted: with the event by which the last request in its way leaves.

use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, SystemTime},
};

use treelock::{
    Acquire, Guard, Request, State, TreeLock,
    engine::{Event, Process, Sighting, What},
};

use crate::{kernel, ledger::Other};

/// A request that is live.
pub(crate) struct Seen {
    pub(crate) own: Other,
    pub(crate) request: Request,
    pub(crate) pid: u32,
    /// In nanoseconds since boot; `granted` is 0 if it is unknown.
    pub(crate) asked: u64,
    pub(crate) granted: u64,
}

/// What a listener knows.
#[derive(Default)]
pub(crate) struct Mirror {
    lock: TreeLock,
    live: BTreeMap<u64, Live>,
    woken: Arc<Woken>,
    /// The last ticket that is known.
    last: u64,
    has_begun: bool,
}

struct Live {
    cell: usize,
    request: Request,
    process: Arc<Process>,
    asked: u64,
    granted: u64,
    turn: Turn,
}

/// Its place in the lock in memory.
enum Turn {
    Waiting(Acquire),
    Held { _guard: Guard },
}

/// The tickets of requests that may be granted now.
type Woken = Mutex<Vec<u64>>;

struct TicketWaker {
    ticket: u64,
    woken: Arc<Woken>,
}

impl Wake for TicketWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.ticket);
    }
}

impl Mirror {
    /// Takes in all requests that are live, of those up to a ticket, the earliest first. Returns
    /// one event for each; or, if it has begun already, how many are missing, and what has changed
    /// all in all.
    pub(crate) fn all(&mut self, requests: Vec<Seen>, last: u64) -> Vec<Event> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.last = last;
            return requests.into_iter().map(|seen| self.begin(seen)).collect();
        }
        let now = kernel::since_boot();
        let there: HashSet<u64> = requests.iter().map(|seen| seen.own.ticket).collect();
        let new = there.iter().filter(|ticket| **ticket > self.last).count() as u64;
        let missed = last.saturating_sub(self.last).saturating_sub(new);
        self.last = self.last.max(last);
        let missed = (missed > 0).then(|| event(|| What::Missed(Some(missed)), now));
        let mut events: Vec<Event> = missed.into_iter().collect();
        let gone = self.live.keys().copied().filter(|ticket| !there.contains(ticket));
        for ticket in gone.collect::<Vec<_>>() {
            events.extend(self.left(ticket, now));
        }
        for seen in requests {
            if !self.live.contains_key(&seen.own.ticket) {
                events.extend(self.asked(seen));
            }
        }
        events
    }

    /// Forgets all, since the table is gone. What is said of another one is new.
    pub(crate) fn clear(&mut self) -> Vec<Event> {
        self.has_begun = true;
        self.last = 0;
        let now = kernel::since_boot();
        // The latest first, so that none is granted in between.
        let tickets: Vec<u64> = self.live.keys().rev().copied().collect();
        tickets.into_iter().flat_map(|ticket| self.left(ticket, now)).collect()
    }

    fn begin(&mut self, seen: Seen) -> Event {
        let now = kernel::since_boot();
        let (ticket, granted) = (seen.own.ticket, seen.granted);
        self.enter(seen, granted);
        let live = &self.live[&ticket];
        let state = live.state();
        event(|| What::Live(state, live.sighting(ticket, now)), now)
    }

    /// Returns the events of a request that was made.
    pub(crate) fn asked(&mut self, seen: Seen) -> Vec<Event> {
        let Seen { own: Other { ticket, .. }, asked, granted, .. } = seen;
        self.last = self.last.max(ticket);
        self.enter(seen, granted.max(asked));
        let live = &self.live[&ticket];
        let made = Sighting { granted: None, ..live.sighting(ticket, asked) };
        let mut events = vec![event(|| What::Asked(made), asked)];
        if let State::Held = live.state() {
            let at = live.granted;
            events.push(event(|| What::Granted(live.sighting(ticket, at)), at));
        }
        events
    }

    /// Returns the events of a request that has left: its own, and those of the requests that are
    /// granted now. There are none if it has been told already.
    pub(crate) fn left(&mut self, ticket: u64, at: u64) -> Vec<Event> {
        let Some(live) = self.live.remove(&ticket) else {
            // Nobody could tell that it was made: its owner died before.
            let is_new = ticket > self.last;
            self.last = self.last.max(ticket);
            return is_new.then(|| event(|| What::Missed(Some(1)), at)).into_iter().collect();
        };
        let state = live.state();
        let mut events = vec![event(|| What::Left(state, live.sighting(ticket, at)), at)];
        drop(live);
        let woken = self.woken.lock().map(|mut woken| std::mem::take(&mut *woken));
        let mut woken = woken.unwrap_or_default();
        woken.sort_unstable();
        for ticket in woken {
            if self.is_granted_now(ticket, at) {
                let live = &self.live[&ticket];
                events.push(event(|| What::Granted(live.sighting(ticket, at)), at));
            }
        }
        events
    }

    /// Returns the requests that are known to be live.
    pub(crate) fn live(&self) -> impl Iterator<Item = Other> {
        self.live.iter().map(|(ticket, live)| Other { ticket: *ticket, cell: live.cell })
    }

    /// Returns the last ticket that is known.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    fn enter(&mut self, seen: Seen, granted: u64) {
        let ticket = seen.own.ticket;
        let turn = Turn::Waiting(self.lock.acquire(&seen.request));
        let process = Process { pid: seen.pid, host: None }.into();
        let Seen { own: Other { cell, .. }, request, asked, .. } = seen;
        self.live.insert(ticket, Live { cell, request, process, asked, granted: 0, turn });
        self.is_granted_now(ticket, granted);
    }

    /// Returns whether a request that waited is granted. If so, that was at this time.
    fn is_granted_now(&mut self, ticket: u64, at: u64) -> bool {
        let Some(live) = self.live.get_mut(&ticket) else { return false };
        let Turn::Waiting(acquire) = &mut live.turn else { return false };
        let waker = Waker::from(Arc::new(TicketWaker { ticket, woken: self.woken.clone() }));
        let Poll::Ready(guard) = Pin::new(acquire).poll(&mut Context::from_waker(&waker)) else {
            return false;
        };
        live.turn = Turn::Held { _guard: guard };
        live.granted = at;
        true
    }
}

impl Live {
    fn state(&self) -> State {
        match self.turn {
            Turn::Waiting(_) => State::Waiting,
            Turn::Held { .. } => State::Held,
        }
    }

    /// Returns how it is shown at a moment.
    fn sighting(&self, ticket: u64, at: u64) -> Sighting {
        let ago = |then: u64| Duration::from_nanos(at.saturating_sub(then));
        Sighting {
            ticket,
            request: self.request.clone(),
            asked: ago(self.asked),
            granted: (self.granted != 0).then(|| ago(self.granted)),
            process: Some(self.process.clone()),
        }
    }
}

/// Returns an event at a time since boot.
fn event(what: impl FnOnce() -> What, at: u64) -> Event {
    let age = Duration::from_nanos(kernel::since_boot().saturating_sub(at));
    let at = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    Event::new(at, what())
}
