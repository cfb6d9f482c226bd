//! What clients do.

use crate::{
    protocol::{Flaw, Kind, Protocol},
    world::{
        Answer, Blockers, Call, Entry, Event, How, Key, Phase, Queued, SessionId, Stage, Stream,
        TaskId, Watch, What, World,
    },
};

impl World {
    /// Where the request of a task is.
    pub(crate) fn key(&self, protocol: &Protocol, id: TaskId) -> Key {
        let task = &self.tasks[id];
        let place = task.place.expect("a request has a place");
        (protocol.job(id, task.step).kind, task.session, place)
    }

    fn raise_epoch(&mut self, session: SessionId, epoch: u8) {
        let known = &mut self.sessions[session].epoch;
        *known = epoch.max(*known);
    }

    /// A session is over, and so is all that its tasks do.
    pub(crate) fn end(&mut self, session: SessionId) {
        self.sessions[session].is_over = true;
        for task in self.tasks.iter_mut().filter(|task| task.session == session) {
            task.phase = Phase::Done;
            task.place = None;
        }
        let tasks = &self.tasks;
        self.answers.retain(|(to, _)| tasks[*to].session != session);
    }

    /// Whether there is a reason to wake for a task that sleeps.
    pub(crate) fn is_woken(&self, protocol: &Protocol, id: TaskId) -> bool {
        let Phase::Queued(queued) = &self.tasks[id].phase else { return false };
        let mut observed = queued.observed.iter();
        observed.any(|(entry, how)| self.is_gone(protocol, *entry, *how) || how.is_cut())
    }

    /// Whether a waiter knows that one in its way is gone.
    fn is_gone(&self, protocol: &Protocol, entry: Entry, how: How) -> bool {
        match how {
            How::Here => self.is_gone_here(protocol, entry),
            How::Watched { deleted, .. } => {
                deleted > entry.1 || deleted > 0 && protocol.has(Flaw::AnyDeletion)
            }
        }
    }
}

/// Entering and leaving.
impl Protocol {
    fn send(&self, world: &mut World, id: TaskId, what: What) {
        let key = world.key(self, id);
        let task = &mut world.tasks[id];
        task.number += 1;
        world.calls.insert(Call { task: id, step: task.step, key, number: task.number, what });
        // What was not answered until now never will be.
        world.answers.retain(|(to, _)| *to != id);
    }

    pub(crate) fn ask(&self, world: &mut World, id: TaskId) {
        let session = world.tasks[id].session;
        let place = (0..).find(|place| world.at(session, *place).is_none());
        let task = &mut world.tasks[id];
        (task.place, task.heard) = (place, 0);
        task.phase = Phase::Asking { retried: false };
        let epoch = world.sessions[session].epoch;
        self.send(world, id, What::Acquire { epoch, bump: false });
    }

    /// A client sends something again.
    pub(crate) fn retry(&self, world: &mut World, id: TaskId) {
        let task = &mut world.tasks[id];
        let epoch = world.sessions[task.session].epoch;
        let what = match task.phase {
            Phase::Asking { .. } => {
                task.phase = Phase::Asking { retried: true };
                What::Acquire { epoch, bump: true }
            }
            Phase::Releasing { ticket } => What::Release { ticket },
            _ => What::Cancel { epoch },
        };
        self.send(world, id, what);
    }

    pub(crate) fn receive(&self, world: &mut World, id: TaskId, answer: Answer) {
        let session = world.tasks[id].session;
        let retried = world.tasks[id].phase == Phase::Asking { retried: true };
        match answer {
            Answer::Refused { session: None, .. } | Answer::Cancelled { session: None, .. } => {
                world.end(session);
            }
            Answer::Committed { ticket, blockers } => {
                if retried {
                    world.raise_epoch(session, ticket);
                }
                self.enter(world, id, ticket, blockers);
            }
            Answer::Refused { own: Some(ticket), .. } => {
                world.tasks[id].phase = Phase::Bumping { ticket };
            }
            Answer::Refused { blocked: true, .. } if self.is_try(world, id) => {
                match retried && !self.has(Flaw::TryForgetsRetries) {
                    true => self.cancel(world, id),
                    false => self.finish(world, id),
                }
            }
            Answer::Refused { session: Some(epoch), .. } => {
                world.raise_epoch(session, epoch);
                let epoch = world.sessions[session].epoch;
                self.send(world, id, What::Acquire { epoch, bump: retried });
            }
            Answer::Released => self.finish(world, id),
            Answer::Cancelled { done, session: Some(epoch) } => {
                world.raise_epoch(session, epoch);
                match done {
                    true => self.finish(world, id),
                    false => self.cancel(world, id),
                }
            }
        }
    }

