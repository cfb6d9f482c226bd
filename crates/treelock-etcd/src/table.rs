//! The protocol: what one live request says to etcd.
//!
//! All keys of a request are created in one transaction, so they have one revision: its *ticket*, and its fencing
//! token. No later request can get a smaller one. So those in its way (entries that conflict and have a smaller
//! one) are fixed at that moment and only become fewer, and may be read later, in parts, and more than once.
//!
//! Every transaction compares the revision of the session's key. What is sent again, because its answer was lost,
//! writes that key too; so of several copies of a request at most one is carried out, however late the others
//! arrive. A model of this, and of what goes wrong without it, is `tests/model`.

use std::{sync::Arc, time::Duration};

use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, WatchStream,
};
use serde::{Deserialize, Serialize};
use treelock::{Access, Node};

use crate::{
    error::Error,
    key::Range,
    servers::{Failure, PAUSE},
    session::{Session, found_revision},
};

/// How many of the latest blockers a waiter watches.
const WINDOW: usize = 2;

/// How long an entry is asked for while no member answers.
const ASKING: Duration = Duration::from_secs(10);

/// A waiter that hears nothing looks once more after this time. It should find nothing new, ever.
const SAFETY: Duration = Duration::from_secs(7);

/// What an entry says beside its root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) nonce: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// All roots, where the keys do not name them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roots: Vec<String>,
    /// When it was asked, in milliseconds since 1970, by the clock of who asked.
    pub(crate) since: u64,
}

/// A live request, from before it is first sent until it is known to be gone.
pub(crate) struct Entry {
    pub(crate) session: Arc<Session>,
    slot: u64,
    nonce: u64,
    keys: Vec<Vec<u8>>,
    ranges: Vec<Range>,
    value: Vec<u8>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent.
    Unsent,
    /// Sent, and nobody knows what came of it.
    InDoubt,
    /// There, with this ticket.
    Entered(i64),
    /// Certainly not there.
    Gone,
}

/// The answer to who asks.
pub(crate) enum Answer {
    /// There, and nobody is in the way.
    Granted,
    /// There; somebody may be in the way.
    Waits,
    /// Not there: somebody is in the way of one that does not wait.
    Refused,
}

impl Entry {
    pub(crate) fn new(session: Arc<Session>, roots: &[(Access, Node)], value: Value) -> Entry {
        let (slot, nonce) = session.take_slot();
        let keys = session.space.keys(roots, &session.id, slot);
        let ranges = session.space.conflicts(roots);
        let value = serde_json::to_vec(&Value { nonce, ..value }).expect("a value is JSON");
        Entry { session, slot, nonce, keys, ranges, value, stage: Stage::Unsent }
    }

    pub(crate) fn ticket(&self) -> Option<i64> {
        match self.stage {
            Stage::Entered(ticket) => Some(ticket),
            _ => None,
        }
    }

    fn is_epoch(&self, epoch: i64) -> Compare {
        let session = self.session.space.session(&self.session.id);
        Compare::mod_revision(session, CompareOp::Equal, epoch)
    }

    fn bump(&self) -> TxnOp {
        let lease = PutOptions::new().with_lease(self.session.lease);
        TxnOp::put(self.session.space.session(&self.session.id), [], Some(lease))
    }

    /// The transaction that enters the request.
    fn entering(&self, epoch: i64, retried: bool, may_wait: bool) -> Txn {
        let first = Compare::create_revision(self.keys[0].clone(), CompareOp::Equal, 0);
        let mut compares = vec![self.is_epoch(epoch), first];
        let get = |(first, end): &Range, options: GetOptions| {
            TxnOp::get(first.clone(), Some(options.with_range(end.clone()).with_keys_only()))
        };
        let mut then: Vec<TxnOp> = Vec::new();
        let mut otherwise = vec![
            TxnOp::get(self.session.space.session(&self.session.id), None),
            TxnOp::get(self.keys[0].clone(), None),
        ];
        if may_wait {
            then.extend(
                self.ranges.iter().map(|range| get(range, GetOptions::new().with_limit(1))),
            );
        } else {
            compares.extend(self.ranges.iter().map(|(first, end)| {
                Compare::create_revision(first.clone(), CompareOp::Equal, 0).with_range(end.clone())
            }));
            otherwise.extend(
                self.ranges.iter().map(|range| get(range, GetOptions::new().with_limit(1))),
            );
        }
        let lease = || PutOptions::new().with_lease(self.session.lease);
        then.extend(
            self.keys.iter().map(|key| TxnOp::put(key.clone(), self.value.clone(), Some(lease()))),
        );
        if retried {
            then.push(self.bump());
        }
        Txn::new().when(compares).and_then(then).or_else(otherwise)
    }

