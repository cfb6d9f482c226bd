//! Events from snapshots: [`Changes`] compares each snapshot with the one before, for engines that
//! do not tell their events themselves.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    events::{Event, What},
    request::Request,
    sighting::{Sighting, State},
    snapshot::{Entry, Snapshot},
};

/// How much two ages of one request may differ from the time between them: clocks are coarse, and a
/// snapshot takes its time.
const AGE_ERROR_MAX: Duration = Duration::from_millis(500);

/// What the last snapshot showed.
#[derive(Default)]
pub(crate) struct Changes {
    live: BTreeMap<u64, Known>,
    /// The last ticket that was ever seen.
    last: Option<u64>,
    looked: Option<Instant>,
}

/// A live request, with the moments that its ages are counted from.
struct Known {
    entry: Entry,
    /// `None` if it was held at the first look: a snapshot does not show how long it had waited.
    asked: Option<Instant>,
    granted: Option<Instant>,
}

impl Changes {
    /// Returns what has happened since the last call, when the snapshot was taken `now`. First all
    /// live requests.
    ///
    /// Requests that were made come first, then those that left, then those that were granted. So
    /// two requests that conflict are never shown as held at the same time.
    pub(crate) fn since(&mut self, snapshot: Snapshot, now: Instant) -> Vec<Event> {
        let before = self.looked.replace(now);
        let mut earlier = std::mem::take(&mut self.live);
        let (mut asked, mut left, mut granted) = (Vec::new(), Vec::new(), Vec::new());
        let missed = self.missed(&snapshot);
        for entry in snapshot.entries {
            let ticket = entry.ticket;
            let old = earlier.remove(&ticket);
            let known = match old {
                Some(old) if old.is_same(&entry, now) => {
                    let was_waiting = old.entry.state == State::Waiting;
                    let known = old.become_now(entry, before, now);
                    if was_waiting && known.granted.is_some() {
                        granted.push(known.event(What::Granted, known.granted.unwrap_or(now), now));
                    }
                    known
                }
                old => {
                    left.extend(old.map(|old| old.left(now)));
                    let mut known = Known::new(entry, now);
                    if before.is_none() {
                        let state = known.entry.state;
                        known.asked = known.asked.filter(|_| state == State::Waiting);
                        asked.push(known.event(|seen| What::Live(state, seen), now, now));
                    } else {
                        asked.push(known.event(What::Asked, known.since(now), now));
                        if let Some(at) = known.granted {
                            granted.push(known.event(What::Granted, at, now));
                        }
                    }
                    known
                }
            };
            self.live.insert(ticket, known);
        }
        left.extend(earlier.into_values().map(|old| old.left(now)));
        missed.into_iter().chain(asked).chain(left).chain(granted).collect()
    }

    /// Returns an event if tickets were issued that no snapshot has shown.
    fn missed(&mut self, snapshot: &Snapshot) -> Option<Event> {
        let last = snapshot.entries.last()?.ticket;
        // A table that was replaced begins with ticket 1 again.
        let before = self.last.replace(self.last.map_or(last, |before| before.max(last)))?;
        let new = snapshot.entries.iter().filter(|entry| entry.ticket > before).count() as u64;
        let count = last.saturating_sub(before).saturating_sub(new);
        let what = What::Missed(Some(count));
        (count > 0).then(|| Event { at: SystemTime::now(), what })
    }
}

impl Known {
    fn new(entry: Entry, now: Instant) -> Known {
        let since = now.checked_sub(entry.age).unwrap_or(now);
        let granted = (entry.state == State::Held).then_some(since);
        Known { entry, asked: Some(since), granted }
    }

    /// Returns whether this entry shows the same request, and not another one with the same ticket
    /// in a table that was replaced.
    fn is_same(&self, entry: &Entry, now: Instant) -> bool {
        let old = &self.entry;
        let since = now.checked_sub(entry.age).unwrap_or(now);
        let is_as_old = match (old.state, entry.state) {
            (State::Waiting, State::Held) => true,
            (State::Held, State::Waiting) => false,
            _ => since.saturating_duration_since(self.since(now)) < AGE_ERROR_MAX,
        };
        let same = (&old.label, &old.roots, &old.process);
        is_as_old && same == (&entry.label, &entry.roots, &entry.process)
    }

    /// Returns since when it is in its state.
    fn since(&self, now: Instant) -> Instant {
        self.granted.or(self.asked).unwrap_or(now)
    }

    /// Returns the same request as this entry shows it. The last look was `before`.
    fn become_now(self, entry: Entry, before: Option<Instant>, now: Instant) -> Known {
        let granted = match (self.granted, entry.state) {
            (None, State::Held) => {
                // It was waiting then; some engines do not know the time of the grant.
                let age = before.map_or(entry.age, |before| entry.age.min(now - before));
                now.checked_sub(age)
            }
            (granted, _) => granted,
        };
        Known { entry, asked: self.asked, granted }
    }

    fn left(&self, now: Instant) -> Event {
        let state = self.entry.state;
        self.event(|seen| What::Left(state, seen), now, now)
    }

