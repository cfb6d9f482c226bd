//! What clients do: they do what the protocol says, and tell it what came of that.

use std::mem;

use treelock::{Access, FencingToken};

use crate::{
    key::Range,
    name::{SessionId, TaskId},
    protocol::{
        blockers::{Blocker, Blockers},
        entry::{self, Entry},
        session::Learnt,
        told::Cut,
        txn::{Answer, Found, Kv, NoAnswer, Txn},
        waiting::{self, Doing, Waiting},
    },
    scenario::{Lapse, Scenario},
    shared::Shared,
    world::{Call, Held, OfSession, Phase, Queued, World},
};

impl World {
    /// A session is over, and so is all that its tasks do.
    pub(crate) fn end(&mut self, session: SessionId) {
        self.sessions[session].is_over = true;
        self.sessions[session].slots.clear();
        for task in self.tasks.iter_mut().filter(|task| task.session == session) {
            task.phase = Phase::Done;
        }
        let tasks = &self.tasks;
        self.answers.retain(|to, _| tasks[*to].session != session);
    }

    /// A task has learnt something of its session. Returns whether that goes on.
    pub(crate) fn learn(&mut self, session: SessionId, learnt: Learnt) -> bool {
        match learnt {
            Learnt::Nothing => {}
            Learnt::Epoch(epoch) => {
                let known = self.sessions[session].epoch;
                self.sessions[session].epoch = epoch.max(known);
            }
            Learnt::Over => self.end(session),
        }
        learnt != Learnt::Over
    }
}

/// Entering and leaving.
impl Scenario {
    pub(crate) fn ask(&self, world: &mut World, id: TaskId) {
        let task = &mut *world.tasks[id];
        let session = &mut *world.sessions[task.session];
        let slot = session.numbers.take();
        session.slots.insert(slot, (id, Default::default()));
        task.phase = Phase::Entering(Entry::new(self.wish(id, task.step, slot)));
        self.go_on(world, id);
    }

    fn send(&self, world: &mut World, id: TaskId, txn: Txn) {
        let task = &mut *world.tasks[id];
        task.number += 1;
        world.calls.insert(Call { task: id, number: task.number, txn: Shared::new(txn) });
        // What was not answered until now never will be.
        world.answers.remove(&id);
    }

    /// An answer comes, or it is clear that none does.
    pub(crate) fn receive(&self, world: &mut World, id: TaskId, answer: Result<&Answer, NoAnswer>) {
        let task = &mut *world.tasks[id];
        let (Phase::Entering(entry) | Phase::Leaving(entry)) = &mut task.phase else { return };
        let (learnt, _) = entry.answered(answer);
        let session = task.session;
        if world.learn(session, learnt) {
            self.go_on(world, id);
        }
    }

    /// Does what the request's machine says.
    fn go_on(&self, world: &mut World, id: TaskId) {
        let task = &mut *world.tasks[id];
        let epoch = world.sessions[task.session].epoch;
        match &mut task.phase {
            Phase::Entering(entry) => match entry.next(epoch) {
                entry::Next::Send(txn) => self.send(world, id, txn),
                entry::Next::Entered(blockers) => self.enter(world, id, blockers),
                entry::Next::Nothing => self.leave(world, id),
            },
            Phase::Leaving(entry) => match entry.next(epoch) {
                entry::Next::Send(txn) => self.send(world, id, txn),
                _ => self.finish(world, id),
            },
            _ => {}
        }
    }

    /// It has its ticket.
    fn enter(&self, world: &mut World, id: TaskId, blockers: Blockers) {
        let task = &mut *world.tasks[id];
        let Phase::Entering(entry) = mem::replace(&mut task.phase, Phase::Done) else { return };
        let (ticket, slot) = (entry.ticket().expect("it is in line"), entry.wish.slot);
        let waiting = Waiting::new(entry.wish.clone(), ticket, blockers);
        let told = Default::default();
        task.phase =
            Phase::Queued(Queued { entry, waiting, told, read: Vec::new(), has_read: false });
        let content = &mut world.sessions[task.session].slots.get_mut(&slot).expect("its own").1;
        content.enter(ticket);
        match content.is_revoked() {
            true => self.leave(world, id),
            false => self.settle(world, id),
        }
    }

