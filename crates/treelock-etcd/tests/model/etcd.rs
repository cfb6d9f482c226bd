//! What etcd does.

use crate::{
    protocol::{Flaw, Kind, Protocol},
    world::{
        Answer, Blockers, Call, Entry, Event, Key, Opened, Phase, Put, SessionId, TaskId, What,
        World,
    },
};

impl World {
    pub(crate) fn next_revision(&mut self) -> u8 {
        self.etcd.revision += 1;
        self.etcd.revision
    }

    /// Delete some keys at one revision, and whoever watches them will be told.
    fn delete(&mut self, keys: Vec<Key>) {
        let at = self.next_revision();
        for key in keys {
            if let Some(put) = self.etcd.entries.remove(&key) {
                self.etcd.deleted.insert((key, put.created), at);
            }
            for session in &mut self.sessions {
                if let Some(stream) = &mut session.stream
                    && stream.watched.contains_key(&key)
                {
                    stream.events.push_back(Event::Deleted { key, at });
                }
            }
        }
    }

    fn say(&mut self, session: SessionId, event: Event) {
        if let Some(stream) = &mut self.sessions[session].stream {
            stream.events.push_back(event);
        }
    }

    /// The lease of a session ends, and all that hangs on it goes.
    pub(crate) fn expire(&mut self, session: SessionId) {
        let keys = self.etcd.entries.keys().copied();
        let keys = keys.filter(|(_, of, _)| *of == session).collect();
        self.delete(keys);
        self.etcd.sessions[session] = None;
        self.etcd.said.retain(|(of, _), _| *of != session);
        self.say(session, Event::SessionEnded);
    }

    /// An administrator ends all sessions, so that all tokens are of a new epoch.
    pub(crate) fn begin_epoch(&mut self) {
        self.revoked.extend(self.etcd.entries.values().map(|put| put.created));
        self.delete(self.etcd.entries.keys().copied().collect());
        self.etcd.said.clear();
        self.epoch_began = Some(self.etcd.revision);
        for session in 0..self.sessions.len() {
            self.etcd.sessions[session] = None;
            self.say(session, Event::SessionEnded);
        }
    }
    /// A late copy of what opened a session arrives, whose lease is still there.
    pub(crate) fn open_late(&mut self, session: SessionId) {
        let created = self.next_revision();
        self.etcd.sessions[session] = Some(Opened { created, epoch: created });
    }

    /// The session's key is written.
    pub(crate) fn write_epoch(&mut self, session: SessionId, epoch: u8) {
        if let Some(opened) = &mut self.etcd.sessions[session] {
            opened.epoch = epoch;
        }
    }
}

impl Protocol {
    /// Those in the way of a request, the latest first: all, or only those created before a revision.
    fn blockers(&self, world: &World, kind: Kind, own: Key, before: Option<u8>) -> Vec<Entry> {
        let in_the_way = |key: &Key, put: &Put| {
            let holds = || matches!(world.tasks[put.task].phase, Phase::Held { .. });
            *key != own
                && kind.conflicts(key.0)
                && before.is_none_or(|before| put.created < before)
                && (!self.has(Flaw::Overtaking) || holds())
        };
        let entries = world.etcd.entries.iter().filter(|(key, put)| in_the_way(key, put));
        let mut blockers: Vec<Entry> = entries.map(|(key, put)| (*key, put.created)).collect();
        blockers.sort_unstable_by_key(|(_, created)| std::cmp::Reverse(*created));
        blockers
    }

    /// The latest, and whether there are more.
    fn latest(&self, mut live: Vec<Entry>) -> Blockers {
        let are_all = live.len() <= self.window;
        live.truncate(self.window);
        Blockers { live, are_all }
    }

    /// What the transaction that enters a request says of those in the way: a few of each range, not the latest.
    fn at_once(&self, blockers: Vec<Entry>) -> Blockers {
        let is_read = |((kind, ..), _): &&Entry| *kind == Kind::ReadTree;
        let reads = blockers.iter().filter(is_read).count();
        let is_more = reads.max(blockers.len() - reads) > self.window + 1;
        if is_more { Blockers::default() } else { self.latest(blockers) }
    }

