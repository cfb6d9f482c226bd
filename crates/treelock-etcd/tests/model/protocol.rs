//! What is explored: who does what, what may go wrong meanwhile, and what a mutant leaves out.

use stateright::{Model, Property};

use crate::{
    properties,
    world::{Answer, Call, Key, Phase, SessionId, Stage, TaskId, World},
};

/// What a request covers: the whole of one sub-tree, or something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ReadTree,
    WriteTree,
    WriteBelow,
}

impl Kind {
    pub(crate) fn conflicts(self, other: Kind) -> bool {
        (self, other) != (Kind::ReadTree, Kind::ReadTree)
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

/// What a mutant leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It sleeps as soon as it watches, without reading once more.
    NoReadAfterWatch,
    /// What is read once more may be older than the watch.
    OlderThanWatch,
    /// What is read may be older than its own entry.
    OlderThanTicket,
    /// Who joins a watch is not told what it told before.
    NothingToldWhenJoining,
    /// It joins a watch that another waiter has begun, without reading once more.
    NoReadAfterJoining,
    /// No transaction compares the session's epoch.
    NoEpochGuard,
    /// A release deletes the key whoever created it.
    UnguardedDelete,
    /// Only those who hold are in the way, not those who wait.
    Overtaking,
    /// It takes those it waited for for all there were.
    GrantOnLastGone,
    /// What a late request may still do is not prevented when a retried `try` is refused.
    TryForgetsRetries,
    /// Nor when it gives up between learning its ticket and making late copies fail.
    GivingUpForgetsRetries,
    /// Too wide a `try` that finds somebody in the way stays where it is.
    WideTryStays,
    /// A deletion is taken for that of whoever is waited for, even if it is older.
    AnyDeletion,
    /// What is told while it reads is not remembered.
    DeafWhileReading,
    /// Nobody learns that the stream was cut, and what was on its way is lost.
    CutUnnoticed,
    /// A new stream does not read what was said to the session before.
    NoReadAfterOpening,
    /// One of the same session counts as gone when its release is sent.
    GoneWhenSent,
    /// One of the same session of which nothing is known yet counts as gone.
    UnknownIsGone,
    /// A later request at the place of one of the same session is taken for it.
    PlaceIsEnough,
    /// An administrator deletes the key whoever created it.
    UnguardedRevoke,
    /// An administrator does not tell the session whose entry it deletes.
    SilentRevoke,
    /// Any key of its name is taken for that of the session.
    AnySessionKey,
    /// It takes the lock without a look at its clock.
    NoClock,
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
}

#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// What each task does, one thing after another, and of which session it is.
    pub(crate) tasks: Vec<(SessionId, Vec<Job>)>,
    pub(crate) flaw: Flaw,
    /// How many of the latest blockers a waiter observes.
    pub(crate) window: usize,
    pub(crate) faults: Faults,
    /// Whether those who hold access a resource that checks their tokens.
    pub(crate) accesses: bool,
}

impl Protocol {
    /// Each task has a session of its own.
    pub(crate) fn apart(jobs: Vec<Vec<Job>>) -> Protocol {
        Protocol::of(jobs.into_iter().enumerate().collect())
    }

    pub(crate) fn of(tasks: Vec<(SessionId, Vec<Job>)>) -> Protocol {
        let faults = Faults::default();
        Protocol { tasks, flaw: Flaw::None, window: 2, faults, accesses: false }
    }

    pub(crate) fn job(&self, task: TaskId, step: usize) -> Job {
        self.tasks[task].1[step]
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(TaskId),
    /// etcd does what a call says.
    Execute(Call),
    Receive(TaskId, Answer),
    Bump(TaskId),
    /// etcd reads who is in the way.
    Read(TaskId),
    /// A member of etcd reads who was in the way at an earlier revision.
    ReadPast(TaskId, u8),
    /// What was read arrives.
    Take(TaskId),
    /// One that is waited for is gone, or the stream was cut.
    Wake(TaskId),
    Release(TaskId),
    GiveUp(TaskId),
    /// A holder accesses the resource.
    Access(TaskId),
    /// No answer came: it is sent once more.
    Retry(TaskId),
    /// A session begins a stream, with the watch of what is said to it.
    Open(SessionId),
    /// etcd begins to watch a key for a session.
    Watch(SessionId, Key),
    /// A stream tells the next thing.
    Tell(SessionId),
    Cut(SessionId),
    /// The time has passed for which a session is certain of its lease.
    TimeOut(SessionId),
    /// Its client looks at the clock.
    SeeTimeOut(SessionId),
    /// The lease ends.
    Expire(SessionId),
    /// An administrator has seen an entry and wants to delete it.
    Revoke(Key),
    /// It does.
    Revoked,
    BeginEpoch,
    OpenLate(SessionId),
}

impl Protocol {
    /// What happens by itself, sooner or later.
    pub(crate) fn steps(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.calls.iter().copied().map(Action::Execute));
        let answers = world.answers.iter().cloned();
        actions.extend(answers.map(|(task, answer)| Action::Receive(task, answer)));
        for (id, task) in world.tasks.iter().enumerate() {
            match &task.phase {
                Phase::Idle => actions.push(Action::Ask(id)),
                Phase::Bumping { .. } => actions.push(Action::Bump(id)),
                Phase::Held { .. } => actions.push(Action::Release(id)),
                Phase::Queued(queued) => match queued.stage {
                    Stage::Reading => actions.push(Action::Read(id)),
                    Stage::Read(_) => actions.push(Action::Take(id)),
                    Stage::Asleep if world.is_woken(self, id) => actions.push(Action::Wake(id)),
                    Stage::Asleep | Stage::Watching => {}
                },
                _ => {}
            }
        }
        for (id, session) in world.sessions.iter().enumerate() {
            if session.is_late && !session.is_over {
                actions.push(Action::SeeTimeOut(id));
            }
            if session.is_late && world.etcd.sessions[id].is_some() {
                actions.push(Action::Expire(id));
            }
            match &session.stream {
                None if world.has_work(id) => actions.push(Action::Open(id)),
                None => {}
                Some(stream) => {
                    if !stream.events.is_empty() {
                        actions.push(Action::Tell(id));
                    }
                    let wanted = world.wanted(id).into_iter();
                    actions.extend(wanted.map(|key| Action::Watch(id, key)));
                }
            }
        }
        if world.revoking.is_some() {
            actions.push(Action::Revoked);
        }
    }

