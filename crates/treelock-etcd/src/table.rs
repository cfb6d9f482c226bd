//! The protocol: what one live request says to etcd.
//!
//! All keys of a request are created in one transaction, so they have one revision: its *ticket*, and its fencing
//! token. No later request can get a smaller one. So those in its way (entries that conflict and have a smaller
//! one) are fixed at that moment and only become fewer, and may be read later, in parts, and more than once.
//!
//! Who waits knows the latest of those in its way, and whether these are all. It waits until each is gone: one of
//! its own session is gone when etcd has answered its release, and of all others the session's watch tells. When
//! all that it knew of are gone, and they were all, it has the lock, and asks nobody. What a watch may have missed
//! before it began is read once more.
//!
//! Every transaction compares the revision of the session's key. What is sent again, because its answer was lost,
//! writes that key too; so of several copies of a request at most one is carried out, however late the others
//! arrive. A model of this, and of what goes wrong without it, is `tests/model`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::{
    Client, Compare, CompareOp, GetOptions, GetResponse, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, TxnResponse,
};
use futures_util::future::{select_all, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use treelock::{Access, Node};

use crate::{
    cluster::{
        failure::{Failure, RETRY_INTERVAL},
        response::found,
    },
    error::Error,
    key::{Range, root_text},
    session::{
        Session,
        slots::Slot,
        watches::{Cut, Watched},
    },
};

/// How many of the latest blockers a waiter watches. With one, it would have to read once more when that is gone;
/// with more, etcd has more to tell than it gains.
const WINDOW: usize = 2;

/// What is done to enter a request, as errors say it.
pub(crate) const ASK: &str = "ask for a lock";

/// So many ranges are looked at at once.
pub(crate) const AT_ONCE: usize = 32;

/// How soon what cannot be given back for want of space is tried again.
const FULL: Duration = Duration::from_secs(1);

/// How long an entry is asked for while no member answers.
const ASKING: Duration = Duration::from_secs(10);

/// A waiter that hears nothing looks once more after this time. It should find nothing new, ever.
const SAFETY: Duration = Duration::from_secs(7);

/// How late etcd may tell of something.
const LATE: Duration = Duration::from_secs(1);

/// etcd carries out so many operations in one transaction, unless it was told otherwise; it allows 128.
pub(crate) const OPERATIONS: usize = 120;

/// What an entry says beside its root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) nonce: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// All roots, at the first key of a request that has not just that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roots: Vec<String>,
    /// The root of the first key, at the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<String>,
    /// When it was asked, in milliseconds since 1970, by the clock of who asked.
    pub(crate) since: u64,
}

/// A live request, from before it is first sent until it is known to be gone.
pub(crate) struct Entry {
    pub(crate) session: Arc<Session>,
    pub(crate) slot: Arc<Slot>,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    ranges: Vec<Range>,
    stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was sent.
    Unsent,
    /// Sent, and nobody knows what came of it.
    InDoubt,
    /// Answered, and the answer does not say whether it is there.
    Unsure,
    /// There, with this ticket.
    Entered(i64),
    /// Certainly not there.
    Gone,
}

/// How far a request has come when our thread goes on with it.
pub(crate) enum Begun {
    /// Nothing was sent.
    Not,
    /// It was sent once, when the session's key had this revision.
    Sent(i64, Result<TxnResponse, Failure>),
    /// It is there.
    Entered(Blockers),
}

/// The answer to who asks.
pub(crate) enum Answer {
    /// There; nobody is in the way if none are live.
    Entered(Blockers),
    /// Not there, or not to stay: somebody is in the way of one that does not wait.
    Refused,
}

/// One in the way: when its entry was created, and its key.
type Blocker = (i64, Vec<u8>);

/// Those in the way that are live, as far as they are known. They only become fewer.
#[derive(Debug, Default)]
pub(crate) struct Blockers {
    /// The latest.
    live: Vec<Blocker>,
    /// Whether these are all.
    are_all: bool,
    /// Where the others are, if there are any.
    ranges: Vec<Range>,
}

impl Blockers {
    /// Those of a request that nobody is in the way of.
    pub(crate) fn none() -> Blockers {
        Blockers { are_all: true, ..Blockers::default() }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.live.is_empty() && self.are_all
    }

