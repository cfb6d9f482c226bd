//! All that there is: an etcd, its clients, and what is on its way between them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use treelock::FenceGate;

use crate::{
    etcd::Etcd,
    name::{Key, SessionId, TaskId},
    protocol::{
        blockers::Blocker,
        entry::Entry,
        numbers::Numbers,
        slot::Content,
        told::{Cut, Told},
        txn::{Answer, Found, Operation, Txn},
        waiting::{Here, Waiting},
    },
    scenario::{Faults, Kind, Scenario},
    shared::Shared,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) etcd: Shared<Etcd>,
    pub(crate) calls: BTreeSet<Call>,
    /// The answers to the last calls.
    pub(crate) answers: BTreeMap<TaskId, Shared<Answer>>,
    pub(crate) sessions: Vec<Shared<Session>>,
    pub(crate) tasks: Vec<Shared<Task>>,
    /// What an administrator has seen and is about to delete.
    pub(crate) revoking: Option<(Key, i64)>,
    /// The tickets of the entries that an administrator has deleted.
    pub(crate) revoked: BTreeSet<i64>,
    /// When a new epoch of tokens began.
    pub(crate) epoch_began: Option<i64>,
    pub(crate) gate: Gate,
    pub(crate) left: Faults,
}

/// A transaction on its way to etcd. It may stay there for as long as it likes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) task: TaskId,
    /// Counts what the task sends, so that the answers can be told apart.
    pub(crate) number: u8,
    pub(crate) txn: Shared<Txn>,
}

/// So that a counterexample can be read.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}, call {}:", self.task, self.number)?;
        for operation in &self.txn.then {
            let (verb, key) = match operation {
                Operation::Put { key, .. } => ("put", key),
                Operation::Delete(key) => ("delete", key),
                Operation::Get(key) => ("get", key),
                Operation::Look(look) => ("look from", &look.range.0),
            };
            write!(f, " {verb} {}", String::from_utf8_lossy(key))?;
        }
        Ok(())
    }
}

/// What the tasks of a process share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// The largest revision of its key that it knows of.
    pub(crate) epoch: i64,
    /// Its own clock says that its lease may have ended.
    pub(crate) is_late: bool,
    /// And it has seen that, or was told.
    pub(crate) is_over: bool,
    pub(crate) numbers: Numbers,
    /// Who is where.
    pub(crate) slots: BTreeMap<u64, (TaskId, Content)>,
    pub(crate) stream: Option<Stream>,
}

/// What etcd watches for a session, and what it has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) watched: BTreeMap<Key, Told>,
    pub(crate) events: VecDeque<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Deleted {
        key: Key,
        at: i64,
    },
    /// Somebody has deleted the entry with this ticket at one of the session's slots.
    Revoked {
        slot: u64,
        ticket: i64,
    },
    SessionEnded,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) session: SessionId,
    pub(crate) step: usize,
    /// The number of the last call.
    pub(crate) number: u8,
    pub(crate) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Idle,
    Entering(Entry),
    Queued(Queued),
    Held(Held),
    Leaving(Entry),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    pub(crate) entry: Entry,
    pub(crate) waiting: Waiting,
    /// What the stream has told it of those that it observes.
    pub(crate) told: BTreeMap<Blocker, Told>,
    /// What was read, and whether that is all, on its way.
    pub(crate) read: Vec<Found>,
    pub(crate) has_read: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) entry: Entry,
    pub(crate) ticket: i64,
    pub(crate) has_accessed: bool,
    /// The session's time had passed when it got it.
    pub(crate) too_late: bool,
}

/// The resource, and what it remembers of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    pub(crate) gate: FenceGate,
    /// What was accepted, in order.
    pub(crate) accepted: Vec<(Kind, i64)>,
    pub(crate) has_refused: bool,
    /// One was refused whose session and entry were as they should be.
    pub(crate) has_refused_live: bool,
}

/// What a task knows of its session.
pub(crate) struct OfSession<'a> {
    pub(crate) session: &'a Session,
    pub(crate) slot: u64,
}

impl Here for OfSession<'_> {
    fn is_gone(&self, slot: u64, ticket: i64) -> bool {
        self.session.slots.get(&slot).is_none_or(|(_, content)| content.is_gone(ticket))
    }

    fn is_valid(&self) -> bool {
        let own = self.session.slots.get(&self.slot);
        !self.session.is_late && own.is_some_and(|(_, content)| !content.is_revoked())
    }
}