    /// etcd does what a call says, if its compares hold, and answers.
    pub(crate) fn execute(&self, world: &mut World, call: Call) {
        let session = call.key.1;
        let answer = match call.what {
            What::Acquire { epoch, bump } => self.acquire(world, call, epoch, bump),
            What::Release { ticket } => {
                let put = world.etcd.entries.get(&call.key);
                let is_own = put.is_some_and(|put| put.created == ticket);
                if is_own || put.is_some() && self.has(Flaw::UnguardedDelete) {
                    world.delete(vec![call.key]);
                }
                Answer::Released
            }
            What::Cancel { epoch } => {
                let done = self.is_epoch(world, session, epoch);
                if done {
                    match world.etcd.entries.contains_key(&call.key) {
                        true => world.delete(vec![call.key]),
                        false => drop(world.next_revision()),
                    }
                    if !self.has(Flaw::NoEpochGuard) {
                        world.write_epoch(session, world.etcd.revision);
                    }
                }
                Answer::Cancelled { done, session: world.epoch(self, session) }
            }
        };
        let task = &world.tasks[call.task];
        if task.number == call.number && task.phase != Phase::Done {
            world.answers.insert((call.task, answer));
        }
    }

    fn is_epoch(&self, world: &World, session: SessionId, epoch: u8) -> bool {
        let Some(opened) = world.etcd.sessions[session] else { return false };
        opened.epoch == epoch || self.has(Flaw::NoEpochGuard)
    }

    fn acquire(&self, world: &mut World, call: Call, epoch: u8, bump: bool) -> Answer {
        let Call { task, step, key, .. } = call;
        let job = self.job(task, step);
        let blockers = self.blockers(world, job.kind, key, None);
        let blocked = !blockers.is_empty() && !job.is_wide;
        let fits = self.is_epoch(world, key.1, epoch) && !world.etcd.entries.contains_key(&key);
        if fits && !(job.is_try && blocked) {
            let ticket = world.next_revision();
            world.etcd.entries.insert(key, Put { created: ticket, task, step });
            if bump && !self.has(Flaw::NoEpochGuard) {
                world.write_epoch(key.1, ticket);
            }
            let looks = !job.is_wide;
            let blockers = if looks { self.at_once(blockers) } else { Blockers::default() };
            return Answer::Committed { ticket, blockers };
        }
        let own = world.etcd.entries.get(&key);
        let own = own.filter(|put| (put.task, put.step) == (task, step)).map(|put| put.created);
        Answer::Refused { session: world.epoch(self, key.1), own, blocked }
    }

    /// What a task reads of those in its way, as they were at a revision.
    pub(crate) fn look(&self, world: &World, task: TaskId, ticket: u8, at: u8) -> Blockers {
        let key = world.key(self, task);
        let mut live = self.blockers(world, key.0, key, Some(ticket.min(at + 1)));
        let was_there = |((kind, ..), created): &Entry, deleted: u8| {
            key.0.conflicts(*kind) && *created < ticket && *created <= at && deleted > at
        };
        let deleted = world.etcd.deleted.iter();
        let past = deleted.filter(|(entry, deleted)| was_there(entry, **deleted));
        live.extend(past.map(|(entry, _)| *entry));
        live.sort_unstable_by_key(|(_, created)| std::cmp::Reverse(*created));
        self.latest(live)
    }

    /// An administrator deletes the entry that it has seen, and tells its session.
    pub(crate) fn revoke(&self, world: &mut World) {
        let Some((key, ticket)) = world.revoking.take() else { return };
        let (_, session, place) = key;
        let put = world.etcd.entries.get(&key);
        let is_it = put.is_some_and(|put| put.created == ticket);
        if is_it || put.is_some() && self.has(Flaw::UnguardedRevoke) {
            world.delete(vec![key]);
            world.revoked.insert(ticket);
            if !self.has(Flaw::SilentRevoke) {
                world.etcd.said.insert((session, place), ticket);
                world.say(session, Event::Revoked { place, ticket });
            }
        }
    }
}
