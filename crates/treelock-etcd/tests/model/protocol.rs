//! The model: an etcd, its clients, and what is on its way between them.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

/// What a request covers: the whole of one sub-tree, or something in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ReadTree,
    WriteTree,
    WriteBelow,
}

impl Kind {
    fn conflicts(self, other: Kind) -> bool {
        (self, other) != (Kind::ReadTree, Kind::ReadTree)
    }
}

/// One thing that a client does: ask, hold, release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    /// It takes the lock at once or not at all.
    pub(crate) is_try: bool,
    /// It may stop waiting at any time.
    pub(crate) gives_up: bool,
}

impl Job {
    pub(crate) const fn acquire(kind: Kind) -> Job {
        Job { kind, is_try: false, gives_up: false }
    }
}

/// What a mutant leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It sleeps as soon as it watches, without reading once more.
    NoReadAfterWatch,
    /// No transaction compares the session's epoch.
    NoEpochGuard,
    /// A release deletes the key whoever created it.
    UnguardedDelete,
    /// Only those who hold are in the way, not those who wait.
    Overtaking,
    /// It takes what it watched for all there was.
    GrantOnLastDelete,
    /// What a late request may still do is not prevented when a retried `try` is refused.
    TryForgetsRetries,
}

#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    /// What each client does, one after another.
    pub(crate) jobs: Vec<Vec<Job>>,
    pub(crate) flaw: Flaw,
    /// How many of the latest blockers a waiter watches.
    pub(crate) window: usize,
    /// How often a client sends again what is not answered.
    pub(crate) retries: u8,
    /// How often a watch is cut.
    pub(crate) cuts: u8,
    /// How many clients die.
    pub(crate) deaths: u8,
}

impl Protocol {
    pub(crate) fn of(jobs: Vec<Vec<Job>>) -> Protocol {
        Protocol { jobs, flaw: Flaw::None, window: 1, retries: 1, cuts: 0, deaths: 0 }
    }
}

type Client = usize;

/// There is one key for each kind and client: a client uses it again.
type Key = (Kind, Client);

/// A key as it was created at a revision.
type Entry = (Key, u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    revision: u8,
    /// The revision at which each client's session was last written; `None` when its lease has ended.
    sessions: Vec<Option<u8>>,
    /// When each key was created, and by which of its client's jobs.
    entries: BTreeMap<Key, (u8, usize)>,
    /// When each entry was deleted.
    deleted: BTreeMap<Entry, u8>,
    calls: BTreeSet<Call>,
    answers: BTreeSet<(Client, Answer)>,
    clients: Vec<State>,
    retries: u8,
    cuts: u8,
    deaths: u8,
}