    /// Enter the request. `may_wait` if it does where somebody is in the way.
    pub(crate) async fn enter(&mut self, may_wait: bool) -> Result<Answer, Error> {
        let doing = "ask for a lock";
        let start = std::time::Instant::now();
        let mut retried = false;
        loop {
            let txn = self.entering(self.session.epoch(), retried, may_wait);
            self.stage = Stage::InDoubt;
            let asked =
                self.session.servers.ask(doing, |mut client| async move { client.txn(txn).await });
            let answer = match asked.await {
                Ok(answer) => answer,
                Err(Failure::Final(error)) => {
                    // What was sent before may still arrive.
                    self.stage = if retried { Stage::InDoubt } else { Stage::Gone };
                    return Err(error);
                }
                Err(Failure::InDoubt(_)) if !self.session.is_alive() => return Err(Error::Lost),
                Err(Failure::InDoubt(last)) if start.elapsed() >= ASKING => {
                    return Err(Error::Unavailable { doing, tried: start.elapsed(), last });
                }
                Err(Failure::InDoubt(_)) => {
                    tokio::time::sleep(PAUSE).await;
                    retried = true;
                    continue;
                }
            };
            let revision = answer.header().map_or(0, |header| header.revision());
            let responses = answer.op_responses();
            if answer.succeeded() {
                if retried {
                    self.session.raise_epoch(revision);
                }
                self.stage = Stage::Entered(revision);
                let in_the_way = responses.iter().any(|response| match response {
                    TxnOpResponse::Get(found) => !found.kvs().is_empty(),
                    _ => false,
                });
                return Ok(if in_the_way { Answer::Waits } else { Answer::Granted });
            }
            let Some(epoch) = found_revision(&responses) else {
                self.stage = Stage::Gone;
                self.session.end();
                return Err(Error::Lost);
            };
            if let Some(ticket) = self.own_ticket(&responses) {
                // An earlier attempt was carried out, and this one must not be, later.
                self.stage = Stage::Entered(ticket);
                self.fail_late_copies().await?;
                return Ok(if may_wait { Answer::Waits } else { Answer::Granted });
            }
            let in_the_way = responses.iter().skip(2).any(
                |response| matches!(response, TxnOpResponse::Get(found) if !found.kvs().is_empty()),
            );
            if in_the_way {
                self.stage = if retried { Stage::InDoubt } else { Stage::Gone };
                return Ok(Answer::Refused);
            }
            self.session.raise_epoch(epoch);
            retried = true;
        }
    }

    /// The ticket of the key that this very request has created, if one answer shows it.
    fn own_ticket(&self, responses: &[TxnOpResponse]) -> Option<i64> {
        let TxnOpResponse::Get(found) = responses.get(1)? else { return None };
        let found = found.kvs().first()?;
        let value: Value = serde_json::from_slice(found.value()).ok()?;
        (value.nonce == self.nonce).then(|| found.create_revision())
    }

