//! Follows the entries of a namespace on a watch of etcd's, from a moment at which all were read.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use etcd_client::{
    Client, Error as ClientError, EventType, GetOptions, WatchOptions, WatchResponse, WatchStream,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use treelock::engine::Event;

use super::mirror::Mirror;
use crate::{
    cluster::failure::RETRY_INTERVAL,
    error::Error,
    look::{Entries, Place, requests},
    namespace::Namespace,
    shared::Shared,
};

/// How long listening is attempted before the listener is told that nobody answers.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// After how much silence the member is asked whether it still hears the others: a watch of a
/// member that is cut off is silent, too.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Where the events go.
pub(super) type Told = mpsc::Sender<Result<Event, Error>>;

/// The listener has gone.
struct Gone;

/// Why a watch has ended.
enum Ended {
    /// Another watch can go on from this revision.
    Cut,
    /// etcd has forgotten what comes next.
    Forgotten,
}

/// Follows until the listener has gone.
pub(super) async fn follow(shared: Arc<Shared>, told: Told) {
    let namespace = shared.namespace();
    let mut mirror = Mirror::default();
    loop {
        let followed = match namespace.all_at_a_revision().await {
            Ok((requests, revision)) => {
                let events = mirror.all(requests);
                follow_from(namespace, revision + 1, &mut mirror, events, &told).await
            }
            Err(error) => fail(error, &told).await,
        };
        if let Err(Gone) = followed {
            return;
        }
    }
}

/// Tells these events, and all from this revision on, until etcd has forgotten one.
async fn follow_from(
    namespace: Namespace<'_>,
    mut next: i64,
    mirror: &mut Mirror,
    events: Vec<Event>,
    told: &Told,
) -> Result<(), Gone> {
    tell(events, told).await?;
    loop {
        let member = namespace.servers.current();
        let mut watch = match open(namespace, next).await {
            Ok(watch) => watch,
            Err(error) => {
                fail(error, told).await?;
                continue;
            }
        };
        let ended = loop {
            match message(namespace, &mut watch, member).await {
                Err(ended) => break ended,
                Ok(answer) => {
                    if let ControlFlow::Break(ended) = judge(&answer) {
                        break ended;
                    }
                    tell(read(namespace, &answer, mirror), told).await?;
                    let revisions = answer.events().iter().filter_map(|event| event.kv());
                    next = revisions.map(|kv| kv.mod_revision() + 1).fold(next, i64::max);
                }
            }
        };
        match ended {
            Ended::Cut => sleep(RETRY_INTERVAL).await,
            Ended::Forgotten => return Ok(()),
        }
    }
}

async fn tell(events: Vec<Event>, told: &Told) -> Result<(), Gone> {
    for event in events {
        told.send(Ok(event)).await.map_err(|_| Gone)?;
    }
    Ok(())
}

async fn fail(error: Error, told: &Told) -> Result<(), Gone> {
    told.send(Err(error)).await.map_err(|_| Gone)?;
    sleep(RETRY_INTERVAL).await;
    Ok(())
}

/// Begins a watch of everything from this revision on.
async fn open(namespace: Namespace<'_>, revision: i64) -> Result<WatchStream, Error> {
    let (first, end) = namespace.space.all();
    let watch = |client: Arc<Client>| {
        let options = WatchOptions::new().with_range(end.clone()).with_start_revision(revision);
        let first = first.clone();
        async move {
            let mut stream = client.watch_client().watch(first, Some(options)).await?;
            let answer = stream.message().await?;
            match answer {
                Some(answer) if answer.created() && !answer.canceled() => Ok(stream),
                // The token may have expired, and nothing else would show that.
                answer => {
                    client.refresh_token().await?;
                    let reason = answer.map_or_else(String::new, |a| a.cancel_reason().into());
                    Err(ClientError::WatchError(reason))
                }
            }
        }
    };
    namespace.servers.insist("listen to the locks", LISTEN_TIMEOUT, watch).await
}

/// Returns the next message of a watch that this member serves.
async fn message(
    namespace: Namespace<'_>,
    watch: &mut WatchStream,
    member: usize,
) -> Result<WatchResponse, Ended> {
    loop {
        match timeout(SILENCE_MAX, watch.message()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(_) => return Err(Ended::Cut),
            Err(_) => {
                let key = namespace.space.meta();
                let get = |client: Arc<Client>| async move {
                    client.kv_client().get(key, Some(GetOptions::new().with_count_only())).await
                };
                let doing = "listen to the locks";
                if namespace.servers.ask_of(member, doing, get).await.is_err() {
                    namespace.servers.prefer(member + 1);
                    return Err(Ended::Cut);
                }
            }
        }
    }
}

fn judge(answer: &WatchResponse) -> ControlFlow<Ended> {
    match (answer.canceled(), answer.compact_revision()) {
        (_, 1..) => ControlFlow::Break(Ended::Forgotten),
        (true, _) => ControlFlow::Break(Ended::Cut),
        (false, _) => ControlFlow::Continue(()),
    }
}

/// Takes in what one message tells: all changes of one or more revisions, in order.
fn read(namespace: Namespace<'_>, answer: &WatchResponse, mirror: &mut Mirror) -> Vec<Event> {
    let changes: Vec<_> = answer
        .events()
        .iter()
        .filter_map(|event| Some((event.event_type(), event.kv()?)))
        .collect();
    let mut events = Vec::new();
    for step in changes.chunk_by(|(_, a), (_, b)| a.mod_revision() == b.mod_revision()) {
        let mut made = Entries::new();
        for (kind, kv) in step {
            match kind {
                EventType::Delete => {
                    if let Some(name) = namespace.space.read(kv.key()) {
                        let place = Place { session: name.session, slot: name.slot };
                        events.extend(mirror.deleted(&place));
                    }
                }
                EventType::Put => {
                    if let Some(found) = namespace.found(kv) {
                        made.insert(kv.key().to_vec(), found);
                    }
                }
            }
        }
        for (place, seen) in requests(&made) {
            events.extend(mirror.made(place, seen));
        }
    }
    events
}
