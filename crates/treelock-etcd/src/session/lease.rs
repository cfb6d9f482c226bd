//! A lease, as etcd has granted it: [`Lease`].

use std::{sync::Arc, time::Duration};

use etcd_client::Client;

use crate::{clock, cluster::servers::Servers, error::Error};

/// How long opening a session is attempted.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long giving a lease back is attempted.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Which part of its time a lease certainly lives by our own clock. Clocks may run at different
/// speeds.
const CERTAIN_PART: f64 = 0.9;

/// A lease, as etcd has granted it.
#[derive(Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) id: i64,
    pub(super) ttl: Duration,
    /// When it was asked for.
    pub(super) sent: Duration,
}

impl Lease {
    pub(super) async fn grant(servers: &Servers, ttl: Duration) -> Result<Lease, Error> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        // A grant whose answer is lost leaves a lease without keys, which ends by itself.
        let grant = |client: Arc<Client>| async move {
            let sent = clock::now();
            Ok((sent, client.lease_client().grant(seconds, None).await?))
        };
        let (sent, granted) = servers.insist("open a session", OPEN_TIMEOUT, grant).await?;
        // etcd has a shortest time of its own.
        let ttl = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        Ok(Lease { id: granted.id(), ttl, sent })
    }

    /// Returns the name of the session that hangs on it.
    pub(super) fn name(&self) -> String {
        format!("{:x}", self.id as u64)
    }

    /// Returns until when it certainly lives if it was renewed at `sent`, in nanoseconds of the
    /// clock of the boot.
    pub(super) fn deadline(&self, sent: Duration) -> u64 {
        (sent + self.ttl.mul_f64(CERTAIN_PART)).as_nanos() as u64
    }

    /// Returns whether it may have ended if it was never renewed.
    pub(super) fn may_be_over(&self) -> bool {
        clock::now().as_nanos() as u64 >= self.deadline(self.sent)
    }

    /// Gives it back. A lease that cannot be given back ends by itself.
    pub(super) async fn revoke(&self, servers: &Servers) {
        let id = self.id;
        let revoke = |client: Arc<Client>| async move { client.lease_client().revoke(id).await };
        let _ = servers.insist("close a session", REVOKE_TIMEOUT, revoke).await;
    }
}
