//! Random operations against the naive model. After each one the holders are exactly the model's
//! (C1, C2, C3), nobody is woken but those who are granted, and the blocked are told by whom (C14,
//! C16). A failing case shrinks and prints.
//!
//! Every request is labelled with its number in the order of arrival, and is found by its label:
//! engines may number their tickets differently, as long as the tickets tell the same order.

use std::{collections::BTreeMap, time::Duration};

use proptest::{collection::vec, prelude::*, sample::select};
use treelock::{Blocked, Entry, Request, Snapshot, State};

use crate::{
    model::{Live, Model, Root, conflict, request},
    subject::{Subject, Task, Wakes, check_wakes},
};

#[derive(Clone, Debug)]
enum Operation {
    /// Poll a new future once.
    Acquire(Vec<Root>),
    /// `try_acquire`.
    Try(Vec<Root>),
    /// `acquire_timeout` with a time-out that is over at once: a blocking caller joins and
    /// withdraws.
    TimeOut(Vec<Root>),
    /// Make a future and drop it without a poll.
    Unpolled(Vec<Root>),
    /// Poll some waiting future again, with its waker or with another.
    Poll(prop::sample::Index, bool),
    /// Drop some future or guard, whatever it has by then.
    Leave(prop::sample::Index),
}

fn root() -> impl Strategy<Value = Root> {
    let path = vec(select(&["a", "b", "c"][..]), 0..=3);
    let (write, given) = (prop::bool::weighted(0.4), prop::bool::weighted(0.15));
    (write, path, given).prop_map(|(write, path, given)| Root { write, path, given })
}

fn roots() -> impl Strategy<Value = Vec<Root>> {
    prop_oneof![6 => vec(root(), 1), 4 => vec(root(), 2..=4), 1 => vec(root(), 0)]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => roots().prop_map(Operation::Acquire),
        2 => roots().prop_map(Operation::Try),
        1 => roots().prop_map(Operation::TimeOut),
        1 => roots().prop_map(Operation::Unpolled),
        4 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, b)| Operation::Poll(i, b)),
        10 => any::<prop::sample::Index>().prop_map(Operation::Leave),
    ]
}

enum Handle<E: Subject> {
    Waiting(E::Task),
    /// Kept for its drop.
    Held(E::Guard),
}

struct World<E: Subject> {
    engine: E,
    model: Model,
    handles: Vec<(u64, Handle<E>)>,
    /// The ticket of each number that was ever seen.
    tickets: BTreeMap<u64, u64>,
}

impl<E: Subject> World<E> {
    fn new(engine: E) -> World<E> {
        World { engine, model: Model::default(), handles: Vec::new(), tickets: BTreeMap::new() }
    }

    fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Acquire(roots) => self.acquire(roots),
            Operation::Try(roots) => self.ask_once(roots, E::try_acquire),
            Operation::TimeOut(roots) => self
                .ask_once(roots, |engine, request| engine.acquire_timeout(request, Duration::ZERO)),
            Operation::Unpolled(roots) => {
                let unpolled = self.engine.acquire(&request(roots).with_label("unpolled"));
                let live = self.engine.snapshot().entries.len();
                assert_eq!(live, self.model.live.len(), "asked before its first poll");
                drop(unpolled);
            }
            Operation::Poll(index, elsewhere) => self.poll(index, *elsewhere),
            Operation::Leave(index) => {
                if !self.handles.is_empty() {
                    let (number, handle) =
                        self.handles.swap_remove(index.index(self.handles.len()));
                    drop(handle);
                    self.model.leave(number);
                }
            }
        }
    }

    fn acquire(&mut self, roots: &[Root]) {
        let number = self.model.ask(roots);
        let mut task = self.engine.acquire(&request(roots).with_label(number.to_string()));
        let guard = task.poll();
        assert_eq!(guard.is_some(), self.model.is_held(number), "#{number} polled at first");
        let handle = guard.map_or_else(|| Handle::Waiting(task), Handle::Held);
        self.handles.push((number, handle));
    }

    fn ask_once(
        &mut self,
        roots: &[Root],
        ask: impl FnOnce(&E, &Request) -> Result<E::Guard, Blocked>,
    ) {
        let number = self.model.ask(roots);
        match ask(&self.engine, &request(roots).with_label(number.to_string())) {
            Ok(guard) => self.handles.push((number, Handle::Held(guard))),
            Err(blocked) => {
                let (first, ahead) = self.model.blockers(number);
                let first = first.expect("the model grants what the lock refuses");
                check_blocked(&blocked, roots, first, ahead);
                let ticket = self.tickets.get(&first.number);
                assert_eq!(Some(&blocked.ticket), ticket, "the blocker's ticket: {blocked}");
                self.model.leave(number);
            }
        }
    }

    fn poll(&mut self, index: &prop::sample::Index, elsewhere: bool) {
        let waiting = |handle: &Handle<E>| matches!(handle, Handle::Waiting(_));
        let all: Vec<usize> =
            (0..self.handles.len()).filter(|i| waiting(&self.handles[*i].1)).collect();
        if all.is_empty() {
            return;
        }
        let (number, handle) = &mut self.handles[*index.get(&all)];
        let Handle::Waiting(task) = handle else { unreachable!("filtered above") };
        let guard = if elsewhere { task.poll_elsewhere() } else { task.poll() };
        assert_eq!(guard.is_some(), self.model.is_held(*number), "#{number} polled");
        if let Some(guard) = guard {
            *handle = Handle::Held(guard);
        }
    }

    fn check(&mut self) {
        let snapshot = self.engine.snapshot();
        let engine: Vec<_> =
            snapshot.entries.iter().map(|e| (number(e), e.state == State::Held)).collect();
        let model: Vec<_> = self.model.live.iter().map(|live| (live.number, live.held)).collect();
        assert_eq!(engine, model, "the holders are not the model's\n{snapshot}");
        self.engine.inspect(&snapshot);
        self.check_tickets(&snapshot);
        for entry in &snapshot.entries {
            let (first, _) = self.model.blockers(number(entry));
            let waits_for = entry.waits_for.map(|ticket| {
                let found = snapshot.entries.iter().find(|entry| entry.ticket == ticket);
                number(found.expect("it waits for somebody in the same snapshot"))
            });
            assert_eq!(waits_for, first.map(|live| live.number), "waits for\n{snapshot}");
        }
        for (number, handle) in &mut self.handles {
            if let Handle::Waiting(task) = handle {
                let granted = self.model.is_held(*number);
                check_wakes::<E>(task, granted, &format_args!("#{number}\n{snapshot}"));
            }
        }
    }

    /// Checks that a request keeps its ticket, and that a later request has a higher ticket, never
    /// used before.
    fn check_tickets(&mut self, snapshot: &Snapshot) {
        for entry in &snapshot.entries {
            let number = number(entry);
            let before = self.tickets.range(..number).next_back();
            assert!(before.is_none_or(|(_, ticket)| *ticket < entry.ticket), "order\n{snapshot}");
            let ticket = *self.tickets.entry(number).or_insert(entry.ticket);
            assert_eq!(ticket, entry.ticket, "the ticket of {number} has changed\n{snapshot}");
        }
    }
}

/// Returns the number that is the label of a request.
fn number(entry: &Entry) -> u64 {
    let label = entry.label.as_deref().and_then(|label| label.parse().ok());
    label.unwrap_or_else(|| panic!("labelled with no number: {entry:?}"))
}

/// What a request that did not get the lock was told (C14).
fn check_blocked(blocked: &Blocked, roots: &[Root], first: &Live, ahead: usize) {
    let told = (blocked.label.as_deref(), blocked.state == State::Held, blocked.ahead);
    let label = first.number.to_string();
    assert_eq!(told, (Some(&*label), first.held, ahead), "{blocked}");
    let of = |roots: &[Root], told: &treelock::Root| -> Root {
        let same = |root: &&Root| request(&[(*root).clone()]).to_string() == told.to_string();
        roots.iter().find(same).expect("a root of the request").clone()
    };
    let pair = (of(roots, &blocked.wanted), of(&first.roots, &blocked.blocker));
    assert!(conflict(&[pair.0], &[pair.1]), "{blocked}");
}

/// Checks that an engine agrees with the model after each of `operations` random operations, in
/// `runs` runs with a new engine each. The variable `PROPTEST_CASES` sets another number of runs.
///
/// # Panics
///
/// Panics at the first operation that the model does not explain, after shrinking.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, random};
///
/// random::holders_are_exactly_the_models(10, 50, || Judged::exact(TreeLock::new()));
/// ```
pub fn holders_are_exactly_the_models<E: Subject>(
    runs: u32,
    operations: usize,
    engine: impl Fn() -> E,
) {
    let default = ProptestConfig::default();
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let config = ProptestConfig {
        cases: if asked_for { default.cases } else { runs },
        failure_persistence: None,
        max_shrink_iters: 200_000,
        // In milliseconds. Each lost wake-up that shrinking finds again is waited for again.
        max_shrink_time: if E::WAKES == Wakes::Exact { 0 } else { 180_000 },
        ..default
    };
    proptest!(config, |(operations in vec(operation(), operations))| {
        let mut world = World::new(engine());
        for operation in &operations {
            world.run(operation);
            world.check();
        }
        while let Some((number, handle)) = world.handles.pop() {
            drop(handle);
            world.model.leave(number);
            world.check();
        }
    });
}