    /// It gives up, releases, or was refused.
    pub(crate) fn leave(&self, world: &mut World, id: TaskId) {
        let task = &mut *world.tasks[id];
        let mut entry = match mem::replace(&mut task.phase, Phase::Done) {
            Phase::Entering(entry) | Phase::Leaving(entry) => entry,
            Phase::Queued(queued) => queued.entry,
            Phase::Held(held) => held.entry,
            phase @ (Phase::Idle | Phase::Done) => return task.phase = phase,
        };
        if entry.ticket().is_some() && self.has(Lapse::GoneWhenSent) {
            let slots = &mut world.sessions[task.session].slots;
            slots.get_mut(&entry.wish.slot).expect("its own").1.leave();
        }
        entry.leave();
        task.phase = Phase::Leaving(entry);
        self.go_on(world, id);
    }

    /// The job is over, and its slot is free: go on with the next.
    fn finish(&self, world: &mut World, id: TaskId) {
        let task = &mut *world.tasks[id];
        if let Some(entry) = task.phase.entry() {
            let (slot, session) = (entry.wish.slot, &mut *world.sessions[task.session]);
            session.slots.remove(&slot);
            session.numbers.give_back(slot);
        }
        if task.step + 1 < self.tasks[id].1.len() {
            task.step += 1;
            task.phase = Phase::Idle;
        } else {
            task.phase = Phase::Done;
        }
    }

    /// A holder accesses the resource, which checks its token.
    pub(crate) fn access(&self, world: &mut World, id: TaskId) {
        let task = &mut *world.tasks[id];
        let kind = self.job(id, task.step).kind;
        let Phase::Held(held) = &mut task.phase else { return };
        held.has_accessed = true;
        let (ticket, gate) = (held.ticket, &mut world.gate);
        let before = gate.gate;
        if gate.gate.check(kind.access(), FencingToken::new(ticket as u64)).is_ok() {
            gate.accepted.push((kind, ticket));
            if kind.access() == Access::Read && self.has(Lapse::GateForgetsReads) {
                gate.gate = before;
            }
            return;
        }
        gate.has_refused = true;
        let is_late = world.sessions[task.session].is_late;
        gate.has_refused_live |= !is_late && !world.revoked.contains(&ticket);
    }
}

/// Waiting.
impl Scenario {
    /// Does what the waiter's machine says, as far as that is possible without anybody else.
    fn settle(&self, world: &mut World, id: TaskId) {
        let World { tasks, sessions, .. } = world;
        let task = &mut *tasks[id];
        let Phase::Queued(queued) = &mut task.phase else { return };
        let session = &sessions[task.session];
        let here = OfSession { session, slot: queued.entry.wish.slot };
        let next = queued.waiting.next(&here);
        let Queued { waiting, told, .. } = queued;
        told.retain(|blocker, _| waiting.observes(blocker));
        match next {
            waiting::Next::Watch(blockers) => {
                let watched = session.stream.as_ref().map(|stream| &stream.watched);
                for blocker in blockers {
                    let joined = watched.and_then(|watched| watched.get(&blocker.1));
                    told.insert(blocker, joined.map(|watch| watch.joined()).unwrap_or_default());
                }
                let is_known = told.values().all(|told| told.begun().is_some());
                self.see_begun(queued, &here);
                if is_known && self.has(Lapse::NoReadAfterJoining) {
                    self.pretend_to_read(world, id);
                }
            }
            waiting::Next::Granted => {
                let held = Held {
                    entry: queued.entry.clone(),
                    ticket: queued.entry.ticket().expect("it is in line"),
                    has_accessed: false,
                    too_late: session.is_late,
                };
                task.phase = Phase::Held(held);
            }
            waiting::Next::Refused if self.has(Lapse::WideTryStays) => self.finish(world, id),
            waiting::Next::Refused => self.leave(world, id),
            waiting::Next::Lost => {
                let session = task.session;
                world.end(session);
            }
            waiting::Next::Look(_) | waiting::Next::Sleep | waiting::Next::Listen => {}
        }
    }

