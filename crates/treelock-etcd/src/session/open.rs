//! Opening a session: a lease, a key that hangs on it, and the tasks that keep it alive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64},
    },
    time::{Duration, Instant},
};

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp, TxnResponse};
use tokio::sync::watch;

use super::{
    Session,
    lease::{Lease, OPEN_TIMEOUT},
    meta::Meta,
    overdue::take_over_overdue_calls,
    renew::keep_alive,
    slots::Slots,
    stream::serve_watches,
    watches::Watches,
};
use crate::{
    cluster::{response::found, servers::Servers},
    error::Error,
    key::Space,
    protocol::session::Identity,
    runtime::background::Background,
};

/// Opens a session and keeps it alive for as long as somebody has it.
pub(crate) async fn open(
    servers: Servers,
    space: Space,
    ttl: Duration,
    background: Background,
) -> Result<Arc<Session>, Error> {
    let (lease, created) = enter(&servers, &space, ttl).await?;
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
    let identity = Identity {
        space: space.clone(),
        id: lease.name(),
        lease: lease.id,
        created: own.map_or(revision, |own| own.create_revision()),
    };
    let (watches, wanted) = Watches::new();
    let session = Arc::new(Session {
        servers,
        space,
        id: lease.name(),
        fencing_epoch: meta.epoch,
        watches,
        background,
        identity: Arc::new(identity),
        epoch: AtomicI64::new(own.map_or(revision, |own| own.mod_revision())),
        deadline: AtomicU64::new(lease.deadline(lease.sent)),
        lease,
        is_over: watch::Sender::new(false),
        is_closed: AtomicBool::new(false),
        slots: Slots::default(),
    });
    tokio::spawn(keep_alive(Arc::downgrade(&session)));
    tokio::spawn(serve_watches(Arc::downgrade(&session), wanted));
    tokio::spawn(take_over_overdue_calls(Arc::downgrade(&session)));
    Ok(session)
}

/// Takes a lease and creates the session's key on it.
async fn enter(
    servers: &Servers,
    space: &Space,
    ttl: Duration,
) -> Result<(Lease, TxnResponse), Error> {
    let start = Instant::now();
    loop {
        let lease = Lease::grant(servers, ttl).await?;
        match create(servers, space, &lease).await {
            // What took longer than the lease lasts is begun again.
            Ok(_) if lease.may_be_over() && start.elapsed() < OPEN_TIMEOUT => {
                lease.revoke(servers).await;
            }
            Ok(created) => return Ok((lease, created)),
            Err(Error::Refused { what, .. })
                if what.contains("lease not found") && start.elapsed() < OPEN_TIMEOUT => {}
            Err(error) => {
                // A user who may not use the namespace must not leave a lease behind either.
                lease.revoke(servers).await;
                return Err(error);
            }
        }
    }
}

/// Creates the key of a session, and reads what holds for the namespace.
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
    servers.insist("open a session", OPEN_TIMEOUT, create).await
}