    fn is_try(&self, world: &World, id: TaskId) -> bool {
        self.job(id, world.tasks[id].step).is_try
    }

    /// It has a ticket; late copies of what was sent must fail.
    pub(crate) fn bump(&self, world: &mut World, id: TaskId) {
        let Phase::Bumping { ticket } = world.tasks[id].phase else { return };
        let session = world.tasks[id].session;
        if world.epoch(self, session).is_none() {
            return world.end(session);
        }
        if !self.has(Flaw::NoEpochGuard) {
            let epoch = world.next_revision();
            world.write_epoch(session, epoch);
            world.raise_epoch(session, epoch);
        }
        self.enter(world, id, ticket, Blockers::default());
    }

    pub(crate) fn give_up(&self, world: &mut World, id: TaskId) {
        match world.tasks[id].phase {
            Phase::Queued(_) => self.release(world, id),
            Phase::Bumping { .. } if self.has(Flaw::GivingUpForgetsRetries) => {
                self.release(world, id);
            }
            _ => self.cancel(world, id),
        }
    }

    fn cancel(&self, world: &mut World, id: TaskId) {
        world.tasks[id].phase = Phase::Cancelling;
        let epoch = world.sessions[world.tasks[id].session].epoch;
        self.send(world, id, What::Cancel { epoch });
    }

    pub(crate) fn release(&self, world: &mut World, id: TaskId) {
        let ticket = match &world.tasks[id].phase {
            Phase::Queued(Queued { ticket, .. })
            | Phase::Bumping { ticket }
            | Phase::Held { ticket, .. } => *ticket,
            _ => return,
        };
        world.tasks[id].phase = Phase::Releasing { ticket };
        self.send(world, id, What::Release { ticket });
    }

    /// The job is over, and its place is free: go on with the next.
    fn finish(&self, world: &mut World, id: TaskId) {
        let task = &mut world.tasks[id];
        task.place = None;
        if task.step + 1 < self.tasks[id].1.len() {
            task.step += 1;
            task.phase = Phase::Idle;
        } else {
            task.phase = Phase::Done;
        }
    }

    /// A holder accesses the resource, which checks its token.
    pub(crate) fn access(&self, world: &mut World, id: TaskId) {
        let kind = self.job(id, world.tasks[id].step).kind;
        let Phase::Held { ticket, has_accessed, .. } = &mut world.tasks[id].phase else { return };
        *has_accessed = true;
        let (ticket, gate) = (*ticket, &mut world.gate);
        let is_write = kind != Kind::ReadTree;
        if ticket >= gate.max_write && (!is_write || ticket >= gate.max_read) {
            let forgets = self.has(Flaw::GateForgetsReads);
            match is_write {
                true => gate.max_write = ticket,
                false if forgets => {}
                false => gate.max_read = ticket.max(gate.max_read),
            }
            gate.accepted.push((kind, ticket));
            return;
        }
        gate.has_refused = true;
        let is_late = world.sessions[world.tasks[id].session].is_late;
        gate.has_refused_live |= !is_late && !world.revoked.contains(&ticket);
    }
}

/// Waiting.
impl Protocol {
    fn enter(&self, world: &mut World, id: TaskId, ticket: u8, blockers: Blockers) {
        let (observed, stage) = (Default::default(), Stage::Reading);
        let since = if self.has(Flaw::OlderThanTicket) { 0 } else { ticket };
        let queued = Queued { ticket, blockers, observed, stage, since };
        world.tasks[id].phase = Phase::Queued(queued.clone());
        if world.tasks[id].heard == ticket {
            return self.release(world, id);
        }
        self.settle(world, id, queued);
    }