/// A transaction on its way to etcd. It may stay there for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    client: Client,
    step: usize,
    /// Counts what the client sends, so that the answers can be told apart.
    number: u8,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    Acquire {
        epoch: u8,
        /// Also write the session, so that what was sent before fails.
        bump: bool,
    },
    Release {
        ticket: u8,
    },
    /// Delete whatever an acquisition in doubt may have put.
    Cancel {
        epoch: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Committed {
        ticket: u8,
        dirty: bool,
    },
    Refused {
        session: Option<u8>,
        /// When the key was created, if this very job has.
        own: Option<u8>,
        blocked: bool,
    },
    Released,
    Cancelled {
        done: bool,
        session: Option<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    step: usize,
    epoch: u8,
    /// The number of the last call.
    number: u8,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Asking {
        retried: bool,
    },
    /// An earlier attempt had committed, so what was sent since must fail.
    Bumping {
        ticket: u8,
    },
    Queued(Queued),
    Held {
        ticket: u8,
    },
    Releasing {
        ticket: u8,
    },
    Cancelling,
    Done,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queued {
    ticket: u8,
    /// The latest blockers.
    targets: Vec<Entry>,
    /// The revision from which they are watched.
    watched: Option<u8>,
    /// It has been read since then that they are there: it sleeps.
    asleep: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Ask(Client),
    /// etcd does what a call says.
    Execute(Call),
    Receive(Client, Answer),
    /// No answer came: it is sent once more.
    Retry(Client),
    Bump(Client),
    Verify(Client),
    Watch(Client),
    /// A watch tells of a deletion.
    Hear(Client),
    Cut(Client),
    Release(Client),
    GiveUp(Client),
    Die(Client),
    /// The lease of one who died ends.
    Expire(Client),
}

impl World {
    fn next_revision(&mut self) -> u8 {
        self.revision += 1;
        self.revision
    }

    fn delete(&mut self, key: Key) {
        if let Some((created, _)) = self.entries.remove(&key) {
            let revision = self.next_revision();
            self.deleted.insert((key, created), revision);
        }
    }

    fn send(&mut self, client: Client, what: What) {
        let state = &mut self.clients[client];
        state.number += 1;
        let (step, number) = (state.step, state.number);
        self.calls.insert(Call { client, step, number, what });
        // What was not answered until now never will be.
        self.answers.retain(|(to, _)| *to != client);
    }

    /// Those in the way of a request, the latest first: all, or only those created before a revision.
    fn blockers(
        &self,
        protocol: &Protocol,
        kind: Kind,
        client: Client,
        before: Option<u8>,
    ) -> Vec<Entry> {
        let in_the_way = |key: &Key, created: u8| {
            let holds = matches!(self.clients[key.1].phase, Phase::Held { .. });
            key.1 != client
                && kind.conflicts(key.0)
                && before.is_none_or(|before| created < before)
                && (protocol.flaw != Flaw::Overtaking || holds)
        };
        let mut blockers: Vec<Entry> = self
            .entries
            .iter()
            .filter(|(key, (created, _))| in_the_way(key, *created))
            .map(|(key, (created, _))| (*key, *created))
            .collect();
        blockers.sort_unstable_by_key(|(_, created)| std::cmp::Reverse(*created));
        blockers
    }
}

impl Protocol {
    fn job(&self, client: Client, step: usize) -> Job {
        self.jobs[client][step]
    }

    fn is_guarded(&self) -> bool {
        self.flaw != Flaw::NoEpochGuard
    }

    fn key(&self, client: Client, step: usize) -> Key {
        (self.job(client, step).kind, client)
    }

    /// etcd does what a call says, if its compares hold, and answers.
    fn execute(&self, world: &mut World, call: Call) {
        let Call { client, step, number, what } = call;
        let key = self.key(client, step);
        let session = world.sessions[client];
        let is_epoch = |epoch| session == Some(epoch) || session.is_some() && !self.is_guarded();
        let answer = match what {
            What::Acquire { epoch, bump } => {
                let job = self.job(client, step);
                let blocked = !world.blockers(self, job.kind, client, None).is_empty();
                let fits = is_epoch(epoch) && !world.entries.contains_key(&key);
                if fits && !(job.is_try && blocked) {
                    let ticket = world.next_revision();
                    world.entries.insert(key, (ticket, step));
                    if bump && self.is_guarded() {
                        world.sessions[client] = Some(ticket);
                    }
                    Answer::Committed { ticket, dirty: blocked }
                } else {
                    let own = world.entries.get(&key).filter(|(_, by)| *by == step);
                    let own = own.map(|(created, _)| *created);
                    Answer::Refused { session, own, blocked }
                }
            }
            What::Release { ticket } => {
                let is_own = world.entries.get(&key).is_some_and(|(created, _)| *created == ticket);
                if is_own || self.flaw == Flaw::UnguardedDelete {
                    world.delete(key);
                }
                Answer::Released
            }
            What::Cancel { epoch } => {
                let done = is_epoch(epoch);
                if done {
                    world.delete(key);
                    if self.is_guarded() {
                        world.sessions[client] = Some(world.next_revision());
                    }
                }
                Answer::Cancelled { done, session: world.sessions[client] }
            }
        };
        let state = &world.clients[client];
        if state.number == number && state.phase != Phase::Dead {
            world.answers.insert((client, answer));
        }
    }

    fn receive(&self, world: &mut World, client: Client, answer: Answer) {
        let step = world.clients[client].step;
        let job = self.job(client, step);
        let state = &mut world.clients[client];
        let retried = state.phase == Phase::Asking { retried: true };
        match answer {
            Answer::Committed { ticket, dirty } => {
                if retried {
                    state.epoch = ticket;
                }
                state.phase = match dirty {
                    true => Phase::Queued(Queued::new(ticket)),
                    false => Phase::Held { ticket },
                };
            }
            Answer::Refused { session: None, .. } => state.phase = Phase::Done,
            Answer::Refused { own: Some(ticket), .. } => state.phase = Phase::Bumping { ticket },
            Answer::Refused { session: Some(_), blocked: true, .. } if job.is_try => {
                if retried && self.flaw != Flaw::TryForgetsRetries {
                    self.cancel(world, client);
                } else {
                    self.finish(world, client);
                }
            }
            Answer::Refused { session: Some(session), .. } => {
                state.epoch = session;
                state.phase = Phase::Asking { retried: true };
                world.send(client, What::Acquire { epoch: session, bump: true });
            }
            Answer::Released => self.finish(world, client),
            Answer::Cancelled { session: None, .. } => state.phase = Phase::Done,
            Answer::Cancelled { done, session: Some(session) } => {
                state.epoch = session;
                match done {
                    true => self.finish(world, client),
                    false => world.send(client, What::Cancel { epoch: session }),
                }
            }
        }
    }

    fn cancel(&self, world: &mut World, client: Client) {
        let epoch = world.clients[client].epoch;
        world.clients[client].phase = Phase::Cancelling;
        world.send(client, What::Cancel { epoch });
    }

    /// The job is over: go on with the next.
    fn finish(&self, world: &mut World, client: Client) {
        let state = &mut world.clients[client];
        state.step += 1;
        state.phase = if state.step < self.jobs[client].len() { Phase::Idle } else { Phase::Done };
        if state.phase == Phase::Done {
            state.step -= 1;
        }
    }

    /// Read who is in the way, and grant if nobody is.
    fn verify(&self, world: &mut World, client: Client) {
        let kind = self.job(client, world.clients[client].step).kind;
        let Phase::Queued(queued) = world.clients[client].phase.clone() else { return };
        let mut blockers = world.blockers(self, kind, client, Some(queued.ticket));
        blockers.truncate(self.window);
        world.clients[client].phase = if blockers.is_empty() {
            Phase::Held { ticket: queued.ticket }
        } else {
            let is_watched = blockers.iter().all(|blocker| queued.targets.contains(blocker));
            let watched = queued.watched.filter(|_| is_watched);
            let asleep = watched.is_some();
            Phase::Queued(Queued { targets: blockers, watched, asleep, ..queued })
        };
    }
}

impl Queued {
    fn new(ticket: u8) -> Queued {
        Queued { ticket, targets: Vec::new(), watched: None, asleep: false }
    }

    /// A target whose deletion the watch tells of.
    fn heard(&self, world: &World) -> Option<usize> {
        let since = self.watched?;
        let told = |target: &Entry| world.deleted.get(target).is_some_and(|at| *at > since);
        self.targets.iter().position(told)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let clients = self.jobs.len();
        let state =
            |client| State { step: 0, epoch: client as u8 + 1, number: 0, phase: Phase::Idle };
        vec![World {
            revision: clients as u8,
            sessions: (0..clients).map(|client| Some(client as u8 + 1)).collect(),
            entries: BTreeMap::new(),
            deleted: BTreeMap::new(),
            calls: BTreeSet::new(),
            answers: BTreeSet::new(),
            clients: (0..clients).map(state).collect(),
            retries: self.retries,
            cuts: self.cuts,
            deaths: self.deaths,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.calls.iter().copied().map(Action::Execute));
        actions.extend(world.answers.iter().map(|(to, answer)| Action::Receive(*to, *answer)));
        for (client, state) in world.clients.iter().enumerate() {
            let gives_up = self.job(client, state.step).gives_up;
            match &state.phase {
                Phase::Idle => actions.push(Action::Ask(client)),
                Phase::Bumping { .. } => actions.push(Action::Bump(client)),
                Phase::Held { .. } => actions.push(Action::Release(client)),
                Phase::Queued(queued) => {
                    let reads = queued.targets.is_empty() || queued.watched.is_some();
                    if !queued.asleep {
                        let read = if reads { Action::Verify } else { Action::Watch };
                        actions.push(read(client));
                    }
                    if queued.asleep && queued.heard(world).is_some() {
                        actions.push(Action::Hear(client));
                    }
                    if queued.asleep && world.cuts > 0 {
                        actions.push(Action::Cut(client));
                    }
                }
                Phase::Dead if world.sessions[client].is_some() => {
                    actions.push(Action::Expire(client));
                }
                Phase::Asking { .. } | Phase::Releasing { .. } | Phase::Cancelling
                    if world.retries > 0 =>
                {
                    actions.push(Action::Retry(client));
                }
                _ => {}
            }
            if gives_up && matches!(state.phase, Phase::Asking { .. } | Phase::Queued(_)) {
                actions.push(Action::GiveUp(client));
            }
            if world.deaths > 0 && !matches!(state.phase, Phase::Done | Phase::Dead) {
                actions.push(Action::Die(client));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Ask(client) => {
                let epoch = world.clients[client].epoch;
                world.clients[client].phase = Phase::Asking { retried: false };
                world.send(client, What::Acquire { epoch, bump: false });
            }
            Action::Execute(call) => {
                world.calls.remove(&call);
                self.execute(&mut world, call);
            }
            Action::Receive(client, answer) => {
                world.answers.remove(&(client, answer));
                self.receive(&mut world, client, answer);
            }
            Action::Retry(client) => {
                world.retries -= 1;
                let epoch = world.clients[client].epoch;
                let what = match world.clients[client].phase {
                    Phase::Asking { .. } => {
                        world.clients[client].phase = Phase::Asking { retried: true };
                        What::Acquire { epoch, bump: true }
                    }
                    Phase::Releasing { ticket } => What::Release { ticket },
                    _ => What::Cancel { epoch },
                };
                world.send(client, what);
            }
            Action::Bump(client) => {
                let Phase::Bumping { ticket } = world.clients[client].phase else { return None };
                if self.is_guarded() {
                    let epoch = world.next_revision();
                    world.sessions[client] = world.sessions[client].map(|_| epoch);
                    world.clients[client].epoch = epoch;
                }
                let is_try = self.job(client, world.clients[client].step).is_try;
                world.clients[client].phase = match is_try {
                    true => Phase::Held { ticket },
                    false => Phase::Queued(Queued::new(ticket)),
                };
            }
            Action::Verify(client) => self.verify(&mut world, client),
            Action::Watch(client) => {
                let since = world.revision;
                let Phase::Queued(queued) = &mut world.clients[client].phase else { return None };
                queued.watched = Some(since);
                queued.asleep = self.flaw == Flaw::NoReadAfterWatch;
            }
            Action::Hear(client) => {
                let Phase::Queued(mut queued) = world.clients[client].phase.clone() else {
                    return None;
                };
                let heard = queued.heard(&world)?;
                queued.targets.remove(heard);
                queued.asleep = false;
                let is_last = queued.targets.is_empty() && self.flaw == Flaw::GrantOnLastDelete;
                world.clients[client].phase = match is_last {
                    true => Phase::Held { ticket: queued.ticket },
                    false => Phase::Queued(queued),
                };
            }
            Action::Cut(client) => {
                world.cuts -= 1;
                let Phase::Queued(queued) = &mut world.clients[client].phase else { return None };
                *queued = Queued::new(queued.ticket);
            }
            Action::Release(client) => {
                let Phase::Held { ticket } = world.clients[client].phase else { return None };
                world.clients[client].phase = Phase::Releasing { ticket };
                world.send(client, What::Release { ticket });
            }
            Action::GiveUp(client) => match world.clients[client].phase.clone() {
                Phase::Queued(Queued { ticket, .. }) => {
                    world.clients[client].phase = Phase::Releasing { ticket };
                    world.send(client, What::Release { ticket });
                }
                _ => self.cancel(&mut world, client),
            },
            Action::Die(client) => {
                world.deaths -= 1;
                world.clients[client].phase = Phase::Dead;
                world.answers.retain(|(to, _)| *to != client);
            }
            Action::Expire(client) => {
                world.sessions[client] = None;
                let own: Vec<Key> =
                    world.entries.keys().copied().filter(|key| key.1 == client).collect();
                own.into_iter().for_each(|key| world.delete(key));
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Protocol>> {
        vec![
            Property::always("exclusion", is_exclusive),
            Property::always("nobody is overtaken", nobody_is_overtaken),
            Property::always("no orphans", no_orphans),
            Property::always("every place is kept", every_place_is_kept),
            Property::always("nobody is stuck", nobody_is_stuck),
            // The model would prove little if it could not do these.
            Property::sometimes("somebody waits", |_, world: &World| {
                world
                    .clients
                    .iter()
                    .any(|state| matches!(&state.phase, Phase::Queued(queued) if queued.asleep))
            }),
            Property::sometimes("all are done", |_, world: &World| {
                world.clients.iter().all(|state| state.phase == Phase::Done)
            }),
        ]
    }
}

/// The clients that hold, with what and since which revision.
fn holders(protocol: &Protocol, world: &World) -> Vec<(Client, Kind, u8)> {
    let holds = |(client, state): (Client, &State)| match state.phase {
        Phase::Held { ticket } => Some((client, protocol.job(client, state.step).kind, ticket)),
        _ => None,
    };
    world.clients.iter().enumerate().filter_map(holds).collect()
}

fn is_exclusive(protocol: &Protocol, world: &World) -> bool {
    let holders = holders(protocol, world);
    holders.iter().all(|(one, kind, _)| {
        holders.iter().all(|(two, other, _)| one == two || !kind.conflicts(*other))
    })
}

/// Nobody holds while an earlier request that conflicts is live (C1).
fn nobody_is_overtaken(protocol: &Protocol, world: &World) -> bool {
    holders(protocol, world).iter().all(|(client, kind, ticket)| {
        let earlier = |((other, by), (created, _)): (&Key, &(u8, usize))| {
            by != client && kind.conflicts(*other) && created < ticket
        };
        !world.entries.iter().any(earlier)
    })
}

/// Who has nothing to do has nothing in the table.
fn no_orphans(_: &Protocol, world: &World) -> bool {
    world.clients.iter().enumerate().all(|(client, state)| {
        let rests = matches!(state.phase, Phase::Idle | Phase::Done);
        !rests || world.entries.keys().all(|(_, by)| *by != client)
    })
}

/// Who waits or holds has its entry, as it was created.
fn every_place_is_kept(protocol: &Protocol, world: &World) -> bool {
    world.clients.iter().enumerate().all(|(client, state)| {
        let ticket = match &state.phase {
            Phase::Queued(queued) => queued.ticket,
            Phase::Held { ticket } => *ticket,
            _ => return true,
        };
        let key = protocol.key(client, state.step);
        world.entries.get(&key).is_some_and(|(created, _)| *created == ticket)
    })
}

/// When nothing can happen any more, everybody is done or dead and gone.
fn nobody_is_stuck(protocol: &Protocol, world: &World) -> bool {
    let mut actions = Vec::new();
    protocol.actions(world, &mut actions);
    !actions.is_empty()
        || world.clients.iter().all(|state| matches!(state.phase, Phase::Done | Phase::Dead))
            && world.entries.is_empty()
}
