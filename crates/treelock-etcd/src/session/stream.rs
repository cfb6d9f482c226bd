//! The serving side of a session's stream: the one stream on which etcd tells what was deleted.
//!
//! Watchers of one key share one watch. The session itself is watched too: its own key, which is
//! deleted when somebody else ends its lease, and the messages about entries that somebody else has
//! deleted.

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
    time::{sleep, timeout},
};

use super::{Session, watches::Wanted};
use crate::{
    cluster::failure::{ANSWER_TIMEOUT, Failure, RETRY_INTERVAL},
    protocol::told::{Cut, Told},
    wire,
};

/// The number of the session's own watch on its stream.
const OWN_WATCH: i64 = 1;

/// How soon a stream is begun again that etcd has refused: not before somebody can have fixed that.
const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// One watch of the stream, and its listeners.
struct Watch {
    id: i64,
    told: Told,
    listeners: Vec<watch::Sender<Told>>,
}

/// A stream, from its beginning until it is cut.
struct Stream {
    requests: WatchRequestSender,
    watches: HashMap<Vec<u8>, Watch>,
    keys: HashMap<i64, Vec<u8>>,
    last_id: i64,
}

/// Serves the watches of a session until it is over, or nobody has it any more.
pub(super) async fn serve_watches(
    session: Weak<Session>,
    mut wanted: mpsc::UnboundedReceiver<Wanted>,
) {
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
            Err(Failure::InDoubt(_)) => sleep(RETRY_INTERVAL).await,
            Err(Failure::Final(_)) => sleep(REFUSED_RETRY_INTERVAL).await,
        }
    }
}

/// Begins a stream with the session's own watch, and reads what was said to the session before.
async fn open(session: &Arc<Session>) -> Result<(Stream, WatchResponseStream), Failure> {
    let (key, end) = session.space.session_range(&session.id);
    let watch = |client: Arc<Client>| {
        let options = WatchOptions::new().with_range(end.clone()).with_watch_id(OWN_WATCH);
        let key = key.clone();
        async move {
            let mut stream = client.watch_client().watch(key, Some(options)).await?;
            let created = stream.message().await?;
            let is_begun = |answer: &WatchResponse| answer.created() && !answer.canceled();
            let since =
                created.filter(is_begun).and_then(|answer| Some(answer.header()?.revision()));
            if since.is_none() {
                // The token may have expired, and nothing else would show that.
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
    let said = session.servers.ask("check whether the session goes on", get).await?;
    if said.header().is_none_or(|header| header.revision() < since.max(epoch)) {
        return Err(Failure::InDoubt("an answer from the past".into()));
    }
    let own = said.kvs().iter().find(|kv| kv.key() == key).map(wire::kv);
    session.learn(session.identity.see(own.as_ref(), epoch));
    for kv in said.kvs() {
        hear(session, kv.key(), kv.value());
    }
    let stream =
        Stream { requests, watches: HashMap::new(), keys: HashMap::new(), last_id: OWN_WATCH };
    Ok((stream, answers))
}

/// Reads one message to the session.
fn hear(session: &Session, key: &[u8], value: &[u8]) {
    let slot = session.space.read_revoked(&session.id, key);
    let ticket = str::from_utf8(value).ok().and_then(|ticket| ticket.parse().ok());
    if let (Some(slot), Some(ticket)) = (slot, ticket) {
        session.revoked(slot, ticket);
    }
}

impl Stream {
    /// Serves until the stream is cut; `None` if the session is over.
    async fn serve(
        &mut self,
        session: &Weak<Session>,
        wanted: &mut mpsc::UnboundedReceiver<Wanted>,
        mut answers: WatchResponseStream,
    ) -> Option<()> {
        loop {
            tokio::select! {
                // The other side is dropped with the session.
                wanted = wanted.recv() => {
                    let asked = timeout(ANSWER_TIMEOUT, self.want(wanted?)).await;
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
                    told.send_replace(watch.told.joined());
                    watch.listeners.push(told);
                    return Ok(());
                }
                self.last_id += 1;
                let id = self.last_id;
                self.keys.insert(id, key.clone());
                let watch = Watch { id, told: Told::default(), listeners: vec![told] };
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

    /// Passes on what etcd has told.
    fn told(&mut self, session: &Session, answer: &WatchResponse) -> Result<(), Cut> {
        let id = answer.watch_id();
        if id == OWN_WATCH {
            return own(session, answer);
        }
        let watch = self.keys.get(&id).and_then(|key| self.watches.get_mut(key));
        // A watch that is refused has no number: the stream's token has expired.
        if answer.canceled() && (watch.is_some() || id < 0) {
            return Err(Cut);
        }
        // Other answers belong to watches that nobody wants any more.
        let Some(watch) = watch else { return Ok(()) };
        if answer.created()
            && let Some(header) = answer.header()
        {
            watch.told.begin(header.revision());
        }
        let deletions =
            answer.events().iter().filter(|event| event.event_type() == EventType::Delete);
        let revisions = deletions.filter_map(|event| Some(event.kv()?.mod_revision()));
        revisions.for_each(|revision| watch.told.delete(revision));
        for listener in &watch.listeners {
            listener.send_replace(watch.told);
        }
        Ok(())
    }

    fn cut(&self) {
        for listener in self.watches.values().flat_map(|watch| &watch.listeners) {
            listener.send_modify(Told::cut);
        }
    }
}

/// Reads what the session's own watch has told. A cut if the stream, or the session, is over.
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
