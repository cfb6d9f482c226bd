//! A session: one lease of this process, on which its entries hang.
//!
//! The lease is renewed at a quarter of its time. What counts is when the renewal was *sent*: etcd cannot have
//! begun to count before. A member that does not answer within [`HEDGE`] is not waited for, the next one is
//! asked as well, and the first answer wins: a leader that is paused must not cost everybody his session. When
//! nine tenths of the time have passed since the last renewal that was answered, the session is over for us,
//! while etcd still keeps it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::{
    Client, Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    clock,
    error::Error,
    flight::Flight,
    key::Space,
    runtime::Leaving,
    servers::{PATIENCE, Servers},
    watches::{Watches, tell},
};

/// How long a member may take for a renewal before the next one is asked too.
const HEDGE: Duration = Duration::from_millis(300);

/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long opening a session is tried.
pub(crate) const OPENING: Duration = Duration::from_secs(10);

/// How long giving a lease back is tried.
const CLOSING: Duration = Duration::from_secs(2);

/// How soon it is seen that the machine has slept for longer than the lease lasts: timers sleep with it.
const AWAKE: Duration = Duration::from_secs(1);

/// How many entries hang on one lease. etcd takes two seconds to end a lease with 100,000, and does nothing else.
const ROOM: usize = 5_000;

/// The version of what stands in etcd.
const PROTOCOL: u32 = 1;

/// What the key of a namespace says; without one it is all zeros and the first version.
#[derive(Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) protocol: u32,
    pub(crate) epoch: u16,
}

impl Meta {
    /// What is said by the value of the key, if there is one.
    pub(crate) fn read(value: Option<&[u8]>) -> Result<Meta, Error> {
        let meta = match value {
            None => Meta { protocol: PROTOCOL, epoch: 0 },
            Some(value) => serde_json::from_slice(value).unwrap_or(Meta { protocol: 0, epoch: 0 }),
        };
        match meta.protocol {
            PROTOCOL => Ok(meta),
            other => Err(Error::Unsupported {
                what: format!(
                    "the namespace is used by locks of another version (theirs {other}, ours {PROTOCOL}), which \
                     would not see each other; use the same version, or another namespace"
                ),
            }),
        }
    }
}

pub(crate) struct Session {
    pub(crate) servers: Servers,
    pub(crate) space: Space,
    pub(crate) id: String,
    pub(crate) lease: Lease,
    /// What stands before the revisions in tokens, so that they grow over a restore.
    pub(crate) fencing_epoch: u16,
    pub(crate) watches: Watches,
    pub(crate) leaving: Leaving,
    /// The revision at which the session's key was created.
    created: i64,
    /// The revision at which the session's key was last written, as far as we know.
    epoch: AtomicI64,
    /// When it is over for us, in nanoseconds of the clock of the boot.
    deadline: AtomicU64,
    is_over: watch::Sender<bool>,
    /// The lease was given back.
    is_closed: AtomicBool,
    places: Mutex<Places>,
}

/// A lease as it was granted.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) id: i64,
    ttl: Duration,
    /// When it was asked for.
    sent: Duration,
}

impl Lease {
    async fn grant(servers: &Servers, ttl: Duration) -> Result<Lease, Error> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        // A grant whose answer is lost leaves a lease without keys, which ends by itself.
        let grant = |client: Arc<Client>| async move {
            let sent = clock::now();
            Ok((sent, client.lease_client().grant(seconds, None).await?))
        };
        let (sent, granted) = servers.insist("open a session", OPENING, grant).await?;
        // etcd has a shortest time of its own.
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        Ok(Lease { id: granted.id(), ttl, sent })
    }

    /// What the session that hangs on it is called.
    fn name(&self) -> String {
        format!("{:x}", self.id as u64)
    }

    /// Until when it certainly lives if it was renewed then, in nanoseconds of the clock of the boot.
    fn deadline(&self, sent: Duration) -> u64 {
        (sent + self.ttl.mul_f64(0.9)).as_nanos() as u64
    }

    fn is_over(&self) -> bool {
        clock::now().as_nanos() as u64 >= self.deadline(self.sent)
    }

    /// What is not revoked ends by itself.
    async fn revoke(&self, servers: &Servers) {
        let id = self.id;
        let revoke = |client: Arc<Client>| async move { client.lease_client().revoke(id).await };
        let _ = servers.insist("close a session", CLOSING, revoke).await;
    }
}

