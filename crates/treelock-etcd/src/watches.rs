//! The one stream on which etcd tells a session what was deleted.
//!
//! A watch begins *now*: one that begins in the past waits for a loop of etcd that runs ten times a second. So
//! something may have happened before it began, and whoever watches has to look once more when he knows since
//! when. Waiters for one key share one watch. If the stream is cut, everything that was known of the keys is
//! forgotten, and whoever watches is told so.
//!
//! The session itself is watched too: its own key, which is deleted when its lease is ended by others, and what
//! is said to it of entries that others have deleted.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use etcd_client::{
    Client, EventType, GetOptions, WatchOptions, WatchRequestSender, WatchResponse,
    WatchResponseStream,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::{
    servers::{Failure, PATIENCE, PAUSE},
    session::Session,
};

/// The number of the session's own watch on its stream.
const OWN: i64 = 1;

/// What a stream has told of a key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// The revision from which on everything is told.
    since: Option<i64>,
    /// The revision of the last deletion.
    deleted: i64,
    /// Nothing more is told.
    is_cut: bool,
}

/// What the tasks of a session ask of its stream.
pub(crate) enum Wanted {
    Watch {
        key: Vec<u8>,
        told: watch::Sender<Told>,
    },
    /// Somebody has stopped to watch this key.
    Forget {
        key: Vec<u8>,
    },
}

/// The asking side of the stream.
pub(crate) struct Watches(mpsc::UnboundedSender<Wanted>);

/// One who watches a key. Dropping it ends that.
pub(crate) struct Watched {
    told: watch::Receiver<Told>,
    /// After what it is told by, since it is dropped after that.
    _forgotten: Forgotten,
}

/// Dropping it says that the key has one listener less.
struct Forgotten {
    key: Vec<u8>,
    wanted: mpsc::UnboundedSender<Wanted>,
}

/// The stream was cut.
#[derive(Debug)]
pub(crate) struct Cut;

impl Watches {
    pub(crate) fn new() -> (Watches, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, asked) = mpsc::unbounded_channel();
        (Watches(wanted), asked)
    }

    pub(crate) fn watch(&self, key: Vec<u8>) -> Watched {
        let (told, listener) = watch::channel(Told::default());
        // If nobody serves it any more the session is over, which who waits is told elsewhere.
        let _ = self.0.send(Wanted::Watch { key: key.clone(), told });
        Watched { told: listener, _forgotten: Forgotten { key, wanted: self.0.clone() } }
    }
}

impl Watched {
    /// Waits until everything is told; returns the revision from which on it is.
    pub(crate) async fn since(&self) -> Result<i64, Cut> {
        let mut told = self.told.clone();
        let told = told.wait_for(|told| told.is_cut || told.since.is_some()).await;
        told.ok().filter(|told| !told.is_cut).and_then(|told| told.since).ok_or(Cut)
    }

    /// Waits until an entry that was created at this revision is deleted. The key may be another entry's since.
    pub(crate) async fn deleted(&self, created: i64) -> Result<(), Cut> {
        let mut told = self.told.clone();
        let told = told.wait_for(|told| told.is_cut || told.deleted > created).await;
        told.ok().filter(|told| told.deleted > created).map(drop).ok_or(Cut)
    }
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        let _ = self.wanted.send(Wanted::Forget { key: std::mem::take(&mut self.key) });
    }
}

/// One watch of the stream and those who listen to it.
struct Watch {
    id: i64,
    since: Option<i64>,
    /// The revision of the last deletion that was told.
    deleted: i64,
    listeners: Vec<watch::Sender<Told>>,
}

/// The serving side of a stream, from its beginning until it is cut.
struct Stream {
    requests: WatchRequestSender,
    watches: HashMap<Vec<u8>, Watch>,
    keys: HashMap<i64, Vec<u8>>,
    last_id: i64,
}