    /// Returns an event of this request that happened at a moment up to `now`.
    fn event(&self, what: impl FnOnce(Sighting) -> What, at: Instant, now: Instant) -> Event {
        let since = |then: Instant| at.saturating_duration_since(then);
        let seen = Sighting {
            ticket: self.entry.ticket,
            request: request(&self.entry),
            asked: self.asked.map_or(Duration::ZERO, since),
            granted: self.granted.filter(|granted| *granted <= at).map(since),
            process: self.entry.process.clone(),
        };
        let at = SystemTime::now().checked_sub(now.saturating_duration_since(at));
        Event { at: at.unwrap_or(SystemTime::UNIX_EPOCH), what: what(seen) }
    }
}

fn request(entry: &Entry) -> Request {
    let roots = entry.roots.iter();
    let request =
        roots.fold(Request::new(), |request, root| request.with(root.access, root.node.clone()));
    match &entry.label {
        Some(label) => request.with_label(label.as_ref()),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lock::TreeLock, wait::Wait as _};

    /// A lock and its listener, who looks only when told to.
    #[derive(Default)]
    struct Listened(TreeLock, Changes);

    impl Listened {
        fn look(&mut self) -> Vec<String> {
            let events = self.1.since(self.0.snapshot().wait(), Instant::now());
            events.iter().map(text).collect()
        }

        fn request(text: &str) -> Request {
            Request::new().write(text).expect("a node").with_label("it")
        }
    }

    fn text(event: &Event) -> String {
        let ticket = event.request().map_or(0, |request| request.ticket);
        match &event.what {
            What::Live(state, _) => format!("#{ticket} live {state}"),
            What::Asked(_) => format!("#{ticket} asked"),
            What::Granted(_) => format!("#{ticket} granted"),
            What::Left(state, _) => format!("#{ticket} left {state}"),
            What::Missed(count) => format!("missed {count:?}"),
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut it = Listened::default();
        let first = it.0.acquire(&Listened::request("a")).wait();
        let mut second = it.0.acquire(&Listened::request("a/b"));
        assert!(second.wait_timeout(Duration::ZERO).is_none());
        assert_eq!(it.look(), ["#1 live held", "#2 live waiting"]);
        assert!(it.look().is_empty());
        drop(first);
        assert_eq!(it.look(), ["#1 left held", "#2 granted"]);
        let second = second.wait();
        let mut third = it.0.acquire(&Listened::request("a"));
        assert!(third.wait_timeout(Duration::ZERO).is_none());
        let fourth = it.0.acquire(&Listened::request("c")).wait();
        assert_eq!(it.look(), ["#3 asked", "#4 asked", "#4 granted"]);
        drop((third, fourth, second));
        assert_eq!(it.look(), ["#2 left held", "#3 left waiting", "#4 left held"]);
        assert!(it.look().is_empty());
    }

    #[test]
    fn what_came_and_left_between_two_looks_is_counted() {
        let mut it = Listened::default();
        let _first = it.0.acquire(&Listened::request("a")).wait();
        assert_eq!(it.look(), ["#1 live held"]);
        for _ in 0..3 {
            drop(it.0.acquire(&Listened::request("b")).wait());
        }
        let fifth = it.0.acquire(&Listened::request("c")).wait();
        assert_eq!(it.look(), ["missed Some(3)", "#5 asked", "#5 granted"]);
        drop(fifth);
        assert_eq!(it.look(), ["#5 left held"]);
        let _sixth = it.0.acquire(&Listened::request("c")).wait();
        assert_eq!(it.look(), ["#6 asked", "#6 granted"], "what has left was seen");
        assert!(it.look().is_empty());
    }

    #[test]
    fn the_ages_are_those_at_the_time_of_the_event() {
        let (lock, mut changes) = (TreeLock::new(), Changes::default());
        let first = lock.acquire(&Listened::request("a")).wait();
        let mut second = lock.acquire(&Listened::request("a"));
        assert!(second.wait_timeout(Duration::ZERO).is_none());
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        // The snapshots are all of the beginning, as if they had been taken later.
        let older = |seconds| {
            let mut snapshot = lock.snapshot().wait();
            snapshot.entries.iter_mut().for_each(|entry| entry.age = Duration::from_secs(seconds));
            snapshot
        };
        changes.since(older(10), after(10));
        drop(first);
        let events = changes.since(older(2), after(20));
        let [left, granted] = &events[..] else { panic!("{events:?}") };
        assert_eq!(left.waited(), None, "it was granted before anybody listened");
        assert_eq!(left.held(), Some(Duration::from_secs(20)));
        assert_eq!(granted.waited(), Some(Duration::from_secs(18)));
        assert_eq!(granted.held(), Some(Duration::ZERO));
        drop(second);
        let events = changes.since(older(0), after(30));
        assert_eq!(events[0].held(), Some(Duration::from_secs(12)));
        assert_eq!(events[0].waited(), Some(Duration::from_secs(18)));
    }

    #[test]
    fn a_table_that_was_replaced_has_other_requests() {
        let mut changes = Changes::default();
        let held = |age| {
            let lock = TreeLock::new();
            let _guard = lock.acquire(&Listened::request("a")).wait();
            let mut snapshot = lock.snapshot().wait();
            snapshot.entries[0].age = Duration::from_secs(age);
            snapshot
        };
        let start = Instant::now();
        let mut look = |age, after| -> Vec<String> {
            changes.since(held(age), start + Duration::from_secs(after)).iter().map(text).collect()
        };
        assert_eq!(look(10, 10), ["#1 live held"]);
        assert!(look(11, 11).is_empty());
        assert_eq!(look(1, 12), ["#1 asked", "#1 left held", "#1 granted"]);
    }
}
