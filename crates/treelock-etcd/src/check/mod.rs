//! What an operator wants to know: whether this cluster is a good place for locks, and what is odd
//! about it.

mod contents;
mod database;
mod history;
mod member;
mod metrics;
mod policy;
mod version;

use std::time::Duration;

use etcd_client::StatusResponse;
use treelock::engine::Finding;

use crate::{error::Error, namespace::Namespace};

use member::{Seen, look_at_all, nobody};

/// Returns what is to be said of this cluster: whether locks work here, and what is odd.
pub(crate) async fn check(namespace: Namespace<'_>, ttl: Duration) -> Result<Vec<Finding>, Error> {
    if namespace.servers.count() == 0 {
        // Any question is answered by the option that is wrong.
        namespace.alarms().await?;
    }
    let mut members = look_at_all(namespace).await;
    if members.iter().all(|member| member.status.is_err()) {
        return Err(nobody(members.swap_remove(0)));
    }
    let mut found: Vec<Finding> = members.iter().map(Seen::finding).collect();
    let answers: Vec<(&Seen, &StatusResponse)> =
        members.iter().filter_map(|member| Some((member, member.status.as_ref().ok()?))).collect();
    found.extend(member::leader(&answers));
    found.push(database::size(&answers));
    found.push(member::clocks(&answers));
    if members.iter().all(|member| member.read.is_err()) {
        // Nobody would answer any of the other questions.
        return Ok(found);
    }
    let asked = [
        namespace.named(&members).await,
        namespace.alarms().await,
        namespace.history().await,
        namespace.lease(ttl).await,
        namespace.right_to_write().await,
        namespace.contents().await,
    ];
    for asked in asked {
        match asked {
            Ok(more) => found.extend(more),
            // That it cannot be found out is worth knowing too.
            Err(error) => found.push(Finding::odd(error.to_string(), "")),
        }
    }
    Ok(found)
}
