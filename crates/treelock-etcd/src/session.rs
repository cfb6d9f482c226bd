//! A session: one lease of this process, on which all its entries hang.
//!
//! The lease is renewed at a quarter of its time. What counts is when the renewal was *sent*: etcd cannot have
//! begun to count before. A member that does not answer within [`HEDGE`] is not waited for, the next one is
//! asked as well, and the first answer wins: a leader that is paused must not cost everybody his session. When
//! nine tenths of the time have passed since the last renewal that was answered, the session is over for us,
//! while etcd still keeps it.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use tokio::{runtime::Handle, sync::watch, task::JoinSet, time::sleep};

use crate::{
    clock,
    error::Error,
    key::Space,
    servers::{PATIENCE, Servers},
};

/// How long a member may take for a renewal before the next one is asked too.
const HEDGE: Duration = Duration::from_millis(300);

/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// How long opening a session is tried.
const OPENING: Duration = Duration::from_secs(10);

pub(crate) struct Session {
    pub(crate) servers: Servers,
    pub(crate) space: Space,
    pub(crate) id: String,
    pub(crate) lease: i64,
    ttl: Duration,
    /// The revision at which the session's key was last written, as far as we know.
    epoch: AtomicI64,
    /// When it is over for us, in nanoseconds of the clock of the boot.
    deadline: AtomicU64,
    is_over: watch::Sender<bool>,
    slots: Mutex<Slots>,
    /// How many requests are being given back in the background.
    leaving: watch::Sender<usize>,
    runtime: Handle,
}

/// The numbers of the places of this session. A number is used again as soon as its entry is known to be gone,
/// since every new key costs etcd a tombstone.
#[derive(Default)]
struct Slots {
    free: BTreeSet<u64>,
    next: u64,
    /// Counts the requests, so that each has a number that no other of this session has.
    last_nonce: u64,
}

impl Session {
    /// Open a session and keep it alive for as long as somebody has it.
    pub(crate) async fn open(
        servers: Servers,
        space: Space,
        ttl: Duration,
    ) -> Result<Arc<Session>, Error> {
        let sent = clock::now();
        let seconds = ttl.as_secs().max(1) as i64;
        // A grant whose answer is lost leaves a lease without keys, which ends by itself.
        let grant = |mut client: Client| async move { client.lease_grant(seconds, None).await };
        let lease = servers.insist("open a session", OPENING, grant).await?.id();
        let id = format!("{:x}", lease as u64);
        let key = space.session(&id);
        let create = |mut client: Client| {
            let new = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let put = TxnOp::put(key.clone(), [], Some(PutOptions::new().with_lease(lease)));
            let txn =
                Txn::new().when([new]).and_then([put]).or_else([TxnOp::get(key.clone(), None)]);
            async move { client.txn(txn).await }
        };
        let created = servers.insist("open a session", OPENING, create).await?;
        let revision = created.header().map_or(0, |header| header.revision());
        let epoch = found_revision(&created.op_responses()).unwrap_or(revision);
        let session = Arc::new(Session {
            servers,
            space,
            id,
            lease,
            ttl,
            epoch: AtomicI64::new(epoch),
            deadline: AtomicU64::new(nanoseconds(sent + ttl.mul_f64(0.9))),
            is_over: watch::Sender::new(false),
            slots: Mutex::default(),
            leaving: watch::Sender::new(0),
            runtime: Handle::current(),
        });
        tokio::spawn(keep_alive(Arc::downgrade(&session)));
        Ok(session)
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The session's key was written, by us, at this revision.
    pub(crate) fn raise_epoch(&self, revision: i64) {
        self.epoch.fetch_max(revision, Ordering::AcqRel);
    }

    /// Whether its lease certainly has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        let before = nanoseconds(clock::now()) < self.deadline.load(Ordering::Acquire);
        before && !*self.is_over.borrow()
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

    /// A slot that no other request of this session has, and a number that none ever had.
    pub(crate) fn take_slot(&self) -> (u64, u64) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.last_nonce += 1;
        let slot = slots.free.pop_first().unwrap_or_else(|| {
            slots.next += 1;
            slots.next - 1
        });
        (slot, slots.last_nonce)
    }

    pub(crate) fn give_slot_back(&self, slot: u64) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).free.insert(slot);
    }

    /// Give something back in the background.
    pub(crate) fn leave(
        &self,
        leaving: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        self.leaving.send_modify(|count| *count += 1);
        let done = self.leaving.clone();
        self.runtime.spawn(async move {
            leaving.await;
            done.send_modify(|count| *count -= 1);
        })
    }

    /// Waits until nothing is being given back.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as we do.
        let _ = self.leaving.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Renew the lease once; returns whether it is still there. An error is that nobody answered in time.
    async fn renew(&self) -> Result<bool, ()> {
        let started = Instant::now();
        let mut asked = JoinSet::new();
        let first = self.servers.current();
        for next in 0.. {
            if next < self.servers.count() {
                let (servers, lease, member) = (self.servers.clone(), self.lease, first + next);
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
                        let deadline = nanoseconds(sent + self.ttl.mul_f64(0.9));
                        self.deadline.fetch_max(deadline, Ordering::AcqRel);
                        return Ok(true);
                    }
                    Ok(Err(error)) if error.to_string().contains("lease not found") => return Ok(false),
                    _ if asked.is_empty() && next + 1 >= self.servers.count() => return Err(()),
                    _ => {}
                },
                () = sleep(HEDGE) => {}
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
        let (servers, lease) = (self.servers.clone(), self.lease);
        let revoke = move |mut client: Client| async move { client.lease_revoke(lease).await };
        self.runtime.spawn(async move { servers.insist("close a session", OPENING, revoke).await });
    }
}

/// Renew the lease of a session until the session is over, or nobody has it any more.
async fn keep_alive(session: Weak<Session>) {
    loop {
        let Some(alive) = session.upgrade() else { return };
        let pause = match alive.renew().await {
            Ok(true) => alive.ttl / 4,
            Ok(false) => return alive.end(),
            Err(()) if !alive.is_alive() => return alive.end(),
            Err(()) => AGAIN,
        };
        drop(alive);
        sleep(pause).await;
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// The revision of the last write to the key that a transaction has read instead of writing it.
pub(crate) fn found_revision(responses: &[TxnOpResponse]) -> Option<i64> {
    match responses.first()? {
        TxnOpResponse::Get(found) => found.kvs().first().map(|found| found.mod_revision()),
        _ => None,
    }
}
