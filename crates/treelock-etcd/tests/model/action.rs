//! What may happen next, and what then is.

use stateright::{Model, Property};

use crate::{
    name::{Key, SessionId, TaskId},
    properties,
    protocol::{
        flaw,
        txn::{NoAnswer, Operation},
        waiting::Doing,
    },
    scenario::Scenario,
    world::{Call, Phase, World},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(TaskId),
    /// etcd does what a call says.
    Execute(Call),
    /// The answer to the last call of a task arrives.
    Receive(TaskId),
    /// etcd answers that it has no space, and has carried the call out all the same, or not.
    RefuseForSpace(Call, bool),
    /// etcd reads who is in the way.
    Read(TaskId),
    /// A member of etcd reads who was in the way at an earlier revision.
    ReadPast(TaskId, i64),
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

impl Scenario {
    /// What happens by itself, sooner or later.
    pub(crate) fn steps(&self, world: &World, actions: &mut Vec<Action>) {
        flaw::switch(self.flaw());
        actions.extend(world.calls.iter().cloned().map(Action::Execute));
        actions.extend(world.answers.keys().copied().map(Action::Receive));
        for (id, task) in world.tasks.iter().enumerate() {
            match &task.phase {
                Phase::Idle => actions.push(Action::Ask(id)),
                Phase::Held { .. } => actions.push(Action::Release(id)),
                Phase::Queued(queued) if queued.has_read => actions.push(Action::Take(id)),
                Phase::Queued(queued) => match queued.waiting.doing {
                    Doing::Looking { .. } => actions.push(Action::Read(id)),
                    Doing::Sleeping if queued.is_woken(&world.here(id)) => {
                        actions.push(Action::Wake(id));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        for (id, session) in world.sessions.iter().enumerate() {
            if session.is_late && !session.is_over {
                actions.push(Action::SeeTimeOut(id));
            }
            if session.is_late && world.etcd.has_key(self, id) {
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
        if left.no_spaces > 0 {
            let is_put = |operation: &Operation| matches!(operation, Operation::Put { .. });
            let takes_space = |call: &&Call| call.txn.then.iter().any(is_put);
            for call in world.calls.iter().filter(takes_space) {
                let refuse = |is_done| Action::RefuseForSpace(call.clone(), is_done);
                actions.extend([true, false].map(refuse));
            }
        }
        for (id, task) in world.tasks.iter().enumerate() {
            match &task.phase {
                Phase::Entering(_) | Phase::Leaving(_) if left.retries > 0 => {
                    actions.push(Action::Retry(id));
                }
                Phase::Held(held) if self.accesses && !held.has_accessed => {
                    actions.push(Action::Access(id));
                }
                _ => {}
            }
            if left.stale_reads > 0
                && let Some(verify) = self.verify(world, id)
            {
                // What is older is asked for again.
                let past = (0..world.etcd.revision).filter(|revision| verify.counts(*revision));
                actions.extend(past.map(|revision| Action::ReadPast(id, revision)));
            }
            let may = matches!(task.phase, Phase::Entering(_) | Phase::Queued(_));
            if may && self.job(id, task.step).gives_up {
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
            let is_gone = !world.etcd.has_key(self, id);
            if left.late_openings > 0 && is_gone && !session.is_late {
                actions.push(Action::OpenLate(id));
            }
        }
        if left.revokes > 0 && world.revoking.is_none() {
            actions.extend(world.etcd.entries().map(|(key, _)| Action::Revoke(key.clone())));
        }
        if left.epochs > 0 {
            actions.push(Action::BeginEpoch);
        }
    }

    fn act(&self, world: &mut World, action: Action) {
        match action {
            Action::Ask(task) => self.ask(world, task),
            Action::Execute(call) => {
                world.calls.remove(&call);
                self.execute(world, &call);
            }
            Action::Receive(task) => {
                let answer = world.answers.remove(&task).expect("there is an answer");
                self.receive(world, task, Ok(&answer));
            }
            Action::RefuseForSpace(call, is_done) => {
                world.left.no_spaces -= 1;
                world.calls.remove(&call);
                self.refuse_for_space(world, &call, is_done);
            }
            Action::Read(task) => self.read(world, task, world.etcd.revision),
            Action::ReadPast(task, revision) => {
                self.read(world, task, revision);
                world.left.stale_reads -= 1;
            }
            Action::Take(task) => self.take(world, task),
            Action::Wake(task) => self.wake(world, task),
            Action::Release(task) | Action::GiveUp(task) => self.leave(world, task),
            Action::Access(task) => self.access(world, task),
            Action::Retry(task) => {
                world.left.retries -= 1;
                self.receive(world, task, Err(NoAnswer::InDoubt));
            }
            Action::Open(session) => self.open(world, session),
            Action::Watch(session, key) => self.watch(world, session, &key),
            Action::Tell(session) => self.tell(world, session),
            Action::Cut(session) => {
                world.left.cuts -= 1;
                self.cut(world, session);
            }
            Action::TimeOut(session) => {
                world.left.ends -= 1;
                world.sessions[session].is_late = true;
            }
            Action::SeeTimeOut(session) => world.end(session),
            Action::Expire(session) => world.expire(self, session),
            Action::Revoke(key) => {
                world.left.revokes -= 1;
                let ticket = world.etcd.keys[&key].created;
                world.revoking = Some((key, ticket));
            }
            Action::Revoked => self.revoke(world),
            Action::BeginEpoch => {
                world.left.epochs -= 1;
                world.begin_epoch(self);
            }
            Action::OpenLate(session) => {
                world.left.late_openings -= 1;
                world.open_late(self, session);
            }
        }
    }
}

impl Model for Scenario {
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
        flaw::switch(self.flaw());
        let mut world = before.clone();
        self.act(&mut world, action);
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Scenario>> {
        properties::all()
    }
}
