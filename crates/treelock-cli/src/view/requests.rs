//! The live requests, as events tell them: [`Requests`].

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use treelock::{
    Node, Snapshot, State,
    engine::{Age, Event, Sighting, What},
};

use crate::text;

/// All live requests by their tickets.
#[derive(Default)]
pub(super) struct Requests {
    live: BTreeMap<u64, Live>,
    /// How many requests came and left unseen, as far as that is known.
    pub(super) missed: u64,
}

/// A live request.
pub(super) struct Live {
    seen: Sighting,
    pub(super) state: State,
    /// Since when it is in this state.
    pub(super) since: Instant,
    /// The earliest request that is in its way.
    pub(super) waits_for: Option<u64>,
    pub(super) roots: Vec<String>,
    /// The label as it is shown; empty if there is none.
    pub(super) label: String,
    /// The process as it is shown; empty if it is unknown.
    pub(super) process: String,
    /// What a filter looks through.
    searched: String,
}

impl Requests {
    /// Takes in an event that is told `now`. Call [`update`](Requests::update) after the last one.
    pub(super) fn take(&mut self, event: Event, now: Instant) {
        let since = |age: Duration| now.checked_sub(age).unwrap_or(now);
        match event.what {
            What::Live(state, seen) => {
                let since = since(seen.granted.unwrap_or(seen.asked));
                self.live.insert(seen.ticket, Live::new(seen, state, since));
            }
            What::Asked(seen) => {
                let since = since(seen.asked);
                self.live.insert(seen.ticket, Live::new(seen, State::Waiting, since));
            }
            What::Granted(seen) => {
                let since = since(Duration::ZERO);
                self.live.insert(seen.ticket, Live::new(seen, State::Held, since));
            }
            What::Left(_, seen) => {
                self.live.remove(&seen.ticket);
            }
            What::Missed(count) => self.missed += count.unwrap_or(1),
            _ => {}
        }
    }

    /// Finds out who waits for whom, which follows from the rule.
    pub(super) fn update(&mut self) {
        let seen = self.live.values().map(|live| live.seen.clone()).collect();
        for entry in Snapshot::of(seen).entries {
            if let Some(live) = self.live.get_mut(&entry.ticket) {
                // A grant that follows from the rule may not be told yet.
                live.waits_for = entry.waits_for.filter(|_| live.state == State::Waiting);
            }
        }
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Live> {
        self.live.get(&ticket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Live)> {
        self.live.iter().map(|(ticket, live)| (*ticket, live))
    }

    /// Returns how many hold, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let held = self.live.values().filter(|live| live.state == State::Held).count();
        (held, self.live.len() - held)
    }

    /// Returns the requests that a request waits for: its own blocker, the blocker of that, and so
    /// on.
    pub(super) fn chain(&self, ticket: u64) -> Vec<u64> {
        let next = |ticket: &u64| self.get(*ticket)?.waits_for;
        std::iter::successors(next(&ticket), next).collect()
    }

    /// Returns the requests that wait for this one before any other.
    pub(super) fn behind(&self, ticket: u64) -> Vec<u64> {
        let waits = self.iter().filter(|(_, live)| live.waits_for == Some(ticket));
        waits.map(|(ticket, _)| ticket).collect()
    }
}

impl Live {
    fn new(seen: Sighting, state: State, since: Instant) -> Live {
        let roots: Vec<String> =
            seen.request.roots().map(|(access, node)| format!("{access} {node}")).collect();
        let label = text::asker(seen.request.label(), None);
        let process = text::asker(None, seen.process.as_deref());
        let searched = format!("#{} {state} {} {label} {process}", seen.ticket, roots.join(" "));
        let searched = searched.to_lowercase();
        Live { seen, state, since, waits_for: None, roots, label, process, searched }
    }

    pub(super) fn age(&self, now: Instant) -> Age {
        Age(now.saturating_duration_since(self.since))
    }

    /// Returns the first root, which the request is sorted by.
    pub(super) fn node(&self) -> Option<&Node> {
        self.seen.request.roots().map(|(_, node)| node).min()
    }

    /// Returns whether a filter lets it through: all its words must be somewhere.
    pub(super) fn has(&self, filter: &str) -> bool {
        filter.to_lowercase().split_whitespace().all(|word| self.searched.contains(word))
    }

    /// Returns the root to show if there is space for one: the first that a filter is about.
    pub(super) fn root(&self, filter: &str) -> Option<&String> {
        let filter = filter.to_lowercase();
        let is_meant = |root: &&String| {
            let root = root.to_lowercase();
            filter.split_whitespace().any(|word| root.contains(word))
        };
        self.roots.iter().find(is_meant).or(self.roots.first())
    }

    /// Returns how this request is in the way of another one: its root, and that of the other.
    pub(super) fn is_in_the_way_of(&self, other: &Live) -> Option<String> {
        let conflict = self.seen.request.conflict(&other.seen.request)?;
        let ((access, node), (other_access, other_node)) = (conflict.own, conflict.other);
        Some(format!("{access} {node}, in the way of {other_access} {other_node}"))
    }

    pub(super) fn concerns(&self, node: &Node) -> bool {
        self.seen.request.roots().any(|(_, root)| root.contains(node) || node.contains(root))
    }
}