impl Phase {
    /// What there is, or may be, of its request.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match self {
            Phase::Idle | Phase::Done => None,
            Phase::Entering(entry) | Phase::Leaving(entry) => Some(entry),
            Phase::Queued(queued) => Some(&queued.entry),
            Phase::Held(held) => Some(&held.entry),
        }
    }
}

impl Queued {
    /// Whether there is a reason to wake.
    pub(crate) fn is_woken(&self, here: &OfSession<'_>) -> bool {
        self.told.iter().any(|((created, _), told)| told.deleted(*created).is_some())
            || self.gone_here(here).is_some()
    }

    /// One of the same session that is gone.
    pub(crate) fn gone_here(&self, here: &OfSession<'_>) -> Option<Blocker> {
        let mut observed = self.waiting.observed_here();
        let gone = observed.find(|((created, _), slot)| here.is_gone(*slot, *created));
        gone.map(|(blocker, _)| blocker.clone())
    }

    /// The keys that it observes through the stream.
    pub(crate) fn observed(&self) -> impl Iterator<Item = &Key> {
        let live = self.told.iter().filter(|(_, told)| told.begun() != Some(Err(Cut)));
        live.map(|((_, key), _)| key)
    }
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> World {
        let session =
            |epoch: i64| Session { epoch, stream: Some(Stream::default()), ..Session::default() };
        let task = |(session, _): &(SessionId, _)| Task {
            session: *session,
            step: 0,
            number: 0,
            phase: Phase::Idle,
        };
        World {
            etcd: Shared::new(Etcd::new(scenario)),
            calls: BTreeSet::new(),
            answers: BTreeMap::new(),
            sessions: (1..).take(scenario.sessions.len()).map(session).map(Shared::new).collect(),
            tasks: scenario.tasks.iter().map(task).map(Shared::new).collect(),
            revoking: None,
            revoked: BTreeSet::new(),
            epoch_began: None,
            gate: Gate::default(),
            left: scenario.faults,
        }
    }

    /// Whether a session has something to do.
    pub(crate) fn has_work(&self, session: SessionId) -> bool {
        self.tasks.iter().any(|task| task.session == session && task.phase != Phase::Done)
    }

    /// What a task knows of its session.
    pub(crate) fn here(&self, task: TaskId) -> OfSession<'_> {
        let task = &self.tasks[task];
        let slot = task.phase.entry().map_or(0, |entry| entry.wish.slot);
        OfSession { session: &self.sessions[task.session], slot }
    }

    pub(crate) fn queued(&self, session: SessionId) -> impl Iterator<Item = &Queued> {
        self.tasks.iter().filter(move |task| task.session == session).filter_map(|task| match &task
            .phase
        {
            Phase::Queued(queued) => Some(queued),
            _ => None,
        })
    }

    pub(crate) fn queued_mut(&mut self, session: SessionId) -> impl Iterator<Item = &mut Queued> {
        let is_queued = move |task: &&mut Shared<Task>| {
            task.session == session && matches!(task.phase, Phase::Queued(_))
        };
        self.tasks.iter_mut().filter(is_queued).filter_map(|task| match &mut task.phase {
            Phase::Queued(queued) => Some(queued),
            _ => None,
        })
    }

    /// The keys that waiters of a session want to be watched and that are not.
    pub(crate) fn wanted(&self, session: SessionId) -> BTreeSet<Key> {
        let Some(stream) = &self.sessions[session].stream else { return BTreeSet::new() };
        let told = self.queued(session).flat_map(|queued| &queued.told);
        let new = told.filter(|(_, told)| told.begun().is_none()).map(|((_, key), _)| key);
        new.filter(|key| !stream.watched.contains_key(*key)).cloned().collect()
    }

    /// What nobody observes any more is not watched, and who has nothing to do listens to nothing.
    pub(crate) fn forget(&mut self) {
        if self.left.stale_reads == 0 && !self.etcd.deleted.is_empty() {
            self.etcd.deleted.clear();
        }
        for session in 0..self.sessions.len() {
            let Some(stream) = &self.sessions[session].stream else { continue };
            if !self.has_work(session) {
                self.sessions[session].stream = None;
                continue;
            }
            let is_observed = |key: &Key| {
                self.queued(session).any(|queued| queued.observed().any(|one| one == key))
            };
            let is_new = |event: &Event| match event {
                Event::Deleted { key, .. } => is_observed(key),
                _ => true,
            };
            if stream.watched.keys().all(is_observed) && stream.events.iter().all(is_new) {
                continue;
            }
            let mut stream = stream.clone();
            stream.watched.retain(|key, _| is_observed(key));
            stream.events.retain(is_new);
            self.sessions[session].stream = Some(stream);
        }
    }
}
