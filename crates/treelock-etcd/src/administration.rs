//! What is done for others: to take a lock away, and to begin anew after a restore.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, PutOptions, Txn, TxnOp, TxnResponse};

use crate::{
    error::Error,
    session::Meta,
    sightings::{Standing, Table},
};

/// How long it is tried.
const DOING: Duration = Duration::from_secs(10);

impl Table<'_> {
    /// Take away what a live request has, and say so to its session. Returns whether it was there.
    pub(crate) async fn revoke(self, ticket: u64) -> Result<bool, Error> {
        let Some(standing) = self.standing(ticket).await? else { return Ok(false) };
        if self.delete(&standing, ticket, true).await? {
            return Ok(true);
        }
        // Its session may be over while the entry is still there. Or the first answer was lost, and it is done.
        Ok(self.delete(&standing, ticket, false).await? || self.is_said(&standing, ticket).await?)
    }

    /// Delete an entry if it is still there; and say so to its session, if that is there and there is space.
    async fn delete(self, standing: &Standing, ticket: u64, say: bool) -> Result<bool, Error> {
        let own =
            |key: &Vec<u8>| Compare::create_revision(key.clone(), CompareOp::Equal, ticket as i64);
        let mut compares: Vec<Compare> = standing.keys.iter().map(own).collect();
        let mut operations: Vec<TxnOp> =
            standing.keys.iter().map(|key| TxnOp::delete(key.clone(), None)).collect();
        // The session's lease is its name. What is said to it goes with it.
        if say && let Ok(lease) = u64::from_str_radix(&standing.session, 16) {
            let session = self.space.session(&standing.session);
            compares.push(Compare::create_revision(session, CompareOp::Greater, 0));
            let key = self.space.revoked(&standing.session, standing.slot);
            let options = PutOptions::new().with_lease(lease as i64);
            operations.push(TxnOp::put(key, ticket.to_string(), Some(options)));
        }
        let txn = Txn::new().when(compares).and_then(operations);
        match self.carry_out("take a lock away", txn).await {
            Err(Error::NoSpace) if say => Ok(false),
            answer => answer.map(|answer| answer.succeeded()),
        }
    }

    /// Whether it was said to the session that the entry is taken away.
    async fn is_said(self, standing: &Standing, ticket: u64) -> Result<bool, Error> {
        let key = self.space.revoked(&standing.session, standing.slot);
        let get = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let found = self.servers.insist("take a lock away", DOING, get).await?;
        Ok(found.kvs().iter().any(|kv| kv.value() == ticket.to_string().as_bytes()))
    }

    /// End all sessions and requests, and raise what stands before the revisions in tokens.
    pub(crate) async fn begin_epoch(self) -> Result<u16, Error> {
        loop {
            let key = self.space.meta();
            let get = |client: Arc<Client>| {
                let key = key.clone();
                async move { client.kv_client().get(key, None).await }
            };
            let found = self.servers.insist("begin an epoch", DOING, get).await?;
            let kv = found.kvs().first();
            let meta = Meta::read(kv.map(|kv| kv.value()))?;
            let epoch = meta.epoch.checked_add(1).ok_or_else(|| Error::Unsupported {
                what: "the namespace has had all its epochs; use another namespace".into(),
            })?;
            let value = serde_json::to_vec(&Meta { epoch, ..meta }).expect("it is JSON");
            let seen = kv.map_or(0, |kv| kv.mod_revision());
            let mut operations = vec![TxnOp::put(key.clone(), value, None)];
            operations.extend(self.space.live().map(|(first, end)| {
                TxnOp::delete(first, Some(DeleteOptions::new().with_range(end)))
            }));
            let same = Compare::mod_revision(key.clone(), CompareOp::Equal, seen);
            let txn = Txn::new().when([same]).and_then(operations);
            if self.carry_out("begin an epoch", txn).await?.succeeded() {
                return Ok(epoch);
            }
        }
    }

    /// A transaction whose repetition does no harm.
    async fn carry_out(self, doing: &'static str, txn: Txn) -> Result<TxnResponse, Error> {
        let ask = |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        self.servers.insist(doing, DOING, ask).await
    }
}
