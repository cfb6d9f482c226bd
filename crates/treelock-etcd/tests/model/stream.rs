//! The stream of a session, and who hears what it tells.

use crate::{
    etcd::ticket_said,
    name::{Key, SessionId},
    protocol::{told::Told, txn::Kv, waiting::Doing},
    scenario::{Lapse, Scenario},
    world::{Event, OfSession, Phase, Stream, World},
};

impl Scenario {
    /// A stream begins, and what was said before is read.
    pub(crate) fn open(&self, world: &mut World, session: SessionId) {
        world.sessions[session].stream = Some(Stream::default());
        if self.has(Lapse::NoReadAfterOpening) {
            return;
        }
        let identity = &self.sessions[session];
        let (first, end) = identity.space.session_range(&identity.id);
        let found: Vec<Kv> = world
            .etcd
            .keys
            .range(first..end)
            .map(|(key, stored)| Kv {
                key: key.clone(),
                value: stored.value.clone(),
                created: stored.created,
                written: stored.written,
            })
            .collect();
        let own = found.iter().find(|kv| kv.key == identity.key());
        let learnt = identity.see(own, world.sessions[session].epoch);
        if !world.learn(session, learnt) {
            return;
        }
        for kv in &found {
            if let Some(slot) = identity.space.read_revoked(&identity.id, &kv.key) {
                self.hear(world, session, slot, ticket_said(&kv.value));
            }
        }
    }

    /// etcd begins to watch a key for a session.
    pub(crate) fn watch(&self, world: &mut World, session: SessionId, key: &Key) {
        let is_past_read = world.left.stale_reads > 0;
        let since = if is_past_read { world.etcd.revision } else { 0 };
        let mut watch = Told::default();
        watch.begin(since);
        if let Some(stream) = &mut world.sessions[session].stream {
            stream.watched.insert(key.clone(), watch);
        }
        self.tell_all(world, session, |of, told| {
            if of == key {
                told.begin(since);
            }
        });
    }

    /// All waiters of a session are told something of what they observe.
    fn tell_all(&self, world: &mut World, session: SessionId, tell: impl Fn(&Key, &mut Told)) {
        let World { tasks, sessions, .. } = world;
        for task in tasks.iter_mut().filter(|task| task.session == session) {
            if !matches!(task.phase, Phase::Queued(_)) {
                continue;
            }
            let Phase::Queued(queued) = &mut task.phase else { continue };
            queued.told.iter_mut().for_each(|((_, key), told)| tell(key, told));
            let slot = queued.entry.wish.slot;
            self.see_begun(queued, &OfSession { session: &sessions[session], slot });
        }
    }

    /// The stream tells the next thing.
    pub(crate) fn tell(&self, world: &mut World, session: SessionId) {
        let stream = world.sessions[session].stream.as_mut();
        match stream.and_then(|stream| stream.events.pop_front()) {
            Some(Event::Deleted { key, at }) => self.hear_deleted(world, session, &key, at),
            Some(Event::Revoked { slot, ticket }) => self.hear(world, session, slot, ticket),
            Some(Event::SessionEnded) => world.end(session),
            None => {}
        }
    }

    fn hear_deleted(&self, world: &mut World, session: SessionId, key: &Key, at: i64) {
        if let Some(stream) = &mut world.sessions[session].stream
            && let Some(watch) = stream.watched.get_mut(key)
        {
            watch.delete(at);
        }
        for queued in world.queued_mut(session) {
            if self.has(Lapse::DeafWhileReading) && queued.waiting.doing != Doing::Sleeping {
                continue;
            }
            let of_key = queued.told.iter_mut().filter(|((_, of), _)| of == key);
            of_key.for_each(|(_, told)| told.delete(at));
        }
    }

    /// Somebody has deleted an entry of the session.
    fn hear(&self, world: &mut World, session: SessionId, slot: u64, ticket: i64) {
        let Some((id, content)) = world.sessions[session].slots.get_mut(&slot) else { return };
        content.revoke(ticket);
        let (id, is_revoked) = (*id, content.is_revoked());
        if is_revoked && matches!(world.tasks[id].phase, Phase::Queued(_) | Phase::Held(_)) {
            self.leave(world, id);
        }
    }

    /// The stream is cut, with all that is on its way.
    pub(crate) fn cut(&self, world: &mut World, session: SessionId) {
        world.sessions[session].stream = None;
        self.tell_all(world, session, |_, told| told.cut());
    }
}