/// Create the key of a session, and read what holds for the namespace.
async fn create(servers: &Servers, space: &Space, lease: &Lease) -> Result<TxnResponse, Error> {
    let key = space.session(&lease.name());
    let options = PutOptions::new().with_lease(lease.id);
    let create = |client: Arc<Client>| {
        let new = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key.clone(), [], Some(options.clone()));
        let own = TxnOp::get(key.clone(), None);
        let meta = TxnOp::get(space.meta(), None);
        let txn = Txn::new().when([new]).and_then([put, meta.clone()]).or_else([own, meta]);
        async move { client.kv_client().txn(txn).await }
    };
    servers.insist("open a session", OPENING, create).await
}

/// The places of this session. The number of one is used again as soon as its entry is known to be gone, since
/// every new key costs etcd a tombstone.
#[derive(Default)]
struct Places {
    taken: HashMap<u64, Arc<Place>>,
    free: BTreeSet<u64>,
    next: u64,
    /// Counts the requests, so that each has a number that no other of this session has.
    last_nonce: u64,
    keys: usize,
}

/// The place of one request, from before it is first sent until it is known to be gone.
pub(crate) struct Place {
    pub(crate) slot: u64,
    pub(crate) nonce: u64,
    keys: usize,
    standing: watch::Sender<Standing>,
    /// The largest ticket of which it was heard that somebody deleted its entry here.
    heard: AtomicI64,
    /// The call that a guest has made for it, if it is on its way.
    flight: Mutex<Weak<Flight>>,
}

/// What is known of who stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is on its way.
    Unknown,
    /// A request with this ticket.
    At(i64),
    /// The entry with this ticket was deleted by somebody else.
    Revoked(i64),
    /// Nobody.
    Gone,
}

impl Standing {
    /// Whether the entry with this ticket is certainly not there.
    fn is_gone(self, ticket: i64) -> bool {
        match self {
            Standing::Unknown => false,
            Standing::At(other) => other != ticket,
            Standing::Revoked(_) | Standing::Gone => true,
        }
    }
}

impl Place {
    /// A guest has made a call for it.
    pub(crate) fn flies(&self, flight: Weak<Flight>) {
        *self.flight.lock().unwrap_or_else(PoisonError::into_inner) = flight;
    }

    fn flight(&self) -> Option<Arc<Flight>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// A request has entered with this ticket.
    pub(crate) fn enter(&self, ticket: i64) {
        self.standing.send_replace(Standing::At(ticket));
        // It may have been deleted before we were told that it was there.
        self.see_revoked();
    }

    /// Somebody has deleted the entry with this ticket.
    pub(crate) fn hear_revoked(&self, ticket: i64) {
        self.heard.fetch_max(ticket, Ordering::AcqRel);
        self.see_revoked();
    }

    fn see_revoked(&self) {
        let ticket = self.heard.load(Ordering::Acquire);
        self.standing.send_if_modified(|standing| {
            let is_own = *standing == Standing::At(ticket);
            if is_own {
                *standing = Standing::Revoked(ticket);
            }
            is_own
        });
    }

    pub(crate) fn is_revoked(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Revoked(_))
    }

    /// Waits until somebody else has deleted it.
    pub(crate) async fn revoked(&self) {
        let revoked = |standing: &Standing| matches!(standing, Standing::Revoked(_));
        // The sender lives as long as we do.
        let _ = self.standing.subscribe().wait_for(revoked).await;
    }

    /// Waits until the entry with this ticket is certainly not there.
    pub(crate) async fn gone(&self, ticket: i64) {
        // The sender lives as long as we do.
        let _ = self.standing.subscribe().wait_for(|standing| standing.is_gone(ticket)).await;
    }
}

