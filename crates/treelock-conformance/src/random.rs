//! Random operations against the naive model: after each one, the lock's holders are exactly the
//! model's (C1, C2, C3), nobody is woken but those who are granted, and who is blocked is told by whom
//! (C14, C16). A failing case shrinks and prints.

use proptest::{collection::vec, prelude::*, sample::select};
use treelock::{Guard, State, TreeLock};

use super::model::{Model, Root, Task, conflict, request};

/// 4,000 runs of 250 operations are 1e6 operations; `PROPTEST_CASES` asks for more.
const RUNS: u32 = 4_000;
const OPERATIONS: usize = 250;

#[derive(Clone, Debug)]
enum Operation {
    /// Poll a new future once.
    Acquire(Vec<Root>),
    /// `try_acquire`.
    Try(Vec<Root>),
    /// `acquire_timeout` with a time-out that is over at once: a blocking caller joins and withdraws.
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

enum Handle {
    Waiting(Task),
    Held(#[expect(dead_code, reason = "kept for its drop")] Guard),
}

#[derive(Default)]
struct World {
    lock: TreeLock,
    model: Model,
    handles: Vec<(u64, Handle)>,
}

impl World {
    fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Acquire(roots) => {
                let mut task = Task::new(self.lock.acquire(&request(roots)));
                let ticket = self.model.ask(roots);
                match task.poll() {
                    Some(guard) => self.handles.push((ticket, Handle::Held(guard))),
                    None => self.handles.push((ticket, Handle::Waiting(task))),
                }
            }
            Operation::Try(roots) => {
                self.ask_once(roots, |lock, request| lock.try_acquire(request))
            }
            Operation::TimeOut(roots) => self.ask_once(roots, |lock, request| {
                lock.acquire_timeout(request, std::time::Duration::ZERO)
            }),
            Operation::Unpolled(roots) => drop(self.lock.acquire(&request(roots))),
            Operation::Poll(index, elsewhere) => self.poll(index, *elsewhere),
            Operation::Leave(index) => {
                if !self.handles.is_empty() {
                    let (ticket, handle) =
                        self.handles.swap_remove(index.index(self.handles.len()));
                    drop(handle);
                    self.model.leave(ticket);
                }
            }
        }
    }

    fn ask_once(
        &mut self,
        roots: &[Root],
        ask: impl FnOnce(&TreeLock, &treelock::Request) -> Result<Guard, treelock::Blocked>,
    ) {
        let ticket = self.model.ask(roots);
        match ask(&self.lock, &request(roots)) {
            Ok(guard) => self.handles.push((ticket, Handle::Held(guard))),
            Err(blocked) => {
                let (first, ahead) = self.model.blockers(ticket);
                let first = first.expect("the model grants what the lock refuses");
                let held = blocked.state == State::Held;
                let told = (blocked.ticket, held, blocked.ahead);
                assert_eq!(told, (first.ticket, first.held, ahead), "{blocked}");
                let of = |roots: &[Root], told: &treelock::Root| -> Root {
                    let same =
                        |root: &&Root| request(&[(*root).clone()]).to_string() == told.to_string();
                    roots.iter().find(same).expect("a root of the request").clone()
                };
                let pair = (of(roots, &blocked.wanted), of(&first.roots, &blocked.blocker));
                assert!(conflict(&[pair.0], &[pair.1]), "{blocked}");
                self.model.leave(ticket);
            }
        }
    }

    fn poll(&mut self, index: &prop::sample::Index, elsewhere: bool) {
        let waiting = |handle: &Handle| matches!(handle, Handle::Waiting(_));
        let all: Vec<usize> =
            (0..self.handles.len()).filter(|i| waiting(&self.handles[*i].1)).collect();
        if all.is_empty() {
            return;
        }
        let (ticket, handle) = &mut self.handles[*index.get(&all)];
        let Handle::Waiting(task) = handle else { unreachable!("filtered above") };
        let guard = if elsewhere { task.poll_elsewhere() } else { task.poll() };
        assert_eq!(guard.is_some(), self.model.is_held(*ticket), "#{ticket} polled");
        if let Some(guard) = guard {
            *handle = Handle::Held(guard);
        }
    }

    fn check(&self) {
        let snapshot = self.lock.snapshot();
        let lock: Vec<_> =
            snapshot.entries.iter().map(|e| (e.ticket, e.state == State::Held)).collect();
        let model: Vec<_> = self.model.live.iter().map(|live| (live.ticket, live.held)).collect();
        assert_eq!(lock, model, "the holders are not the model's\n{snapshot}");
        let counted = (self.lock.held(), self.lock.waiting());
        assert_eq!(counted, (snapshot.held().count(), snapshot.waiting().count()));
        for entry in &snapshot.entries {
            let (first, _) = self.model.blockers(entry.ticket);
            assert_eq!(entry.waits_for, first.map(|live| live.ticket), "waits for\n{snapshot}");
        }
        for (ticket, handle) in &self.handles {
            if let Handle::Waiting(task) = handle {
                let granted = usize::from(self.model.is_held(*ticket));
                assert_eq!(task.wakes(), granted, "wake-ups of #{ticket}\n{snapshot}");
            }
        }
    }
}

#[test]
fn holders_are_exactly_the_models() {
    let default = ProptestConfig::default();
    let config = ProptestConfig {
        cases: if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { RUNS },
        failure_persistence: None,
        max_shrink_iters: 200_000,
        ..default
    };
    proptest!(config, |(operations in vec(operation(), OPERATIONS))| {
        let mut world = World::default();
        for operation in &operations {
            world.run(operation);
            world.check();
        }
        while let Some((ticket, handle)) = world.handles.pop() {
            drop(handle);
            world.model.leave(ticket);
            world.check();
        }
    });
}
