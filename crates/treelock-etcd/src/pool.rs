//! The sessions of a lock: [`Pool`].

use std::{
    mem,
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use crate::{
    cluster::servers::Servers,
    error::Error,
    key::Space,
    options::Options,
    runtime::background::Background,
    session::{Session, lease::OPEN_TIMEOUT, open::open, slots::Slot},
};

/// The sessions of a lock, and what is needed to open one.
pub(crate) struct Pool {
    pub(crate) servers: Servers,
    pub(crate) space: Space,
    pub(crate) ttl: Duration,
    pub(crate) background: Background,
    /// Those that are alive, or were when they were last needed. Another one is opened when all
    /// are full.
    sessions: Mutex<Vec<Arc<Session>>>,
    /// Held by the task that opens a session.
    opening: tokio::sync::Mutex<()>,
}

impl Pool {
    pub(crate) fn new(options: &Options) -> Pool {
        Pool {
            servers: Servers::new(&options.endpoints, options.setup()),
            space: Space::new(&options.prefix),
            ttl: options.ttl,
            background: Background::new(),
            sessions: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Returns a slot of a session that is alive, with room for so many keys.
    pub(crate) async fn slot(&self, keys: usize) -> Result<(Arc<Session>, Arc<Slot>), Error> {
        if let Some(found) = self.slot_at_hand(keys) {
            return Ok(found);
        }
        let waiting = timeout(OPEN_TIMEOUT, self.opening.lock()).await;
        let _alone = waiting.map_err(|_| Error::Unavailable {
            doing: "open a session",
            tried: OPEN_TIMEOUT,
            last: "other tasks of this process are waiting for that, too".into(),
        })?;
        if let Some(found) = self.slot_at_hand(keys) {
            return Ok(found);
        }
        let (servers, space) = (self.servers.clone(), self.space.clone());
        // In a task of its own, so that what was begun comes to an end: a lease that nobody waits
        // for any more is given back.
        let opened = tokio::spawn(open(servers, space, self.ttl, self.background.clone())).await;
        let session = opened.unwrap_or_else(|error| resume_unwind(error.into_panic()))?;
        let slot = session.take_slot(keys).expect("a request fits into a session of its own");
        self.sessions().push(session.clone());
        Ok((session, slot))
    }

    /// Returns a slot of a session that is open, if one has room for so many more keys.
    pub(crate) fn slot_at_hand(&self, keys: usize) -> Option<(Arc<Session>, Arc<Slot>)> {
        let mut sessions = self.sessions();
        // Ended, and dropped, when the mutex is free.
        let over: Vec<_> = sessions.extract_if(.., |session| session.is_past()).collect();
        let slot = |session: &Arc<Session>| Some((session.clone(), session.take_slot(keys)?));
        let found = sessions.iter().find_map(slot);
        drop(sessions);
        over.iter().for_each(|session| session.end());
        found
    }

    /// Gives back the leases on which nothing hangs.
    pub(crate) async fn close(&self) {
        let sessions = mem::take(&mut *self.sessions());
        for session in &sessions {
            session.close().await;
        }
        drop(sessions);
        self.background.settled().await;
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