impl Session {
    /// Open a session and keep it alive for as long as somebody has it.
    pub(crate) async fn open(
        servers: Servers,
        space: Space,
        ttl: Duration,
        leaving: Leaving,
    ) -> Result<Arc<Session>, Error> {
        let start = Instant::now();
        let (lease, created) = loop {
            let lease = Lease::grant(&servers, ttl).await?;
            match create(&servers, &space, &lease).await {
                // What took longer than the lease lasts is begun again.
                Ok(_) if lease.is_over() && start.elapsed() < OPENING => {
                    lease.revoke(&servers).await;
                }
                Ok(created) => break (lease, created),
                Err(Error::Refused { what, .. })
                    if what.contains("lease not found") && start.elapsed() < OPENING => {}
                Err(error) => {
                    // Who may not use the namespace leaves no lease either.
                    lease.revoke(&servers).await;
                    return Err(error);
                }
            }
        };
        let revision = created.header().map_or(0, |header| header.revision());
        let responses = created.op_responses();
        let own = found(&responses, 0);
        let meta = match Meta::read(found(&responses, 1).map(|found| found.value())) {
            Ok(meta) => meta,
            Err(error) => {
                lease.revoke(&servers).await;
                return Err(error);
            }
        };
        let (watches, wanted) = Watches::new();
        let session = Arc::new(Session {
            servers,
            space,
            id: lease.name(),
            fencing_epoch: meta.epoch,
            watches,
            leaving,
            created: own.map_or(revision, |own| own.create_revision()),
            epoch: AtomicI64::new(own.map_or(revision, |own| own.mod_revision())),
            deadline: AtomicU64::new(lease.deadline(lease.sent)),
            lease,
            is_over: watch::Sender::new(false),
            is_closed: AtomicBool::new(false),
            places: Mutex::default(),
        });
        tokio::spawn(keep_alive(Arc::downgrade(&session)));
        tokio::spawn(tell(Arc::downgrade(&session), wanted));
        tokio::spawn(take_over(Arc::downgrade(&session)));
        Ok(session)
    }