    /// What was found in these ranges; `are_all` if nothing was left out.
    fn of(mut live: Vec<Blocker>, are_all: bool, ranges: Vec<Range>) -> Blockers {
        live.sort_unstable_by(|one, two| two.cmp(one));
        let are_all = are_all && live.len() <= WINDOW;
        live.truncate(WINDOW);
        Blockers { live, are_all, ranges }
    }
}

/// How a waiter knows that one in its way is gone.
enum Observed {
    /// It is of the same session.
    Here(Arc<Slot>),
    Watched(Watched),
}

/// Why a waiter wakes up.
enum Wake {
    Gone(Blocker),
    Cut,
    /// Nothing was told for long.
    Safety,
}

impl Entry {
    /// At a place that was taken for as many keys as there are roots, or one.
    pub(crate) fn new(
        session: Arc<Session>,
        slot: Arc<Slot>,
        roots: &[(Access, Node)],
        value: Value,
    ) -> Entry {
        let keys_count = roots.len().max(1);
        let keys = session.space.keys(roots, &session.id, slot.number);
        let ranges = session.space.conflicts(roots);
        let value = Value { nonce: slot.nonce, ..value };
        let text = |value: &Value| serde_json::to_vec(value).expect("a value is JSON");
        let mut values = vec![text(&value)];
        if keys_count > 1 {
            let first = roots.first().map(|(access, node)| root_text((*access, node)));
            values.resize(keys_count, text(&Value { roots: Vec::new(), first, ..value }));
        }
        Entry { session, slot, keys, values, ranges, stage: Stage::Unsent }
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
        let lease = PutOptions::new().with_lease(self.session.lease.id);
        TxnOp::put(self.session.space.session(&self.session.id), [], Some(lease))
    }

    /// Whether one transaction can look at all ranges too.
    pub(crate) fn can_look(&self) -> bool {
        self.ranges.len() + self.keys.len() <= OPERATIONS
    }

    /// The transaction that enters the request.
    fn entering(&self, epoch: i64, retried: bool, may_wait: bool) -> Txn {
        let first = Compare::create_revision(self.keys[0].clone(), CompareOp::Equal, 0);
        let mut compares = vec![self.is_epoch(epoch), first];
        let look = |limit: usize| {
            let options = GetOptions::new().with_keys_only().with_limit(limit as i64);
            self.ranges.iter().map(move |(first, end)| {
                TxnOp::get(first.clone(), Some(options.clone().with_range(end.clone())))
            })
        };
        let mut then: Vec<TxnOp> = Vec::new();
        let mut otherwise = vec![
            TxnOp::get(self.session.space.session(&self.session.id), None),
            TxnOp::get(self.keys[0].clone(), None),
        ];
        match (may_wait, self.can_look()) {
            (_, false) => {}
            (true, true) => then.extend(look(WINDOW + 1)),
            (false, true) => {
                compares.extend(self.ranges.iter().map(|(first, end)| {
                    let none = Compare::create_revision(first.clone(), CompareOp::Equal, 0);
                    none.with_range(end.clone())
                }));
                otherwise.extend(look(1));
            }
        }
        let lease = || PutOptions::new().with_lease(self.session.lease.id);
        let puts = self.keys.iter().zip(&self.values);
        then.extend(puts.map(|(key, value)| TxnOp::put(key.clone(), value.clone(), Some(lease()))));
        if retried {
            then.push(self.bump());
        }
        Txn::new().when(compares).and_then(then).or_else(otherwise)
    }

    /// The transaction that enters the request, about to be sent, and the epoch that it compares.
    pub(crate) fn send(&mut self, retried: bool, may_wait: bool) -> (i64, Txn) {
        let epoch = self.session.epoch();
        self.stage = Stage::InDoubt;
        (epoch, self.entering(epoch, retried, may_wait))
    }

    /// What a guest's call to enter the request has come to.
    pub(crate) fn sent(
        &mut self,
        epoch: i64,
        answer: Result<TxnResponse, Failure>,
        may_wait: bool,
    ) -> Begun {
        match answer {
            Ok(answer) if answer.succeeded() => {
                let ticket = answer.header().map_or(0, |header| header.revision());
                Begun::Entered(self.enter_at_once(ticket, &answer.op_responses(), may_wait))
            }
            answer => Begun::Sent(epoch, answer),
        }
    }

