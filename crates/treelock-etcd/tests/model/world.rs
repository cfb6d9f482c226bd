//! All that there is: an etcd, its clients, and what is on its way between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::protocol::{Faults, Flaw, Kind, Protocol};

pub(crate) type TaskId = usize;
pub(crate) type SessionId = usize;

/// A key names what it covers, and a place of a session, which is used again.
pub(crate) type Key = (Kind, SessionId, u8);

/// A key as it was created at a revision.
pub(crate) type Entry = (Key, u8);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) etcd: Etcd,
    pub(crate) calls: BTreeSet<Call>,
    pub(crate) answers: BTreeSet<(TaskId, Answer)>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) tasks: Vec<Task>,
    /// What an administrator has seen and is about to delete.
    pub(crate) revoking: Option<Entry>,
    /// The tickets of the entries that an administrator has deleted.
    pub(crate) revoked: BTreeSet<u8>,
    /// When a new epoch of tokens began.
    pub(crate) epoch_began: Option<u8>,
    pub(crate) gate: Gate,
    pub(crate) left: Faults,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Etcd {
    pub(crate) revision: u8,
    /// The key of each session, if it is there.
    pub(crate) sessions: Vec<Option<Opened>>,
    pub(crate) entries: BTreeMap<Key, Put>,
    /// When other entries were deleted, for as long as somebody may read the past.
    pub(crate) deleted: BTreeMap<Entry, u8>,
    /// What was said to a session: which entry at one of its places was deleted by somebody else.
    pub(crate) said: BTreeMap<(SessionId, u8), u8>,
}

/// The key of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Opened {
    pub(crate) created: u8,
    /// The revision at which it was last written.
    pub(crate) epoch: u8,
}

/// When a key was created, and by which task for which of its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Put {
    pub(crate) created: u8,
    pub(crate) task: TaskId,
    pub(crate) step: usize,
}

/// A transaction on its way to etcd. It may stay there for as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) task: TaskId,
    pub(crate) step: usize,
    pub(crate) key: Key,
    /// Counts what the task sends, so that the answers can be told apart.
    pub(crate) number: u8,
    pub(crate) what: What,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Committed {
        ticket: u8,
        blockers: Blockers,
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

/// Those in the way, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Blockers {
    /// The latest.
    pub(crate) live: Vec<Entry>,
    pub(crate) are_all: bool,
}

/// What the tasks of a process share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    /// When its key was created.
    pub(crate) created: u8,
    /// The largest revision of its key that it knows of.
    pub(crate) epoch: u8,
    /// Its own clock says that its lease may have ended.
    pub(crate) is_late: bool,
    /// And it has seen that, or was told.
    pub(crate) is_over: bool,
    pub(crate) stream: Option<Stream>,
}

/// What etcd watches for a session, and what it has to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    pub(crate) watched: BTreeMap<Key, Watch>,
    pub(crate) events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    /// From which revision on, if somebody may read what is older.
    pub(crate) since: u8,
    /// The last deletion that it told of.
    pub(crate) deleted: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Deleted {
        key: Key,
        at: u8,
    },
    /// Somebody has deleted the entry with this ticket at one of the session's places.
    Revoked {
        place: u8,
        ticket: u8,
    },
    SessionEnded,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) session: SessionId,
    pub(crate) step: usize,
    /// Where its request is, from before it is sent until it is known to be gone.
    pub(crate) place: Option<u8>,
    /// The number of the last call.
    pub(crate) number: u8,
    /// The largest ticket that was revoked at its place, as it was told.
    pub(crate) heard: u8,
    pub(crate) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
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
        has_accessed: bool,
        /// The session's time had passed when it got it.
        too_late: bool,
    },
    Releasing {
        ticket: u8,
    },
    Cancelling,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queued {
    pub(crate) ticket: u8,
    pub(crate) blockers: Blockers,
    pub(crate) observed: BTreeMap<Entry, How>,
    pub(crate) stage: Stage,
    /// At which revision it has to be read who is in the way, or later.
    pub(crate) since: u8,
}

/// How a waiter learns that one in its way is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    /// It is of the same session.
    Here,
    Watched {
        /// When the key was last deleted, as it was told.
        deleted: u8,
        is_cut: bool,
    },
}

impl How {
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, How::Watched { is_cut: true, .. })
    }

    pub(crate) fn cut(&mut self) {
        if let How::Watched { is_cut, .. } = self {
            *is_cut = true;
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Reading,
    Read(Blockers),
    /// Until etcd has begun to watch all that it wants watched.
    Watching,
    Asleep,
}

/// The resource, and what it remembers of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gate {
    pub(crate) max_read: u8,
    pub(crate) max_write: u8,
    /// What was accepted, in order.
    pub(crate) accepted: Vec<(Kind, u8)>,
    pub(crate) has_refused: bool,
    /// One was refused whose session and entry were as they should be.
    pub(crate) has_refused_live: bool,
}

