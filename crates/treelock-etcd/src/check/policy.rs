//! What the cluster allows: alarms, leases, the right to write.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use etcd_client::{AlarmAction, AlarmType, Client, Compare, CompareOp, Txn, TxnOp};
use treelock::engine::Finding;

use super::member::CHECK_TIMEOUT;
use crate::{error::Error, namespace::Namespace};

impl Namespace<'_> {
    /// Checks whether an alarm is raised.
    pub(super) async fn alarms(&self) -> Result<Vec<Finding>, Error> {
        let ask = |client: Arc<Client>| async move {
            client.maintenance_client().alarm(AlarmAction::Get, AlarmType::None, None).await
        };
        let answer = self.servers.insist("read the alarms", CHECK_TIMEOUT, ask).await?;
        let kinds: BTreeSet<i32> =
            answer.alarms().iter().map(|alarm| alarm.alarm() as i32).collect();
        let finding = |kind: i32| {
            if kind == AlarmType::Nospace as i32 {
                Finding::bad(
                    "alarm NOSPACE: etcd has no space left and accepts nothing new",
                    "compact and defragment it, raise its quota, then `etcdctl alarm disarm`",
                )
            } else {
                Finding::bad(
                    "alarm CORRUPT: the members' data differ, so a lock may have two holders",
                    "stop everything that uses it, and see etcd's manual on data corruption",
                )
            }
        };
        Ok(match kinds.is_empty() {
            true => vec![Finding::good("no alarm is raised")],
            false => kinds.into_iter().map(finding).collect(),
        })
    }

    /// Checks whether etcd grants the leases that are asked for.
    pub(super) async fn lease(&self, ttl: Duration) -> Result<Vec<Finding>, Error> {
        let asked = ttl.as_secs().max(1) as i64;
        let take =
            |client: Arc<Client>| async move { client.lease_client().grant(asked, None).await };
        let lease = match self.servers.insist("take a lease", CHECK_TIMEOUT, take).await {
            // This is an alarm as well, or will be.
            Err(Error::NoSpace) => {
                return Ok(vec![Finding::bad(Error::NoSpace.to_string(), "")]);
            }
            lease => lease?,
        };
        let id = lease.id();
        let give_back = |client: Arc<Client>| async move { client.lease_client().revoke(id).await };
        // If this fails, the lease ends by itself.
        let _ = self.servers.ask("give a lease back", give_back).await;
        let granted = lease.ttl();
        Ok(vec![match granted == asked {
            true => Finding::good(format!("a dead holder's lock is free after {asked} s")),
            false => Finding::odd(
                format!(
                    "leases of {asked} s are asked for and etcd grants {granted} s, so the locks \
                     of dead holders stay longer"
                ),
                format!(
                    "ask for {granted} s, or lower etcd's election timeout, which determines the \
                     shortest lease"
                ),
            ),
        }])
    }

    /// Checks whether this user may write. The write depends on a condition that never holds: etcd
    /// checks the user's rights all the same, and writes nothing.
    pub(super) async fn right_to_write(&self) -> Result<Vec<Finding>, Error> {
        let key = self.space.meta();
        let never = Compare::create_revision(key.clone(), CompareOp::Less, 0);
        let txn = Txn::new().when([never]).and_then([TxnOp::put(key, "", None)]);
        let ask = |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        match self.servers.insist("write into the namespace", CHECK_TIMEOUT, ask).await {
            Err(error @ Error::Denied { .. }) => Ok(vec![Finding::bad(error.to_string(), "")]),
            // The check of the lease reports this.
            Ok(_) | Err(Error::NoSpace) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
