//! How much history etcd keeps.

use std::sync::Arc;

use etcd_client::{Client, GetOptions, WatchOptions};
use treelock::engine::Finding;

use super::member::CHECK_TIMEOUT;
use crate::{error::Error, namespace::Namespace};

/// How many revisions are normal where etcd compacts itself, or soon will.
const COMPACTED_REVISIONS_MAX: i64 = 1_000_000;

/// How many revisions without any compaction make it doubtful that there ever will be one.
const UNCOMPACTED_REVISIONS_MAX: i64 = 10_000;

impl Namespace<'_> {
    /// Checks how many revisions etcd keeps. Whether it compacts itself is shown nowhere, but the
    /// effect is.
    pub(super) async fn history(&self) -> Result<Vec<Finding>, Error> {
        let doing = "find out what was compacted";
        let key = self.space.meta();
        let get = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let answer = self.servers.insist(doing, CHECK_TIMEOUT, get).await?;
        let now = answer.header().map_or(0, |header| header.revision());
        // A watch that begins in what was compacted is told where the history begins. It gets no
        // answer if nothing was compacted, so something is read there first.
        let first = |client: Arc<Client>| {
            let key = key.clone();
            let options = GetOptions::new().with_revision(1);
            async move { client.kv_client().get(key, Some(options)).await }
        };
        let compacted = match self.servers.insist(doing, CHECK_TIMEOUT, first).await {
            Ok(_) => 0,
            Err(Error::Refused { what, .. }) if what.contains("has been compacted") => {
                let watch = |client: Arc<Client>| {
                    let key = key.clone();
                    async move { compacted_at(&client, key).await }
                };
                self.servers.insist(doing, CHECK_TIMEOUT, watch).await?
            }
            Err(error) => return Err(error),
        };
        Ok(vec![judge_history(now - compacted, compacted > 0)])
    }
}

/// Returns the revision up to which etcd was compacted.
async fn compacted_at(client: &Client, key: Vec<u8>) -> Result<i64, etcd_client::Error> {
    let options = WatchOptions::new().with_start_revision(1);
    let mut watch = client.watch_client().watch(key, Some(options)).await?;
    while let Some(message) = watch.message().await? {
        if message.compact_revision() > 0 {
            return Ok(message.compact_revision());
        }
    }
    Ok(0)
}

/// Judges the length of etcd's history.
fn judge_history(revisions: i64, compacted: bool) -> Finding {
    let what = match compacted {
        true => format!("etcd keeps {revisions} revisions since it was compacted last"),
        false => format!("etcd was never compacted; it is at revision {revisions}"),
    };
    match revisions > if compacted { COMPACTED_REVISIONS_MAX } else { UNCOMPACTED_REVISIONS_MAX } {
        true => Finding::odd(
            format!("{what}; nothing seems to compact it, so it will be full one day"),
            "start the members with --auto-compaction-mode revision \
             --auto-compaction-retention 10000",
        ),
        false => Finding::good(what),
    }
}

#[cfg(test)]
mod tests {
    use treelock::engine::Severity;

    use super::*;

    #[test]
    fn histories() {
        for (revisions, compacted, severity) in [
            (10_000, false, Severity::Good),
            (10_001, false, Severity::Odd),
            (1_000_000, true, Severity::Good),
            (1_000_001, true, Severity::Odd),
        ] {
            assert_eq!(judge_history(revisions, compacted).severity, severity, "{revisions}");
        }
    }
}