    /// Enter the request. `may_wait` if it does where somebody is in the way.
    pub(crate) async fn enter(&mut self, begun: Begun, may_wait: bool) -> Result<Answer, Error> {
        let start = Instant::now();
        let mut retried = false;
        let mut sent = match begun {
            Begun::Entered(blockers) => return Ok(Answer::Entered(blockers)),
            Begun::Sent(epoch, answer) => Some((epoch, answer)),
            Begun::Not => None,
        };
        loop {
            let (epoch, answer) = match sent.take() {
                Some(sent) => sent,
                None => {
                    let (epoch, txn) = self.send(retried, may_wait);
                    let ask =
                        |client: Arc<Client>| async move { client.kv_client().txn(txn).await };
                    (epoch, self.session.servers.ask(ASK, ask).await)
                }
            };
            match answer {
                Ok(answer) => {
                    if let Some(answer) = self.entered(&answer, epoch, retried, may_wait).await? {
                        return Ok(answer);
                    }
                }
                Err(Failure::Final(error)) => {
                    // What was sent before may still arrive; and etcd says that there is no space also of what it has
                    // carried out with the last of it.
                    self.stage = match (retried, &error) {
                        (true, _) => Stage::InDoubt,
                        (false, Error::NoSpace) => Stage::Unsure,
                        (false, _) => Stage::Gone,
                    };
                    return Err(error);
                }
                Err(Failure::InDoubt(_)) if !self.session.is_alive() => return Err(Error::Lost),
                Err(Failure::InDoubt(last)) if start.elapsed() >= ASKING => {
                    return Err(Error::Unavailable { doing: ASK, tried: start.elapsed(), last });
                }
                Err(Failure::InDoubt(_)) => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                    retried = true;
                }
            }
        }
    }

    /// What an answer says of the request; `None` if it has to be asked again.
    async fn entered(
        &mut self,
        answer: &TxnResponse,
        epoch: i64,
        retried: bool,
        may_wait: bool,
    ) -> Result<Option<Answer>, Error> {
        let revision = answer.header().map_or(0, |header| header.revision());
        let responses = answer.op_responses();
        if answer.succeeded() {
            if retried {
                self.session.raise_epoch(revision);
            }
            return self.enter_at(revision, &responses, may_wait).await.map(Some);
        }
        if !self.session.see(found(&responses, 0), epoch) {
            return Err(Error::Lost);
        }
        if let Some(ticket) = self.own_ticket(&responses) {
            // An earlier attempt was carried out, and none must be once more. Until then it is in doubt.
            self.fail_late_copies().await?;
            return self.enter_at(ticket, &[], may_wait).await.map(Some);
        }
        if found(&responses, 1).is_some() {
            // At this place there is nobody else of this session, so it is what somebody could not give back.
            let _ = self.cancel().await;
            tokio::time::sleep(RETRY_INTERVAL).await;
            return Ok(None);
        }
        if (2..responses.len()).any(|operation| found(&responses, operation).is_some()) {
            self.stage = if retried { Stage::InDoubt } else { Stage::Gone };
            return Ok(Some(Answer::Refused));
        }
        Ok(None)
    }

    /// It has this ticket; the responses are what was found in its ranges at that moment, if that was asked.
    async fn enter_at(
        &mut self,
        ticket: i64,
        responses: &[TxnOpResponse],
        may_wait: bool,
    ) -> Result<Answer, Error> {
        let blockers = self.enter_at_once(ticket, responses, may_wait);
        if may_wait || self.can_look() {
            return Ok(Answer::Entered(blockers));
        }
        // One transaction could not ask whether somebody is in the way, so it is in line for a moment.
        let blockers = tokio::select! {
            blockers = self.verify(ticket, blockers, 0) => blockers?,
            () = self.session.ended() => return Err(Error::Lost),
        };
        Ok(if blockers.are_none() { Answer::Entered(blockers) } else { Answer::Refused })
    }

    /// It has this ticket; returns who is in the way, as far as that is known.
    fn enter_at_once(
        &mut self,
        ticket: i64,
        responses: &[TxnOpResponse],
        may_wait: bool,
    ) -> Blockers {
        self.stage = Stage::Entered(ticket);
        self.slot.enter(ticket);
        match self.can_look() {
            // It was carried out on condition that nobody is in the way.
            true if !may_wait => Blockers::none(),
            true if !responses.is_empty() => self.blockers_at_once(responses),
            _ => Blockers { ranges: self.ranges.clone(), ..Blockers::default() },
        }
    }

    /// Those whom the transaction that entered the request has found.
    fn blockers_at_once(&self, responses: &[TxnOpResponse]) -> Blockers {
        let (mut live, mut are_all, mut ranges) = (Vec::new(), true, Vec::new());
        for (response, range) in responses.iter().zip(&self.ranges) {
            let TxnOpResponse::Get(found) = response else { continue };
            if !found.kvs().is_empty() {
                ranges.push(range.clone());
            }
            are_all &= !found.more();
            live.extend(found.kvs().iter().map(|kv| (kv.create_revision(), kv.key().to_vec())));
        }
        if are_all {
            return Blockers::of(live, true, ranges);
        }
        // Some were left out, and they may be the latest.
        Blockers { live: Vec::new(), are_all: false, ranges }
    }

    /// The ticket of the key that this very request has created, if one answer shows it.
    fn own_ticket(&self, responses: &[TxnOpResponse]) -> Option<i64> {
        let found = found(responses, 1)?;
        let value: Value = serde_json::from_slice(found.value()).ok()?;
        (value.nonce == self.slot.nonce).then(|| found.create_revision())
    }

    /// Write the session's key, so that what was sent until now is not carried out any more.
    async fn fail_late_copies(&self) -> Result<(), Error> {
        let bump = self.bump();
        let txn = Txn::new().when([self.session.is_own()]).and_then([bump]);
        let bump = |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        let answer = self.session.servers.insist(ASK, ASKING, bump).await?;
        if !answer.succeeded() {
            self.session.end();
            return Err(Error::Lost);
        }
        self.session.raise_epoch(answer.header().map_or(0, |header| header.revision()));
        Ok(())
    }

    /// Look who is still in the way, at this revision or a later one, and not before the ticket was given.
    async fn verify(&self, ticket: i64, before: Blockers, since: i64) -> Result<Blockers, Error> {
        let since = since.max(ticket);
        let mut found = Vec::new();
        for ranges in before.ranges.chunks(AT_ONCE) {
            let looks = ranges.iter().map(|range| self.look(range, ticket, since));
            found.extend(try_join_all(looks).await?);
        }
        let are_all = found.iter().all(|found| found.kvs().len() <= WINDOW);
        let kvs = found.iter().flat_map(|found| found.kvs());
        let live = kvs.map(|kv| (kv.create_revision(), kv.key().to_vec())).collect();
        // Where nobody is left, nobody comes.
        let ranges = before.ranges.iter().zip(&found).filter(|(_, found)| !found.kvs().is_empty());
        let ranges = ranges.map(|(range, _)| range.clone()).collect();
        Ok(Blockers::of(live, are_all, ranges))
    }

    /// The latest that were in a range before the ticket and are still there, one more than are watched.
    async fn look(
        &self,
        (first, end): &Range,
        ticket: i64,
        since: i64,
    ) -> Result<GetResponse, Error> {
        let options = GetOptions::new()
            .with_range(end.clone())
            .with_keys_only()
            .with_max_create_revision(ticket - 1)
            .with_sort(SortTarget::Create, SortOrder::Descend)
            .with_limit(WINDOW as i64 + 1);
        let get = |client: Arc<Client>| {
            let (first, options) = (first.clone(), options.clone());
            async move { client.kv_client().get(first, Some(options)).await }
        };
        loop {
            // Who waits does so until the session is over.
            let limit = Duration::MAX;
            let found = self.session.servers.insist("see who is in the way", limit, get).await?;
            // Members have been seen to answer from the past (etcd#20418).
            if found.header().is_some_and(|header| header.revision() >= since) {
                return Ok(found);
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Look whether somebody is in the way of one that is in line; an error names what cannot be read.
    pub(crate) async fn nobody_is_in_the_way(&self) -> Result<(), Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Lost) };
        let all = Blockers { ranges: self.ranges.clone(), ..Blockers::default() };
        let blockers = tokio::select! {
            blockers = self.verify(ticket, all, 0) => blockers?,
            () = self.session.ended() => return Err(Error::Lost),
        };
        match blockers.live.first() {
            None => Ok(()),
            Some((_, key)) => Err(Error::unreadable(&String::from_utf8_lossy(key))),
        }
    }

    /// Wait until nobody is in the way. Returns how often the safety net found what nobody had told.
    pub(crate) async fn wait(&self, blockers: Blockers) -> Result<u64, Error> {
        let waited = tokio::select! {
            waited = self.wait_for(blockers) => waited?,
            () = self.session.ended() => return Err(Error::Lost),
            () = self.slot.revoked() => return Err(Error::Lost),
        };
        // Whoever was paused for long may not have heard of the end yet.
        match self.session.is_alive() && !self.slot.is_revoked() {
            true => Ok(waited),
            false => Err(Error::Lost),
        }
    }

    async fn wait_for(&self, mut blockers: Blockers) -> Result<u64, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Lost) };
        let mut rescued = 0;
        let mut observed = BTreeMap::new();
        loop {
            if blockers.live.is_empty() && !blockers.are_all {
                blockers = self.verify(ticket, blockers, 0).await?;
            }
            if blockers.are_none() {
                return Ok(rescued);
            }
            if let Some(since) = self.observe(&mut blockers, &mut observed).await {
                // One may have gone before it was watched.
                blockers = self.verify(ticket, blockers, since).await?;
                continue;
            }
            if blockers.live.is_empty() {
                continue;
            }
            match sleep(&observed).await {
                Wake::Gone(gone) => {
                    observed.remove(&gone);
                    blockers.live.retain(|blocker| *blocker != gone);
                    if !blockers.are_all {
                        blockers = self.verify(ticket, blockers, 0).await?;
                    }
                }
                Wake::Cut => {
                    observed.clear();
                    blockers = self.verify(ticket, blockers, 0).await?;
                }
                Wake::Safety => {
                    let mut told = blockers.live.clone();
                    told.retain(|one| matches!(observed.get(one), Some(Observed::Watched(_))));
                    blockers = self.verify(ticket, blockers, 0).await?;
                    // What happened just now is still on its way.
                    let is_new = told.iter().any(|one| !blockers.live.contains(one));
                    if is_new && timeout(LATE, sleep(&observed)).await.is_err() {
                        rescued += 1;
                    }
                }
            }
        }
    }

    /// Observe all that are live and no others. Returns a revision at which they have to be looked at once more, if
    /// one is watched that was not before.
    async fn observe(
        &self,
        blockers: &mut Blockers,
        observed: &mut BTreeMap<Blocker, Observed>,
    ) -> Option<i64> {
        observed.retain(|blocker, _| blockers.live.contains(blocker));
        let mut fresh = Vec::new();
        blockers.live.retain(|blocker| {
            let Some(how) = (match observed.get(blocker) {
                Some(_) => return true,
                None => self.how_to_observe(blocker),
            }) else {
                return false;
            };
            if let Observed::Watched(_) = how {
                fresh.push(blocker.clone());
            }
            observed.insert(blocker.clone(), how);
            true
        });
        let mut since = None;
        for blocker in fresh {
            let Some(Observed::Watched(watched)) = observed.get(&blocker) else { continue };
            match timeout(SAFETY, watched.since()).await {
                Ok(Ok(revision)) => since = since.max(Some(revision)),
                // It is watched again at the next time.
                Ok(Err(Cut)) | Err(_) => {
                    observed.remove(&blocker);
                    since = since.max(Some(0));
                }
            }
        }
        since
    }

    /// `None` if it is gone.
    fn how_to_observe(&self, (created, key): &Blocker) -> Option<Observed> {
        let name = self.session.space.read(key).filter(|name| name.session == self.session.id);
        match name {
            Some(name) => self.session.slot(name.slot, *created).map(Observed::Here),
            None => Some(Observed::Watched(self.session.watches.watch(key.clone()))),
        }
    }

    /// Make sure that nothing of the request is left, or will be. Returns when that is known.
    pub(crate) async fn leave(&mut self) {
        while self.session.is_alive() {
            let left = match self.stage {
                Stage::Unsent | Stage::Gone => Ok(true),
                Stage::Entered(ticket) => self.release(ticket).await,
                Stage::Unsure => self.delete().await.map(|()| true),
                Stage::InDoubt => self.cancel().await,
            };
            match left {
                Ok(true) => {
                    self.stage = Stage::Gone;
                    return self.session.give_back(&self.slot);
                }
                // Who may not release any more keeps no lease either, whose end releases for him. Renewing it needs
                // no right.
                Err(Failure::Final(Error::Denied { .. })) => return self.session.end(),
                // Only what is in doubt takes space to give up. What is there can be deleted meanwhile.
                Err(Failure::Final(Error::NoSpace)) => {
                    let _ = self.delete().await;
                    tokio::time::sleep(FULL).await;
                }
                Ok(false) | Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
        // The end of the lease takes all keys with it.
    }

    /// Delete the keys if they are this request's.
    async fn release(&self, ticket: i64) -> Result<bool, Failure> {
        if self.release_these(&self.keys, ticket).await? || self.keys.len() == 1 {
            return Ok(true);
        }
        // A copy of this was carried out before; or somebody has deleted one of them, and the others are left.
        for key in &self.keys {
            self.release_these(std::slice::from_ref(key), ticket).await?;
        }
        Ok(true)
    }

    /// The transaction that releases the request, if it is there.
    pub(crate) fn releasing(&self) -> Option<Txn> {
        Some(release(&self.keys, self.ticket()?))
    }

    /// A guest's call to release the request was carried out.
    pub(crate) fn left(&mut self) {
        self.stage = Stage::Gone;
        self.session.give_back(&self.slot);
    }

    async fn release_these(&self, keys: &[Vec<u8>], ticket: i64) -> Result<bool, Failure> {
        let txn = release(keys, ticket);
        let release = |client: Arc<Client>| async move { client.kv_client().txn(txn).await };
        let answer = self.session.servers.ask("release a lock", release).await?;
        Ok(answer.succeeded())
    }

    /// Delete whatever there is of this very request. What is still on its way may come later.
    async fn delete(&self) -> Result<(), Failure> {
        for (key, value) in self.keys.iter().zip(&self.values) {
            // A late copy of this must not meet the next one at this place.
            let own = Compare::value(key.clone(), CompareOp::Equal, value.clone());
            let delete = TxnOp::delete(key.clone(), None);
            let txn = Txn::new().when([self.session.is_own(), own]).and_then([delete]);
            let delete = |client: Arc<Client>| async move { client.kv_client().txn(txn).await };
            self.session.servers.ask("give up a lock", delete).await?;
        }
        Ok(())
    }

    /// Delete whatever there is, and see that nothing comes later.
    async fn cancel(&self) -> Result<bool, Failure> {
        let mut operations = vec![self.bump()];
        operations.extend(self.keys.iter().map(|key| TxnOp::delete(key.clone(), None)));
        let session = TxnOp::get(self.session.space.session(&self.session.id), None);
        let epoch = self.session.epoch();
        let txn = Txn::new().when([self.is_epoch(epoch)]).and_then(operations).or_else([session]);
        let asked = self
            .session
            .servers
            .ask("give up a lock", |client| async move { client.kv_client().txn(txn).await });
        let answer = asked.await?;
        if answer.succeeded() {
            self.session.raise_epoch(answer.header().map_or(0, |header| header.revision()));
        } else {
            self.session.see(found(&answer.op_responses(), 0), epoch);
        }
        Ok(answer.succeeded())
    }
}

/// The transaction that deletes these keys if they have this ticket.
fn release(keys: &[Vec<u8>], ticket: i64) -> Txn {
    let own = |key: &Vec<u8>| Compare::create_revision(key.clone(), CompareOp::Equal, ticket);
    let compares: Vec<Compare> = keys.iter().map(own).collect();
    let deletes: Vec<TxnOp> = keys.iter().map(|key| TxnOp::delete(key.clone(), None)).collect();
    Txn::new().when(compares).and_then(deletes)
}

/// Sleep until one of those in the way is gone, or there is a reason to look.
async fn sleep(observed: &BTreeMap<Blocker, Observed>) -> Wake {
    let waking = observed.iter().map(|(blocker, how)| {
        Box::pin(async move {
            match how {
                Observed::Here(slot) => slot.gone(blocker.0).await,
                Observed::Watched(watched) => match watched.deleted(blocker.0).await {
                    Ok(()) => {}
                    Err(Cut) => return Wake::Cut,
                },
            }
            Wake::Gone(blocker.clone())
        })
    });
    match timeout(SAFETY, select_all(waking)).await {
        Ok((wake, ..)) => wake,
        Err(_) => Wake::Safety,
    }
}