    /// Write the session's key, so that what was sent until now is not carried out any more.
    async fn fail_late_copies(&self) -> Result<(), Error> {
        let bump = self.bump();
        let ours = Compare::create_revision(
            self.session.space.session(&self.session.id),
            CompareOp::Greater,
            0,
        );
        let txn = Txn::new().when([ours]).and_then([bump]);
        let bump = |mut client: Client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        };
        let answer = self.session.servers.insist("ask for a lock", ASKING, bump).await?;
        if !answer.succeeded() {
            self.session.end();
            return Err(Error::Lost);
        }
        self.session.raise_epoch(answer.header().map_or(0, |header| header.revision()));
        Ok(())
    }

    /// Those in the way that are live, the latest first: as many as are watched, and none only if there are none.
    async fn verify(&self, ticket: i64) -> Result<Vec<(i64, Vec<u8>)>, Error> {
        let mut live = Vec::new();
        for (first, end) in &self.ranges {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_keys_only()
                .with_max_create_revision(ticket - 1)
                .with_sort(SortTarget::Create, SortOrder::Descend)
                .with_limit(WINDOW as i64);
            let get = |mut client: Client| {
                let (first, options) = (first.clone(), options.clone());
                async move { client.get(first, Some(options)).await }
            };
            let found = self.session.servers.insist("see who is in the way", ASKING, get).await?;
            live.extend(found.kvs().iter().map(|kv| (kv.create_revision(), kv.key().to_vec())));
        }
        live.sort_unstable();
        live.reverse();
        live.truncate(WINDOW);
        Ok(live)
    }

    /// Wait until nobody is in the way. Returns how often the safety net found what no watch had told.
    pub(crate) async fn wait(&self) -> Result<u64, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Lost) };
        let mut rescued = 0;
        let mut live = self.verify(ticket).await?;
        while !live.is_empty() {
            let watched = tokio::select! {
                watched = self.watch(&live) => watched,
                () = self.session.ended() => return Err(Error::Lost),
            };
            // One may have left before it was watched, so it is looked at once more.
            let now = self.verify(ticket).await?;
            if let Ok(streams) = watched
                && now == live
            {
                rescued += u64::from(self.sleep(ticket, &live, streams).await?);
                live = self.verify(ticket).await?;
            } else {
                live = now;
            }
        }
        // Whoever ends the lease of the one ahead may have ended ours.
        match self.session.is_alive() && self.is_there(ticket).await? {
            true => Ok(rescued),
            false => Err(Error::Lost),
        }
    }

    /// Whether its entry is still there.
    async fn is_there(&self, ticket: i64) -> Result<bool, Error> {
        let get = |mut client: Client| {
            let key = self.keys[0].clone();
            async move { client.get(key, Some(GetOptions::new().with_keys_only())).await }
        };
        let found = self.session.servers.insist("see whether it is granted", ASKING, get).await?;
        Ok(found.kvs().iter().any(|kv| kv.create_revision() == ticket))
    }

    /// Watch each of these from now on; returns when etcd has begun to.
    async fn watch(&self, live: &[(i64, Vec<u8>)]) -> Result<Vec<WatchStream>, Failure> {
        let mut streams = Vec::new();
        for (_, key) in live {
            let watch = |mut client: Client| async move {
                let mut stream = client.watch(key.clone(), None).await?;
                let created = stream.message().await?;
                Ok((stream, created.is_some_and(|message| message.created())))
            };
            let (stream, created) =
                self.session.servers.ask("watch who is in the way", watch).await?;
            if created {
                streams.push(stream);
            }
        }
        Ok(streams)
    }

    /// Sleep until one of them leaves; returns whether that was seen without a watch telling of it.
    async fn sleep(
        &self,
        ticket: i64,
        live: &[(i64, Vec<u8>)],
        streams: Vec<WatchStream>,
    ) -> Result<bool, Error> {
        let mut told = tokio::task::JoinSet::new();
        for mut stream in streams {
            told.spawn(async move {
                // An end or an error of the stream is a reason to look, too.
                while let Ok(Some(message)) = stream.message().await {
                    let left = message
                        .events()
                        .iter()
                        .any(|event| event.event_type() == EventType::Delete);
                    if left || message.canceled() {
                        break;
                    }
                }
            });
        }
        tokio::select! {
            _ = told.join_next() => Ok(false),
            () = self.session.ended() => Err(Error::Lost),
            () = tokio::time::sleep(SAFETY) => Ok(self.verify(ticket).await? != live),
        }
    }

    /// Make sure that nothing of the request is left, or will be. Returns when that is known.
    pub(crate) async fn leave(&mut self) {
        while self.session.is_alive() {
            let left = match self.stage {
                Stage::Unsent | Stage::Gone => true,
                Stage::Entered(ticket) => self.release(ticket).await,
                Stage::InDoubt => self.cancel().await,
            };
            if left {
                self.stage = Stage::Gone;
                self.session.give_slot_back(self.slot);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // The end of the lease takes all keys with it.
    }

    /// Delete the keys if they are this request's.
    async fn release(&self, ticket: i64) -> bool {
        let own = |key: &Vec<u8>| Compare::create_revision(key.clone(), CompareOp::Equal, ticket);
        let compares: Vec<Compare> = self.keys.iter().map(own).collect();
        let deletes: Vec<TxnOp> =
            self.keys.iter().map(|key| TxnOp::delete(key.clone(), None)).collect();
        let txn = Txn::new().when(compares).and_then(deletes);
        // If they are not, a copy of this was carried out before.
        self.session
            .servers
            .ask("release a lock", |mut client| async move { client.txn(txn).await })
            .await
            .is_ok()
    }

    /// Delete whatever there is, and see that nothing comes later.
    async fn cancel(&self) -> bool {
        let mut operations = vec![self.bump()];
        operations.extend(self.keys.iter().map(|key| TxnOp::delete(key.clone(), None)));
        let session = TxnOp::get(self.session.space.session(&self.session.id), None);
        let txn = Txn::new()
            .when([self.is_epoch(self.session.epoch())])
            .and_then(operations)
            .or_else([session]);
        let asked = self
            .session
            .servers
            .ask("give up a lock", |mut client| async move { client.txn(txn).await });
        let Ok(answer) = asked.await else { return false };
        if answer.succeeded() {
            self.session.raise_epoch(answer.header().map_or(0, |header| header.revision()));
            return true;
        }
        match found_revision(&answer.op_responses()) {
            Some(epoch) => self.session.raise_epoch(epoch),
            None => self.session.end(),
        }
        false
    }
}
