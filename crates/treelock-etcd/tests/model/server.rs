//! What happens at etcd, and what the world hears of it.

use std::collections::BTreeSet;

use crate::{
    etcd::{Changes, ticket_said},
    name::{Key, SessionId},
    protocol::{
        revoke::revoke,
        txn::{Compare, Found, Look, NoAnswer, Txn},
    },
    scenario::{Lapse, Scenario},
    shared::Shared,
    world::{Call, Event, Phase, World},
};

impl World {
    /// Whoever watches hears of what was changed.
    fn tell(&mut self, scenario: &Scenario, changes: &Changes) {
        let at = self.etcd.revision;
        for (id, session) in self.sessions.iter_mut().enumerate() {
            let identity = &scenario.sessions[id];
            let Some(stream) = &session.stream else { continue };
            let mut events = Vec::new();
            for key in &changes.deleted {
                if stream.watched.contains_key(key) {
                    events.push(Event::Deleted { key: key.clone(), at });
                }
                if *key == scenario.session_keys[id] {
                    events.push(Event::SessionEnded);
                }
            }
            for key in &changes.written {
                if let Some(slot) = identity.space.read_revoked(&identity.id, key) {
                    let ticket = ticket_said(&self.etcd.keys[key].value);
                    events.push(Event::Revoked { slot, ticket });
                }
            }
            if !events.is_empty()
                && let Some(stream) = &mut session.stream
            {
                stream.events.extend(events);
            }
        }
    }

    /// Delete keys at one revision.
    fn delete_all(&mut self, scenario: &Scenario, keys: Vec<Key>) {
        let at = self.etcd.revision + 1;
        let etcd = &mut *self.etcd;
        let deleted = keys.iter().filter_map(|key| etcd.delete(key, at)).collect();
        etcd.revision = at;
        self.tell(scenario, &Changes { deleted, written: Vec::new() });
    }

    /// The lease of a session ends, and all that hangs on it goes.
    pub(crate) fn expire(&mut self, scenario: &Scenario, session: SessionId) {
        let lease = scenario.sessions[session].lease;
        let keys = self.etcd.keys.iter().filter(|(_, stored)| stored.lease == lease);
        self.delete_all(scenario, keys.map(|(key, _)| key.clone()).collect());
    }

    /// An administrator ends all sessions, so that all tokens are of a new epoch.
    pub(crate) fn begin_epoch(&mut self, scenario: &Scenario) {
        self.revoked.extend(self.etcd.entries().map(|(_, stored)| stored.created));
        self.delete_all(scenario, self.etcd.keys.keys().cloned().collect());
        self.epoch_began = Some(self.etcd.revision);
    }

    /// A late copy of what opened a session arrives, whose lease is still there.
    pub(crate) fn open_late(&mut self, scenario: &Scenario, session: SessionId) {
        let identity = &scenario.sessions[session];
        let txn = Txn {
            compares: vec![Compare::Created { key: identity.key(), revision: 0 }],
            then: vec![identity.bump()],
            otherwise: Vec::new(),
        };
        self.etcd.carry_out(&txn, &BTreeSet::new());
    }
}

impl Scenario {
    /// The entries of those who wait, if these are not in the way.
    fn hidden(&self, world: &World) -> BTreeSet<Key> {
        if !self.has(Lapse::Overtaking) {
            return BTreeSet::new();
        }
        let waits = |phase: &&Phase| !matches!(phase, Phase::Held(_));
        let phases = world.tasks.iter().map(|task| &task.phase).filter(waits);
        phases.filter_map(Phase::entry).flat_map(|entry| entry.wish.keys.clone()).collect()
    }

    /// etcd does what a call says, if its compares hold, and answers.
    pub(crate) fn execute(&self, world: &mut World, call: &Call) {
        let hidden = self.hidden(world);
        let (answer, changes) = world.etcd.carry_out(&call.txn, &hidden);
        world.tell(self, &changes);
        let task = &world.tasks[call.task];
        if task.number == call.number && task.phase != Phase::Done {
            world.answers.insert(call.task, Shared::new(answer));
        }
    }

    /// etcd answers to a call that it has no space. It says so also of what it has carried out.
    pub(crate) fn refuse_for_space(&self, world: &mut World, call: &Call, is_done: bool) {
        if is_done {
            let hidden = self.hidden(world);
            let (_, changes) = world.etcd.carry_out(&call.txn, &hidden);
            world.tell(self, &changes);
        }
        if world.tasks[call.task].number == call.number {
            self.receive(world, call.task, Err(NoAnswer::NoSpace));
        }
    }

    /// What looks find, as it was at a revision.
    pub(crate) fn look(&self, world: &World, looks: &[Look], at: i64) -> Vec<Found> {
        let hidden = self.hidden(world);
        looks.iter().map(|look| world.etcd.look_at(look, at, &hidden)).collect()
    }

    /// An administrator deletes the entry that it has seen, and tells its session.
    pub(crate) fn revoke(&self, world: &mut World) {
        let Some((key, ticket)) = world.revoking.take() else { return };
        let space = &self.sessions[0].space;
        let name = space.read(&key).expect("it is an entry");
        // All keys of that request.
        let entries = world.etcd.entries();
        let same = entries.filter(|(other, stored)| **other != key && stored.created == ticket);
        let keys: Vec<Key> = same.map(|(key, _)| key.clone()).chain([key.clone()]).collect();
        // If the session is over, there is nobody to tell.
        for say in [true, false] {
            let txn = revoke(space, &name.session, name.slot, &keys, ticket, say);
            let (answer, changes) = world.etcd.carry_out(&txn, &BTreeSet::new());
            world.tell(self, &changes);
            if answer.succeeded {
                world.revoked.insert(ticket);
                return;
            }
        }
    }
}