    /// Give the lease back, if nothing hangs on it; returns when that is known, or nobody answers.
    pub(crate) async fn close(&self) {
        if self.places().taken.is_empty() {
            self.end();
            self.lease.revoke(&self.servers).await;
            self.is_closed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The session's key was written, by us, at this revision.
    pub(crate) fn raise_epoch(&self, revision: i64) {
        self.epoch.fetch_max(revision, Ordering::AcqRel);
    }

    /// The session's key was found so, or not found, by who knew this epoch; returns whether the session goes on. It
    /// does not with another key: a late copy of what opened the session may have created that after the session
    /// was ended. Nor with an older one, from before etcd was restored from a backup.
    pub(crate) fn see(&self, key: Option<&KeyValue>, epoch: i64) -> bool {
        match key {
            Some(key) if key.create_revision() == self.created && key.mod_revision() >= epoch => {
                self.raise_epoch(key.mod_revision());
                true
            }
            _ => {
                self.end();
                false
            }
        }
    }

    /// That the session's key is the one that this session was opened with.
    pub(crate) fn is_own(&self) -> Compare {
        Compare::create_revision(self.space.session(&self.id), CompareOp::Equal, self.created)
    }

    /// Whether its lease certainly has not ended. Once that is not certain it is over for good, even if etcd should
    /// still take a renewal: what was to be given back is not, so nothing may keep it.
    pub(crate) fn is_alive(&self) -> bool {
        let is_past = self.is_past();
        if is_past {
            self.end();
        }
        !is_past
    }

    /// Whether it is not alive. Wakes nobody, so it may be asked where something is locked.
    pub(crate) fn is_past(&self) -> bool {
        *self.is_over.borrow()
            || clock::now().as_nanos() as u64 >= self.deadline.load(Ordering::Acquire)
    }

    /// How long it certainly lives.
    fn rest(&self) -> Duration {
        let deadline = Duration::from_nanos(self.deadline.load(Ordering::Acquire));
        deadline.saturating_sub(clock::now())
    }

    /// It is over: its lease has ended, or may have.
    pub(crate) fn end(&self) {
        self.is_over.send_replace(true);
    }

    /// Waits until it is over.
    pub(crate) async fn ended(&self) {
        let mut is_over = self.is_over.subscribe();
        // The sender lives as long as we do.
        let _ = is_over.wait_for(|is_over| *is_over).await;
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place that no other request of this session has, if so many more keys may hang on the lease.
    pub(crate) fn take_place(&self, keys: usize) -> Option<Arc<Place>> {
        let mut places = self.places();
        if places.keys + keys > ROOM {
            return None;
        }
        places.last_nonce += 1;
        places.keys += keys;
        let slot = places.free.pop_first().unwrap_or_else(|| {
            places.next += 1;
            places.next - 1
        });
        let standing = watch::Sender::new(Standing::Unknown);
        let heard = AtomicI64::new(0);
        let (nonce, flight) = (places.last_nonce, Mutex::default());
        let place = Arc::new(Place { slot, nonce, keys, standing, heard, flight });
        places.taken.insert(slot, place.clone());
        Some(place)
    }

    /// The calls of guests that our thread has to go on with.
    fn overdue(&self) -> Vec<Arc<Flight>> {
        let flights: Vec<_> =
            self.places().taken.values().filter_map(|place| place.flight()).collect();
        flights.into_iter().filter(|flight| flight.is_overdue()).collect()
    }

    /// Nobody is there any more, and nobody will be.
    pub(crate) fn give_back(&self, place: &Place) {
        let mut places = self.places();
        places.keys -= place.keys;
        places.taken.remove(&place.slot);
        places.free.insert(place.slot);
        drop(places);
        place.standing.send_replace(Standing::Gone);
    }

    /// The place at which an entry may be; `None` if it certainly is not there.
    pub(crate) fn place(&self, slot: u64, ticket: i64) -> Option<Arc<Place>> {
        let place = self.places().taken.get(&slot).cloned()?;
        let is_gone = place.standing.borrow().is_gone(ticket);
        (!is_gone).then_some(place)
    }

    /// Somebody has deleted the entry with this ticket.
    pub(crate) fn revoked(&self, slot: u64, ticket: i64) {
        let place = self.places().taken.get(&slot).cloned();
        if let Some(place) = place {
            place.hear_revoked(ticket);
        }
    }

    /// Renew the lease once; returns whether it is still there. An error is that nobody answered in time.
    async fn renew(&self) -> Result<bool, ()> {
        let started = Instant::now();
        let mut asked = JoinSet::new();
        let first = self.servers.current();
        for next in 0.. {
            if next < self.servers.count() {
                let (servers, lease, member) = (self.servers.clone(), self.lease.id, first + next);
                asked.spawn(async move {
                    let sent = clock::now();
                    let client = servers.client(member).await?;
                    client.lease_client().keep_alive(lease).await.map(|_| (sent, member))
                });
            }
            tokio::select! {
                Some(answer) = asked.join_next() => match answer {
                    Ok(Ok((sent, member))) => {
                        self.servers.prefer(member);
                        self.deadline.fetch_max(self.lease.deadline(sent), Ordering::AcqRel);
                        return Ok(true);
                    }
                    Ok(Err(error)) if error.to_string().contains("lease not found") => return Ok(false),
                    _ if asked.is_empty() && next + 1 >= self.servers.count() => return Err(()),
                    _ => {}
                },
                () = sleep(HEDGE.min(self.rest())) => {}
            }
            // Members that take everything and answer nothing must not keep us from seeing the deadline.
            if started.elapsed() >= PATIENCE || !self.is_alive() {
                return Err(());
            }
        }
        Err(())
    }
}

impl Drop for Session {
    /// Gives the lease back, so that nobody has to wait for its end.
    fn drop(&mut self) {
        if !*self.is_closed.get_mut() {
            let (servers, lease) = (self.servers.clone(), self.lease);
            self.leaving.start(async move { lease.revoke(&servers).await });
        }
    }
}

/// Renew the lease of a session until the session is over, or nobody has it any more.
async fn keep_alive(session: Weak<Session>) {
    let (mut pause, mut rest) = (Duration::ZERO, Duration::MAX);
    loop {
        let nap = pause.min(AWAKE).min(rest);
        sleep(nap).await;
        pause -= nap;
        let Some(alive) = session.upgrade() else { return };
        rest = alive.rest();
        if !alive.is_alive() {
            return;
        }
        if pause.is_zero() {
            pause = match alive.renew().await {
                Ok(true) => alive.lease.ttl / 4,
                Ok(false) => return alive.end(),
                Err(()) => AGAIN,
            };
        }
    }
}

/// Go on with what guests do not, until nobody has the session any more.
async fn take_over(session: Weak<Session>) {
    loop {
        sleep(AWAKE).await;
        let Some(alive) = session.upgrade() else { return };
        for flight in alive.overdue() {
            // Each by itself, since it wakes others, and what they do is not ours.
            tokio::spawn(async move { flight.take_over() });
        }
    }
}

/// The key that one operation of a transaction has read.
pub(crate) fn found(responses: &[TxnOpResponse], operation: usize) -> Option<&KeyValue> {
    match responses.get(operation)? {
        TxnOpResponse::Get(found) => found.kvs().first(),
        _ => None,
    }
}
