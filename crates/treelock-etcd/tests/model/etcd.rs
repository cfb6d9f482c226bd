//! The etcd: its keys, and what a transaction does to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    name::{Key, SessionId},
    protocol::{
        session::Identity,
        txn::{Answer, Compare, Found, Kv, Look, Operation, Txn},
    },
    scenario::Scenario,
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
pub(crate) struct Changes {
    pub(crate) written: Vec<Key>,
    pub(crate) deleted: Vec<Key>,
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
    pub(crate) fn look_at(&self, look: &Look, at: i64, hidden: &BTreeSet<Key>) -> Found {
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

    pub(crate) fn carry_out(&mut self, txn: &Txn, hidden: &BTreeSet<Key>) -> (Answer, Changes) {
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

    pub(crate) fn delete(&mut self, key: &Key, at: i64) -> Option<Key> {
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

/// The ticket that is said to a session.
pub(crate) fn ticket_said(value: &[u8]) -> i64 {
    str::from_utf8(value).ok().and_then(|ticket| ticket.parse().ok()).expect("a ticket")
}
