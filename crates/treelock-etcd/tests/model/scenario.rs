//! What is explored: who does what, what may go wrong meanwhile, and what a mutant leaves out.

use std::sync::Arc;

use treelock::{Access, Node};

use crate::{
    key::Space,
    name::{Key, SessionId, TaskId},
    protocol::{
        flaw::Flaw,
        session::Identity,
        wish::{LIMITS, Limits, Wish},
    },
};

/// What a request covers: the whole of one sub-tree, or one or two things in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ReadTree,
    WriteTree,
    WriteBelow,
    /// It has two keys.
    WriteBoth,
}

impl Kind {
    pub(crate) fn conflicts(self, other: Kind) -> bool {
        (self, other) != (Kind::ReadTree, Kind::ReadTree)
    }

    pub(crate) fn access(self) -> Access {
        if self == Kind::ReadTree { Access::Read } else { Access::Write }
    }

    fn roots(self) -> Vec<(Access, Node)> {
        let below = |name: &str| Node::from_components([name]).expect("good");
        let nodes = match self {
            Kind::ReadTree | Kind::WriteTree => vec![Node::root()],
            Kind::WriteBelow => vec![below("a")],
            Kind::WriteBoth => vec![below("a"), below("b")],
        };
        nodes.into_iter().map(|node| (self.access(), node)).collect()
    }

    /// Whether it conflicts with an entry of this key. Not read by the code that is explored.
    pub(crate) fn conflicts_with(self, key: &[u8]) -> bool {
        match key {
            [b'/', b'R', b'/', b'!', ..] => self != Kind::ReadTree,
            [b'/', b'W', b'/', b'!', ..] => true,
            [b'/', b'W', b'/', b'a', b'/', b'!', ..] => true,
            [b'/', b'W', b'/', b'b', b'/', b'!', ..] => self != Kind::WriteBelow,
            _ => unreachable!("this is no entry"),
        }
    }
}

/// One thing that a task does: ask, hold, release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    /// It takes the lock at once or not at all.
    pub(crate) is_try: bool,
    /// It may stop asking or waiting at any time.
    pub(crate) gives_up: bool,
    /// It has too many roots for a transaction that also looks who is in the way.
    pub(crate) is_wide: bool,
}

impl Job {
    pub(crate) const fn acquire(kind: Kind) -> Job {
        Job { kind, is_try: false, gives_up: false, is_wide: false }
    }
}

/// What a mutant leaves out: a rule of the protocol's files, or something around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    Of(Flaw),
    Around(Lapse),
}

/// What those do wrong who drive the protocol, or use what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lapse {
    /// It joins a watch that another waiter has begun, without reading once more.
    NoReadAfterJoining,
    /// Only those who hold are in the way, not those who wait.
    Overtaking,
    /// Too wide a `try` that finds somebody in the way stays where it is.
    WideTryStays,
    /// What is told while it reads is not remembered.
    DeafWhileReading,
    /// A new stream does not read what was said to the session before.
    NoReadAfterOpening,
    /// One of the same session counts as gone when its release is sent.
    GoneWhenSent,
    /// The resource does not remember with which token it was read.
    GateForgetsReads,
}

/// How often something goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// A client sends again what is not answered yet.
    pub(crate) retries: u8,
    /// The stream of a session is cut, with all that is on its way.
    pub(crate) cuts: u8,
    /// A client dies or is paused, or cannot renew its lease, so its lease ends.
    pub(crate) ends: u8,
    /// An administrator deletes somebody's entry.
    pub(crate) revokes: u8,
    /// An administrator begins a new epoch of tokens, which ends all sessions.
    pub(crate) epochs: u8,
    /// A late copy of what opened a session arrives after that.
    pub(crate) late_openings: u8,
    /// A member answers a reader from the past (etcd#20418).
    pub(crate) stale_reads: u8,
    /// etcd says that it has no space.
    pub(crate) no_spaces: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// What each task does, one thing after another, and of which session it is.
    pub(crate) tasks: Vec<(SessionId, Vec<Job>)>,
    pub(crate) sessions: Vec<Arc<Identity>>,
    /// The keys of these.
    pub(crate) session_keys: Vec<Key>,
    pub(crate) mutant: Option<Mutant>,
    /// How many of the latest blockers a waiter observes.
    pub(crate) window: usize,
    pub(crate) faults: Faults,
    /// Whether those who hold access a resource that checks their tokens.
    pub(crate) accesses: bool,
    /// Whether a waiter reads each of its ranges at a time of its own.
    pub(crate) reads_apart: bool,
    /// Whether something lies at the first slot that somebody could not give back.
    pub(crate) is_littered: bool,
}

impl Scenario {
    /// Each task has a session of its own.
    pub(crate) fn apart(jobs: Vec<Vec<Job>>) -> Scenario {
        Scenario::of(jobs.into_iter().enumerate().collect())
    }

    pub(crate) fn of(tasks: Vec<(SessionId, Vec<Job>)>) -> Scenario {
        let count = tasks.iter().map(|(session, _)| session + 1).max().unwrap_or(0);
        // A session is called as its lease, and was opened at the revision of the same number.
        let session = |lease: usize| {
            let (id, created) = (format!("{lease:x}"), lease as i64);
            Arc::new(Identity { space: Space::new(""), id, lease: lease as i64, created })
        };
        let sessions: Vec<_> = (1..=count).map(session).collect();
        Scenario {
            tasks,
            session_keys: sessions.iter().map(|session| session.key()).collect(),
            sessions,
            mutant: None,
            window: LIMITS.window,
            faults: Faults::default(),
            accesses: false,
            reads_apart: false,
            is_littered: false,
        }
    }

    pub(crate) fn job(&self, task: TaskId, step: usize) -> Job {
        self.tasks[task].1[step]
    }

    pub(crate) fn has(&self, lapse: Lapse) -> bool {
        self.mutant == Some(Mutant::Around(lapse))
    }

    pub(crate) fn flaw(&self) -> Option<Flaw> {
        match self.mutant {
            Some(Mutant::Of(flaw)) => Some(flaw),
            _ => None,
        }
    }

    /// What a task asks for, at a slot of its session.
    pub(crate) fn wish(&self, task: TaskId, step: usize, slot: u64) -> Wish {
        let session = &self.sessions[self.tasks[task].0];
        let job = self.job(task, step);
        let roots = job.kind.roots();
        let operations = if job.is_wide { 0 } else { LIMITS.operations };
        Wish {
            session: session.clone(),
            slot,
            keys: session.space.keys(&roots, &session.id, slot),
            values: vec![vec![task as u8, step as u8]; roots.len()],
            ranges: session.space.conflicts(&roots),
            may_wait: !job.is_try,
            limits: Limits { window: self.window, operations },
        }
    }
}