/// Serve a session until it is over, or nobody has it any more.
pub(crate) async fn tell(session: Weak<Session>, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
    loop {
        let Some(alive) = session.upgrade() else { return };
        let opened = open(&alive).await;
        if !alive.is_alive() {
            return;
        }
        drop(alive);
        match opened {
            Ok((mut stream, answers)) => {
                let ended = stream.serve(&session, &mut wanted, answers).await;
                if ended.is_none() {
                    return;
                }
                stream.cut();
            }
            Err(Failure::InDoubt(_)) => tokio::time::sleep(PAUSE).await,
            // Not before somebody has put something right.
            Err(Failure::Final(_)) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// Begin a stream with the session's own watch, and read what was said to the session before.
async fn open(session: &Arc<Session>) -> Result<(Stream, WatchResponseStream), Failure> {
    let (key, end) = session.space.session_range(&session.id);
    let watch = |client: Arc<Client>| {
        let options = WatchOptions::new().with_range(end.clone()).with_watch_id(OWN);
        let key = key.clone();
        async move {
            let mut stream = client.watch_client().watch(key, Some(options)).await?;
            let created = stream.message().await?;
            let is_begun = |answer: &WatchResponse| answer.created() && !answer.canceled();
            let since =
                created.filter(is_begun).and_then(|answer| Some(answer.header()?.revision()));
            if since.is_none() {
                // A watch may be refused for a token that has expired, and nobody else would see that.
                client.refresh_token().await?;
            }
            Ok((since, stream.split()))
        }
    };
    let (since, (requests, answers)) =
        session.servers.ask("watch who is in the way", watch).await?;
    let since = since.ok_or_else(|| Failure::InDoubt("a watch was not begun".into()))?;
    let get = |client: Arc<Client>| {
        let (key, options) = (key.clone(), GetOptions::new().with_range(end.clone()));
        async move { client.kv_client().get(key, Some(options)).await }
    };
    let epoch = session.epoch();
    let said = session.servers.ask("see whether the session goes on", get).await?;
    if said.header().is_none_or(|header| header.revision() < since.max(epoch)) {
        return Err(Failure::InDoubt("an answer from the past".into()));
    }
    session.see(said.kvs().iter().find(|kv| kv.key() == key), epoch);
    for kv in said.kvs() {
        hear(session, kv.key(), kv.value());
    }
    let stream = Stream { requests, watches: HashMap::new(), keys: HashMap::new(), last_id: OWN };
    Ok((stream, answers))
}

/// Something is said to the session.
fn hear(session: &Session, key: &[u8], value: &[u8]) {
    let slot = session.space.read_revoked(&session.id, key);
    let ticket = str::from_utf8(value).ok().and_then(|ticket| ticket.parse().ok());
    if let (Some(slot), Some(ticket)) = (slot, ticket) {
        session.revoked(slot, ticket);
    }
}

impl Stream {
    /// Serve until the stream is cut; `None` if the session is over.
    async fn serve(
        &mut self,
        session: &Weak<Session>,
        wanted: &mut mpsc::UnboundedReceiver<Wanted>,
        mut answers: WatchResponseStream,
    ) -> Option<()> {
        loop {
            tokio::select! {
                // The session's end drops the other side.
                wanted = wanted.recv() => {
                    let asked = timeout(PATIENCE, self.want(wanted?)).await;
                    if !matches!(asked, Ok(Ok(()))) {
                        return Some(());
                    }
                }
                answer = answers.message() => {
                    let Ok(Some(answer)) = answer else { return Some(()) };
                    let session = session.upgrade()?;
                    if self.told(&session, &answer).is_err() {
                        return session.is_alive().then_some(());
                    }
                }
            }
        }
    }

    async fn want(&mut self, wanted: Wanted) -> Result<(), etcd_client::Error> {
        match wanted {
            Wanted::Watch { key, told } => {
                if let Some(watch) = self.watches.get_mut(&key) {
                    // All that was told before, since who joins may be shown a past from before that.
                    told.send_modify(|told| {
                        told.since = watch.since;
                        told.deleted = watch.deleted;
                    });
                    watch.listeners.push(told);
                    return Ok(());
                }
                self.last_id += 1;
                let id = self.last_id;
                self.keys.insert(id, key.clone());
                let watch = Watch { id, since: None, deleted: 0, listeners: vec![told] };
                self.watches.insert(key.clone(), watch);
                self.requests.watch(key, Some(WatchOptions::new().with_watch_id(id))).await
            }
            Wanted::Forget { key } => {
                let Some(watch) = self.watches.get_mut(&key) else { return Ok(()) };
                watch.listeners.retain(|told| !told.is_closed());
                if !watch.listeners.is_empty() {
                    return Ok(());
                }
                let id = watch.id;
                self.watches.remove(&key);
                self.keys.remove(&id);
                self.requests.cancel(id).await
            }
        }
    }

    /// etcd has told something.
    fn told(&mut self, session: &Session, answer: &WatchResponse) -> Result<(), Cut> {
        let id = answer.watch_id();
        if id == OWN {
            return own(session, answer);
        }
        let watch = self.keys.get(&id).and_then(|key| self.watches.get_mut(key));
        // A watch that is refused has no number: the token that the stream began with has expired.
        if answer.canceled() && (watch.is_some() || id < 0) {
            return Err(Cut);
        }
        // Others are of watches that nobody wants any more.
        let Some(watch) = watch else { return Ok(()) };
        if answer.created() {
            watch.since = answer.header().map(|header| header.revision());
        }
        let deletions =
            answer.events().iter().filter(|event| event.event_type() == EventType::Delete);
        let revisions = deletions.filter_map(|event| Some(event.kv()?.mod_revision()));
        watch.deleted = revisions.fold(watch.deleted, i64::max);
        for listener in &watch.listeners {
            listener.send_modify(|told| {
                told.since = watch.since;
                told.deleted = watch.deleted;
            });
        }
        Ok(())
    }

    fn cut(&self) {
        for listener in self.watches.values().flat_map(|watch| &watch.listeners) {
            listener.send_modify(|told| told.is_cut = true);
        }
    }
}

/// The session's own watch has told something. A cut if the stream, or the session, is over.
fn own(session: &Session, answer: &WatchResponse) -> Result<(), Cut> {
    if answer.canceled() {
        return Err(Cut);
    }
    for event in answer.events() {
        let Some(kv) = event.kv() else { continue };
        match event.event_type() {
            EventType::Put => hear(session, kv.key(), kv.value()),
            EventType::Delete => {
                if session.space.read_revoked(&session.id, kv.key()).is_none() {
                    session.end();
                    return Err(Cut);
                }
            }
        }
    }
    Ok(())
}
