//! What etcd does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    protocol::{
        revoke::revoke,
        session::Identity,
        txn::{Answer, Compare, Found, Kv, Look, NoAnswer, Operation, Txn},
    },
    scenario::{Lapse, Scenario},
    shared::Shared,
    world::{Call, Event, Key, Phase, SessionId, World},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Etcd {
    pub(crate) revision: i64,
    pub(crate) keys: BTreeMap<Key, Stored>,
    /// When entries were deleted, for as long as somebody may read the past.
    pub(crate) deleted: BTreeMap<(Key, i64), i64>,
}

/// What is stored of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    pub(crate) created: i64,
    pub(crate) written: i64,
    pub(crate) lease: i64,
}

/// The value of what somebody could not give back.
pub(crate) const LITTER: &[u8] = b"litter";

/// What a transaction has changed, which those hear of who watch.
#[derive(Default)]
struct Changes {
    written: Vec<Key>,
    deleted: Vec<Key>,
}

impl Etcd {
    pub(crate) fn new(scenario: &Scenario) -> Etcd {
        let opened = |session: &Arc<Identity>| {
            let (created, lease) = (session.created, session.lease);
            (session.key(), Stored { value: Vec::new(), created, written: created, lease })
        };
        let mut keys: BTreeMap<Key, Stored> = scenario.sessions.iter().map(opened).collect();
        let mut revision = keys.len() as i64;
        if scenario.is_littered {
            revision += 1;
            let (created, lease) = (revision, scenario.sessions[0].lease);
            let litter = Stored { value: LITTER.into(), created, written: created, lease };
            keys.insert(scenario.wish(0, 0, 0).keys[0].clone(), litter);
        }
        Etcd { revision, keys, deleted: BTreeMap::new() }
    }

    /// Whether there is a key of this session, whoever created it.
    pub(crate) fn has_key(&self, scenario: &Scenario, session: SessionId) -> bool {
        self.keys.contains_key(&scenario.session_keys[session])
    }

    /// Whether the key of a session is there that was created for it.
    pub(crate) fn has(&self, scenario: &Scenario, session: SessionId) -> bool {
        let key = self.keys.get(&scenario.session_keys[session]);
        key.is_some_and(|key| key.created == scenario.sessions[session].created)
    }

    /// The entries of all requests.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.keys.iter().filter(|(key, _)| !key.starts_with(b"/S/"))
    }

    fn holds(&self, compare: &Compare) -> bool {
        let get = |key: &Key| self.keys.get(key);
        match compare {
            Compare::Created { key, revision } => {
                get(key).map_or(0, |stored| stored.created) == *revision
            }
            Compare::Written { key, revision } => {
                get(key).map_or(0, |stored| stored.written) == *revision
            }
            Compare::Exists { key } => get(key).is_some(),
            Compare::Holds { key, value } => get(key).is_some_and(|stored| stored.value == *value),
            Compare::IsEmpty((first, end)) => {
                self.keys.range(first.clone()..end.clone()).next().is_none()
            }
        }
    }

    /// What a look finds now, but for what is hidden.
    fn look(&self, look: &Look, hidden: &BTreeSet<Key>) -> Found {
        let (first, end) = look.range.clone();
        let kvs = self.keys.range(first..end).filter(|(key, _)| !hidden.contains(*key));
        answer(look, kvs.map(|(key, stored)| (key, stored.created)).collect())
    }

    /// What a look finds that is told as it was at a revision.
    fn look_at(&self, look: &Look, at: i64, hidden: &BTreeSet<Key>) -> Found {
        let ((first, end), mut then) = (look.range.clone(), Vec::new());
        then.extend(self.keys.range(first.clone()..end.clone()).filter_map(|(key, stored)| {
            (stored.created <= at && !hidden.contains(key)).then_some((key, stored.created))
        }));
        then.extend(self.deleted.iter().filter_map(|((key, created), deleted)| {
            let was_there = *created <= at && *deleted > at && (&first..&end).contains(&key);
            was_there.then_some((key, *created))
        }));
        answer(look, then)
    }

    fn carry_out(&mut self, txn: &Txn, hidden: &BTreeSet<Key>) -> (Answer, Changes) {
        let succeeded = txn.compares.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { &txn.then } else { &txn.otherwise };
        let (mut changes, at) = (Changes::default(), self.revision + 1);
        let found = operations.iter().map(|operation| match operation {
            Operation::Put { key, value, lease } => {
                let created = self.keys.get(key).map_or(at, |stored| stored.created);
                let stored = Stored { value: value.clone(), created, written: at, lease: *lease };
                self.keys.insert(key.clone(), stored);
                changes.written.push(key.clone());
                Found::default()
            }
            Operation::Delete(key) => {
                changes.deleted.extend(self.delete(key, at));
                Found::default()
            }
            Operation::Get(key) => {
                let kv = self.keys.get(key).map(|stored| Kv {
                    key: key.clone(),
                    value: stored.value.clone(),
                    created: stored.created,
                    written: stored.written,
                });
                Found { kvs: kv.into_iter().collect(), more: false }
            }
            Operation::Look(look) => self.look(look, hidden),
        });
        let found = found.collect();
        if !changes.written.is_empty() || !changes.deleted.is_empty() {
            self.revision = at;
        }
        (Answer { revision: self.revision, succeeded, found }, changes)
    }

    fn delete(&mut self, key: &Key, at: i64) -> Option<Key> {
        let stored = self.keys.remove(key)?;
        self.deleted.insert((key.clone(), stored.created), at);
        Some(key.clone())
    }
}

/// The answer to a look for which these keys are there, with the revisions at which they were
/// created.
fn answer(look: &Look, mut there: Vec<(&Key, i64)>) -> Found {
    match look.before {
        Some(before) => {
            there.retain(|(_, created)| *created < before);
            there.sort_unstable_by_key(|(_, created)| std::cmp::Reverse(*created));
        }
        None => there.sort_unstable(),
    }
    let more = there.len() > look.limit;
    there.truncate(look.limit);
    let kv = |(key, created): (&Key, i64)| Kv { key: key.clone(), created, ..Kv::default() };
    Found { kvs: there.into_iter().map(kv).collect(), more }
}

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

/// The ticket that is said to a session.
pub(crate) fn ticket_said(value: &[u8]) -> i64 {
    str::from_utf8(value).ok().and_then(|ticket| ticket.parse().ok()).expect("a ticket")
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