    fn grant(&self, world: &mut World, id: TaskId, ticket: u8) {
        let session = world.tasks[id].session;
        let too_late = world.sessions[session].is_late;
        if too_late && !self.has(Flaw::NoClock) {
            return world.end(session);
        }
        world.tasks[id].phase = Phase::Held { ticket, has_accessed: false, too_late };
    }

    /// Go on as far as it can without anybody else.
    fn settle(&self, world: &mut World, id: TaskId, mut queued: Queued) {
        let session = world.tasks[id].session;
        let live = &queued.blockers.live;
        queued.observed.retain(|entry, _| live.contains(entry));
        let mut is_fresh = false;
        queued.blockers.live.retain(|entry| {
            let (key, _) = entry;
            let is_here = key.1 == session;
            if is_here && world.is_gone_here(self, *entry) {
                queued.observed.remove(entry);
                return false;
            }
            let stream = world.sessions[session].stream.as_ref();
            let joined = stream.and_then(|stream| stream.watched.get(key));
            let told = joined.filter(|_| !self.has(Flaw::NothingToldWhenJoining));
            let deleted = told.map_or(0, |watch| watch.deleted);
            let how = if is_here { How::Here } else { How::Watched { deleted, is_cut: false } };
            if !is_here && !queued.observed.contains_key(entry) {
                is_fresh |= !(joined.is_some() && self.has(Flaw::NoReadAfterJoining));
            }
            queued.observed.entry(*entry).or_insert(how);
            true
        });
        queued.stage = match &queued.blockers {
            _ if is_fresh => Stage::Watching,
            Blockers { live, are_all } if live.is_empty() => match are_all {
                true => return self.grant(world, id, queued.ticket),
                false => Stage::Reading,
            },
            _ => Stage::Asleep,
        };
        world.tasks[id].phase = Phase::Queued(queued);
        self.see_watched(world, session);
    }

    /// Waiters go on that have waited for their watches to begin.
    fn see_watched(&self, world: &mut World, session: SessionId) {
        let Some(stream) = &world.sessions[session].stream else { return };
        for task in world.tasks.iter_mut().filter(|task| task.session == session) {
            let Phase::Queued(queued) = &mut task.phase else { continue };
            let mut observed = queued.observed.iter();
            let is_watched = |((key, _), how): (&Entry, &How)| {
                *how == How::Here || stream.watched.contains_key(key)
            };
            if queued.stage == Stage::Watching && observed.all(is_watched) {
                let begun = queued.observed.keys().filter_map(|(key, _)| stream.watched.get(key));
                if !self.has(Flaw::OlderThanWatch) {
                    queued.since = begun.map(|watch| watch.since).fold(queued.since, u8::max);
                }
                let sleeps = self.has(Flaw::NoReadAfterWatch);
                queued.stage = if sleeps { Stage::Asleep } else { Stage::Reading };
            }
        }
    }

    pub(crate) fn read(&self, world: &mut World, id: TaskId, at: u8) {
        let Phase::Queued(queued) = &world.tasks[id].phase else { return };
        let read = Stage::Read(self.look(world, id, queued.ticket, at));
        if let Phase::Queued(queued) = &mut world.tasks[id].phase {
            queued.stage = read;
        }
    }

    pub(crate) fn take(&self, world: &mut World, id: TaskId) {
        let Phase::Queued(mut queued) = world.tasks[id].phase.clone() else { return };
        let Stage::Read(blockers) = queued.stage else { return };
        queued.stage = Stage::Reading;
        queued.blockers = blockers;
        if self.is_try(world, id) && !queued.blockers.live.is_empty() {
            return match self.has(Flaw::WideTryStays) {
                true => self.finish(world, id),
                false => self.release(world, id),
            };
        }
        self.settle(world, id, queued);
    }

