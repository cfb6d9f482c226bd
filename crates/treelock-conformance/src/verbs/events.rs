//! The check of what an engine tells of its requests.

use treelock::{
    State,
    engine::{Engine, Events, Held, Pending, What},
};

use super::{read, write};
use crate::{judged::Judged, subject::assert_empty};

/// What an event says, without its times.
#[derive(Debug, PartialEq)]
enum Told {
    Live(State, u64),
    Asked(u64),
    Granted(u64),
    Left(State, u64),
    Missed,
}

impl<L: Engine, const EXACT: bool> Judged<L, EXACT> {
    /// Waits for the next event. Asserts that it is about what was requested.
    fn told(&self, events: &mut Events<L::Error>) -> Told {
        let mut next = events.next();
        let event = self.setting().success(|| &mut next);
        if let Some(seen) = event.request() {
            let (label, roots) = (seen.request.label(), seen.request.to_string());
            let label = label.expect("every request here has one");
            assert!(roots.starts_with(&label.replace(' ', " /")), "{roots} is told for {label}");
        }
        match event.what {
            What::Live(state, seen) => Told::Live(state, seen.ticket),
            What::Asked(seen) => Told::Asked(seen.ticket),
            What::Granted(seen) => Told::Granted(seen.ticket),
            What::Left(state, seen) => Told::Left(state, seen.ticket),
            _ => Told::Missed,
        }
    }

    pub(super) fn events_tell_each_change_once(self) {
        let holder = self.hold(&write("a"));
        let mut waiter = self.queue(&write("a/b"));
        let (first, second) = (holder.ticket(), waiter.ticket().expect("it waits"));
        let mut events = self.success(|| self.lock().events());
        assert_eq!(self.told(&mut events), Told::Live(State::Held, first));
        assert_eq!(self.told(&mut events), Told::Live(State::Waiting, second));
        self.release(holder);
        assert_eq!(self.told(&mut events), Told::Left(State::Held, first));
        assert_eq!(self.told(&mut events), Told::Granted(second));
        let guard = self.granted(&mut waiter);
        let behind = self.queue(&read("a"));
        let third = behind.ticket().expect("it waits");
        assert_eq!(self.told(&mut events), Told::Asked(third));
        self.discard(behind);
        assert_eq!(self.told(&mut events), Told::Left(State::Waiting, third));
        let other = self.hold(&read("c"));
        assert_eq!(self.told(&mut events), Told::Asked(other.ticket()));
        assert_eq!(self.told(&mut events), Told::Granted(other.ticket()));
        self.release(guard);
        assert_eq!(self.told(&mut events), Told::Left(State::Held, second));
        let fourth = other.ticket();
        self.discard(other);
        assert_eq!(self.told(&mut events), Told::Left(State::Held, fourth));
        self.discard(events);
        assert_empty(&self);
    }
}