impl World {
    pub(crate) fn new(protocol: &Protocol) -> World {
        let count = protocol.tasks.iter().map(|(session, _)| session + 1).max().unwrap_or(0);
        let epochs = || (0..count).map(|session| session as u8 + 1);
        let session = |epoch| Session {
            created: epoch,
            epoch,
            is_late: false,
            is_over: false,
            stream: Some(Stream::default()),
        };
        let task = |(session, _): &(SessionId, _)| Task {
            session: *session,
            step: 0,
            place: None,
            number: 0,
            heard: 0,
            phase: Phase::Idle,
        };
        World {
            etcd: Etcd {
                revision: count as u8,
                sessions: epochs().map(|epoch| Some(Opened { created: epoch, epoch })).collect(),
                entries: BTreeMap::new(),
                deleted: BTreeMap::new(),
                said: BTreeMap::new(),
            },
            calls: BTreeSet::new(),
            answers: BTreeSet::new(),
            sessions: epochs().map(session).collect(),
            tasks: protocol.tasks.iter().map(task).collect(),
            revoking: None,
            revoked: BTreeSet::new(),
            epoch_began: None,
            gate: Gate::default(),
            left: protocol.faults,
        }
    }

    /// The epoch of a session as etcd has it, unless the session's key is gone, or is not the one that was created
    /// for it.
    pub(crate) fn epoch(&self, protocol: &Protocol, session: SessionId) -> Option<u8> {
        let opened = self.etcd.sessions[session]?;
        let is_it = opened.created == self.sessions[session].created;
        (is_it || protocol.has(Flaw::AnySessionKey)).then_some(opened.epoch)
    }

    /// Whether a session has something to do.
    pub(crate) fn has_work(&self, session: SessionId) -> bool {
        self.tasks.iter().any(|task| task.session == session && task.phase != Phase::Done)
    }

    /// The task that is at a place.
    pub(crate) fn at(&self, session: SessionId, place: u8) -> Option<TaskId> {
        let is_there = |task: &Task| task.session == session && task.place == Some(place);
        self.tasks.iter().position(is_there)
    }

    /// The keys that waiters of a session want to be watched and that are not.
    pub(crate) fn wanted(&self, session: SessionId) -> BTreeSet<Key> {
        let mut wanted = self.observed(session);
        if let Some(stream) = &self.sessions[session].stream {
            wanted.retain(|key| !stream.watched.contains_key(key));
        }
        wanted
    }

    /// The keys that waiters of a session observe through its stream.
    fn observed(&self, session: SessionId) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        for task in self.tasks.iter().filter(|task| task.session == session) {
            let Phase::Queued(queued) = &task.phase else { continue };
            let watched = queued
                .observed
                .iter()
                .filter(|(_, how)| matches!(how, How::Watched { is_cut: false, .. }));
            keys.extend(watched.map(|((key, _), _)| *key));
        }
        keys
    }

    /// What nobody observes any more is not watched, and who has nothing to do listens to nothing.
    pub(crate) fn forget(&mut self) {
        if self.left.stale_reads == 0 {
            self.etcd.deleted.clear();
        }
        for session in 0..self.sessions.len() {
            let observed = self.observed(session);
            let is_needed = self.has_work(session);
            let stream = &mut self.sessions[session].stream;
            match stream {
                Some(_) if !is_needed => *stream = None,
                Some(stream) => {
                    stream.watched.retain(|key, _| observed.contains(key));
                    stream.events.retain(|event| match event {
                        Event::Deleted { key, .. } => observed.contains(key),
                        _ => true,
                    });
                }
                None => {}
            }
        }
    }

    /// Whether an entry of a waiter's own session is certainly not there.
    pub(crate) fn is_gone_here(&self, protocol: &Protocol, entry: Entry) -> bool {
        let ((_, session, place), created) = entry;
        let Some(id) = self.at(session, place) else { return true };
        let task = &self.tasks[id];
        let is_other = |ticket: u8| ticket != created && !protocol.has(Flaw::PlaceIsEnough);
        match &task.phase {
            Phase::Queued(Queued { ticket, .. }) | Phase::Held { ticket, .. } => is_other(*ticket),
            Phase::Releasing { ticket } => {
                let is_revoked = task.heard == *ticket;
                is_other(*ticket) || is_revoked || protocol.has(Flaw::GoneWhenSent)
            }
            // Its request is on its way, or nobody knows what came of it.
            Phase::Asking { .. } | Phase::Bumping { .. } | Phase::Cancelling => {
                protocol.has(Flaw::UnknownIsGone)
            }
            Phase::Idle | Phase::Done => true,
        }
    }
}