    /// As if a waiter had read what it knew.
    fn pretend_to_read(&self, world: &mut World, id: TaskId) {
        let verify = self.verify(world, id).expect("it reads once more");
        let Phase::Queued(queued) = &mut world.tasks[id].phase else { return };
        let known = |range: &Range| {
            let known = queued.told.keys().filter(|(_, key)| range.0 <= *key && *key < range.1);
            let kv = |(created, key): &Blocker| Kv {
                key: key.clone(),
                created: *created,
                ..Kv::default()
            };
            Found { kvs: known.map(kv).collect(), more: false }
        };
        let found: Vec<Found> = verify.looks.iter().map(|look| known(&look.range)).collect();
        queued.waiting.looked(&found);
        self.settle(world, id);
    }

    /// A waiter goes on that has waited for its watches to begin.
    pub(crate) fn see_begun(&self, queued: &mut Queued, here: &OfSession<'_>) {
        let Doing::Beginning { .. } = queued.waiting.doing else { return };
        let waiting::Next::Watch(blockers) = queued.waiting.next(here) else { return };
        for blocker in blockers {
            match queued.told.get(&blocker).and_then(|told| told.begun()) {
                Some(Ok(since)) => queued.waiting.begun(&blocker, since),
                Some(Err(Cut)) => queued.waiting.not_begun(&blocker),
                None => {}
            }
        }
    }

    /// etcd reads who is in the way, at a revision.
    pub(crate) fn read(&self, world: &mut World, id: TaskId, at: i64) {
        let Some(verify) = self.verify(world, id) else { return };
        let Phase::Queued(queued) = &world.tasks[id].phase else { return };
        let left = &verify.looks[queued.read.len()..];
        let looks = if self.reads_apart { &left[..left.len().min(1)] } else { left };
        let has_read = looks.len() == left.len();
        let found = self.look(world, looks, at);
        if let Phase::Queued(queued) = &mut world.tasks[id].phase {
            queued.read.extend(found);
            queued.has_read = has_read;
        }
    }

    /// What a waiter looks at.
    pub(crate) fn verify(&self, world: &World, id: TaskId) -> Option<waiting::Verify> {
        let Phase::Queued(queued) = &world.tasks[id].phase else { return None };
        match queued.waiting.clone().next(&world.here(id)) {
            waiting::Next::Look(verify) if !queued.has_read => Some(verify),
            _ => None,
        }
    }

    /// What was read arrives.
    pub(crate) fn take(&self, world: &mut World, id: TaskId) {
        let Phase::Queued(queued) = &mut world.tasks[id].phase else { return };
        queued.has_read = false;
        let found = mem::take(&mut queued.read);
        queued.waiting.looked(&found);
        self.settle(world, id);
    }

    /// One that it waits for is gone, or nothing is told any more.
    pub(crate) fn wake(&self, world: &mut World, id: TaskId) {
        let here = world.here(id);
        let Phase::Queued(queued) = &world.tasks[id].phase else { return };
        let deleted =
            queued.told.iter().find(|((created, _), told)| told.deleted(*created) == Some(Ok(())));
        let gone = queued.gone_here(&here).or_else(|| Some(deleted?.0.clone()));
        let Phase::Queued(queued) = &mut world.tasks[id].phase else { return };
        match gone {
            Some(gone) => queued.waiting.gone(&gone),
            None => queued.waiting.cut(),
        }
        self.settle(world, id);
    }
}