    /// What may happen or not.
    fn choices(&self, world: &World, actions: &mut Vec<Action>) {
        let left = world.left;
        for (id, task) in world.tasks.iter().enumerate() {
            let job = self.job(id, task.step);
            match &task.phase {
                Phase::Asking { .. } | Phase::Releasing { .. } | Phase::Cancelling
                    if left.retries > 0 =>
                {
                    actions.push(Action::Retry(id));
                }
                Phase::Held { has_accessed: false, .. } if self.accesses => {
                    actions.push(Action::Access(id));
                }
                _ => {}
            }
            let may = matches!(
                task.phase,
                Phase::Asking { .. } | Phase::Bumping { .. } | Phase::Queued(_)
            );
            if let Phase::Queued(queued) = &task.phase
                && queued.stage == Stage::Reading
                && left.stale_reads > 0
            {
                // What is older is asked for again.
                let past = queued.since..world.etcd.revision;
                actions.extend(past.map(|revision| Action::ReadPast(id, revision)));
            }
            if job.gives_up && may {
                actions.push(Action::GiveUp(id));
            }
        }
        for (id, session) in world.sessions.iter().enumerate() {
            if left.cuts > 0 && session.stream.is_some() && world.has_work(id) {
                actions.push(Action::Cut(id));
            }
            if left.ends > 0 && !session.is_late && !session.is_over {
                actions.push(Action::TimeOut(id));
            }
            // It creates the key only if it is not there, and only while the lease is.
            let is_gone = world.etcd.sessions[id].is_none() && !session.is_late;
            if left.late_openings > 0 && is_gone {
                actions.push(Action::OpenLate(id));
            }
        }
        if left.revokes > 0 && world.revoking.is_none() {
            actions.extend(world.etcd.entries.keys().copied().map(Action::Revoke));
        }
        if left.epochs > 0 {
            actions.push(Action::BeginEpoch);
        }
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.steps(world, actions);
        self.choices(world, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Ask(task) => self.ask(&mut world, task),
            Action::Execute(call) => {
                world.calls.remove(&call);
                self.execute(&mut world, call);
            }
            Action::Receive(task, answer) => {
                world.answers.remove(&(task, answer.clone()));
                self.receive(&mut world, task, answer);
            }
            Action::Bump(task) => self.bump(&mut world, task),
            Action::Read(task) => {
                let now = world.etcd.revision;
                self.read(&mut world, task, now);
            }
            Action::ReadPast(task, revision) => {
                world.left.stale_reads -= 1;
                self.read(&mut world, task, revision);
            }
            Action::Take(task) => self.take(&mut world, task),
            Action::Wake(task) => self.wake(&mut world, task),
            Action::Release(task) => self.release(&mut world, task),
            Action::GiveUp(task) => self.give_up(&mut world, task),
            Action::Access(task) => self.access(&mut world, task),
            Action::Retry(task) => {
                world.left.retries -= 1;
                self.retry(&mut world, task);
            }
            Action::Open(session) => self.open(&mut world, session),
            Action::Watch(session, key) => self.watch(&mut world, session, key),
            Action::Tell(session) => self.tell(&mut world, session),
            Action::Cut(session) => {
                world.left.cuts -= 1;
                self.cut(&mut world, session);
            }
            Action::TimeOut(session) => {
                world.left.ends -= 1;
                world.sessions[session].is_late = true;
            }
            Action::SeeTimeOut(session) => world.end(session),
            Action::Expire(session) => world.expire(session),
            Action::Revoke(key) => {
                world.left.revokes -= 1;
                world.revoking = Some((key, world.etcd.entries[&key].created));
            }
            Action::Revoked => self.revoke(&mut world),
            Action::BeginEpoch => {
                world.left.epochs -= 1;
                world.begin_epoch();
            }
            Action::OpenLate(session) => {
                world.left.late_openings -= 1;
                world.open_late(session);
            }
        }
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        properties::all()
    }
}