    /// One that it waits for is gone, or nothing is told any more.
    pub(crate) fn wake(&self, world: &mut World, id: TaskId) {
        let Phase::Queued(mut queued) = world.tasks[id].phase.clone() else { return };
        let mut observed = queued.observed.iter();
        let gone = observed.find(|(entry, how)| world.is_gone(self, **entry, **how));
        if let Some((gone, _)) = gone.map(|(entry, how)| (*entry, *how)) {
            queued.observed.remove(&gone);
            queued.blockers.live.retain(|entry| *entry != gone);
            queued.blockers.are_all |=
                queued.blockers.live.is_empty() && self.has(Flaw::GrantOnLastGone);
            if queued.blockers.are_all {
                return self.settle(world, id, queued);
            }
        } else {
            queued.observed.clear();
        }
        queued.stage = Stage::Reading;
        world.tasks[id].phase = Phase::Queued(queued);
    }
}

/// The stream of a session.
impl Protocol {
    /// A stream begins, and what was said before is read.
    pub(crate) fn open(&self, world: &mut World, session: SessionId) {
        world.sessions[session].stream = Some(Stream::default());
        if self.has(Flaw::NoReadAfterOpening) {
            return;
        }
        if world.epoch(self, session).is_none() {
            return world.end(session);
        }
        let said = world.etcd.said.iter().filter(|((of, _), _)| *of == session);
        let said: Vec<_> = said.map(|((_, place), ticket)| (*place, *ticket)).collect();
        said.into_iter().for_each(|(place, ticket)| self.hear(world, session, place, ticket));
    }

    pub(crate) fn watch(&self, world: &mut World, session: SessionId, key: Key) {
        if let Some(stream) = &mut world.sessions[session].stream {
            let is_past_read = world.left.stale_reads > 0;
            let since = if is_past_read { world.etcd.revision } else { 0 };
            stream.watched.insert(key, Watch { since, deleted: 0 });
        }
        self.see_watched(world, session);
    }

    /// The stream tells the next thing.
    pub(crate) fn tell(&self, world: &mut World, session: SessionId) {
        let stream = world.sessions[session].stream.as_mut();
        match stream.and_then(|stream| stream.events.pop_front()) {
            Some(Event::Deleted { key, at }) => self.hear_deleted(world, session, key, at),
            Some(Event::Revoked { place, ticket }) => self.hear(world, session, place, ticket),
            Some(Event::SessionEnded) => world.end(session),
            None => {}
        }
    }

    fn hear_deleted(&self, world: &mut World, session: SessionId, key: Key, at: u8) {
        let stream = world.sessions[session].stream.as_mut();
        if let Some(watch) = stream.and_then(|stream| stream.watched.get_mut(&key)) {
            watch.deleted = at;
        }
        for task in world.tasks.iter_mut().filter(|task| task.session == session) {
            let Phase::Queued(queued) = &mut task.phase else { continue };
            if self.has(Flaw::DeafWhileReading) && queued.stage != Stage::Asleep {
                continue;
            }
            for ((observed, _), how) in &mut queued.observed {
                if let How::Watched { deleted, .. } = how
                    && *observed == key
                {
                    *deleted = at.max(*deleted);
                }
            }
        }
    }

    /// Somebody has deleted an entry of the session.
    fn hear(&self, world: &mut World, session: SessionId, place: u8, ticket: u8) {
        let Some(id) = world.at(session, place) else { return };
        let task = &mut world.tasks[id];
        task.heard = ticket.max(task.heard);
        match &task.phase {
            Phase::Queued(Queued { ticket: own, .. }) | Phase::Held { ticket: own, .. }
                if *own == task.heard =>
            {
                self.release(world, id);
            }
            _ => {}
        }
    }

    pub(crate) fn cut(&self, world: &mut World, session: SessionId) {
        if self.has(Flaw::CutUnnoticed) {
            if let Some(stream) = &mut world.sessions[session].stream {
                stream.events.clear();
            }
            return;
        }
        world.sessions[session].stream = None;
        for task in world.tasks.iter_mut().filter(|task| task.session == session) {
            let Phase::Queued(queued) = &mut task.phase else { continue };
            if queued.stage == Stage::Watching {
                // It asks for its watches again when it has read.
                queued.observed.retain(|_, how| *how == How::Here);
                queued.stage = Stage::Reading;
            }
            for how in queued.observed.values_mut() {
                how.cut();
            }
        }
    }
}
