//! How a request in line waits until nobody is in its way.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use etcd_client::Client;
use futures_util::future::{select_all, try_join_all};
use tokio::time::{sleep, timeout};

use crate::{
    cluster::failure::RETRY_INTERVAL,
    error::Error,
    live::Live,
    protocol::{
        blockers::{Blocker, Blockers},
        told::Cut,
        txn::{Found, Look},
        waiting::{Next, Verify, Waiting},
    },
    session::watches::Watched,
    wire,
};

/// A waiter that hears nothing looks once more after this time. It should find nothing new, ever.
const SAFETY_INTERVAL: Duration = Duration::from_secs(7);

/// How late etcd may tell of something.
const LATE_TELLING: Duration = Duration::from_secs(1);

/// What came of waiting.
pub(crate) enum Waited {
    /// Nobody is in the way. The safety net found so many gone of whom nobody had told.
    Granted { rescued: u64 },
    /// Somebody is in the way of one that does not wait.
    Refused,
}

/// Why a waiter wakes up.
enum Wake {
    Gone(Blocker),
    Cut,
}

/// What a waiter watches.
type Watching = BTreeMap<Blocker, Watched>;

impl Live {
    /// Waits until nobody is in the way. Returns how often the safety net found what nobody had
    /// told.
    pub(crate) async fn wait(&self, blockers: Blockers) -> Result<u64, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Lost) };
        let mut waiting = Waiting::new(self.entry.wish.clone(), ticket, blockers);
        match self.drive(&mut waiting).await? {
            Waited::Granted { rescued } => Ok(rescued),
            Waited::Refused => Err(Error::Lost),
        }
    }

    /// Looks whether somebody is in the way of one that is in line; an error names what cannot be
    /// read.
    pub(crate) async fn nobody_is_in_the_way(&self) -> Result<(), Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Lost) };
        let mut waiting = Waiting::look_once(self.entry.wish.clone(), ticket);
        match (self.drive(&mut waiting).await?, waiting.latest()) {
            (Waited::Refused, Some((_, key))) => {
                Err(Error::unreadable(&String::from_utf8_lossy(key)))
            }
            _ => Ok(()),
        }
    }

    /// Does what the waiter's machine says, until there is nothing to do, or the lock is lost.
    pub(crate) async fn drive(&self, waiting: &mut Waiting) -> Result<Waited, Error> {
        tokio::select! {
            waited = self.go_on(waiting) => waited,
            () = self.session.ended() => Err(Error::Lost),
            () = self.slot.revoked() => Err(Error::Lost),
        }
    }

    async fn go_on(&self, waiting: &mut Waiting) -> Result<Waited, Error> {
        let (mut watching, mut rescued) = (Watching::new(), 0);
        loop {
            match waiting.next(self) {
                Next::Look(verify) => waiting.looked(&self.look(verify).await?),
                Next::Watch(blockers) => {
                    watching.retain(|blocker, _| waiting.observes(blocker));
                    self.begin(waiting, &mut watching, blockers).await;
                }
                Next::Sleep => {
                    watching.retain(|blocker, _| waiting.observes(blocker));
                    match timeout(SAFETY_INTERVAL, self.sleep(waiting, &watching)).await {
                        Ok(Wake::Gone(blocker)) => waiting.gone(&blocker),
                        Ok(Wake::Cut) => waiting.cut(),
                        Err(_) => waiting.silent(),
                    }
                }
                Next::Listen => {
                    // What happened just now is still on its way.
                    let told = timeout(LATE_TELLING, self.sleep(waiting, &watching)).await;
                    rescued += u64::from(told.is_err());
                    waiting.listened();
                }
                Next::Granted => return Ok(Waited::Granted { rescued }),
                Next::Refused => return Ok(Waited::Refused),
                Next::Lost => return Err(Error::Lost),
            }
        }
    }

    /// Looks who is in the way.
    async fn look(&self, verify: Verify) -> Result<Vec<Found>, Error> {
        let mut found = Vec::with_capacity(verify.looks.len());
        for looks in verify.looks.chunks(wire::READS_AT_ONCE_MAX) {
            let looks = looks.iter().map(|look| self.look_at(look, &verify));
            found.extend(try_join_all(looks).await?);
        }
        Ok(found)
    }

    async fn look_at(&self, look: &Look, verify: &Verify) -> Result<Found, Error> {
        let get = |client: Arc<Client>| {
            let (first, options) = wire::encode_look(look.clone());
            async move { client.kv_client().get(first, Some(options)).await }
        };
        loop {
            // A waiter waits until its session is over.
            let limit = Duration::MAX;
            let found = self.session.servers.insist("see who is in the way", limit, get).await?;
            let revision = found.header().map_or(0, |header| header.revision());
            if verify.counts(revision) {
                return Ok(wire::found(&found));
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    /// Begins to watch these.
    async fn begin(&self, waiting: &mut Waiting, watching: &mut Watching, blockers: Vec<Blocker>) {
        for blocker in &blockers {
            let watched = self.session.watches.watch(blocker.1.clone());
            watching.insert(blocker.clone(), watched);
        }
        for blocker in blockers {
            match timeout(SAFETY_INTERVAL, watching[&blocker].since()).await {
                Ok(Ok(since)) => waiting.begun(&blocker, since),
                Ok(Err(Cut)) | Err(_) => {
                    watching.remove(&blocker);
                    waiting.not_begun(&blocker);
                }
            }
        }
    }

    /// Sleeps until one of those that are observed is gone, or nothing is told any more.
    async fn sleep(&self, waiting: &Waiting, watching: &Watching) -> Wake {
        type Waking<'a> = Pin<Box<dyn Future<Output = Wake> + Send + 'a>>;
        let here = waiting.observed_here().map(|(blocker, slot)| -> Waking<'_> {
            let slot = self.session.slot(slot, blocker.0);
            Box::pin(async move {
                if let Some(slot) = slot {
                    slot.gone(blocker.0).await;
                }
                Wake::Gone(blocker.clone())
            })
        });
        let watched = watching.iter().map(|(blocker, watched)| -> Waking<'_> {
            Box::pin(async move {
                match watched.deleted(blocker.0).await {
                    Ok(()) => Wake::Gone(blocker.clone()),
                    Err(Cut) => Wake::Cut,
                }
            })
        });
        select_all(here.chain(watched)).await.0
    }
}
