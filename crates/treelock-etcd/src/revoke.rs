//! What an administrator does: taking a lock away, and beginning an epoch after a restore.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnResponse};

use crate::{
    error::Error, look::Located, namespace::Namespace, protocol::revoke::revoke,
    session::meta::Meta, wire,
};

/// How long each of these is attempted.
const ADMINISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

impl Namespace<'_> {
    /// Takes away what a live request has, and tells its session. Returns whether it was there.
    pub(crate) async fn revoke(self, ticket: u64) -> Result<bool, Error> {
        let Some(located) = self.locate(ticket).await? else { return Ok(false) };
        if self.delete(&located, ticket, true).await? {
            return Ok(true);
        }
        // Its session may be over while the entry is still there. Or the first answer was lost, and
        // it is done.
        Ok(self.delete(&located, ticket, false).await? || self.is_told(&located, ticket).await?)
    }

    /// Deletes an entry if it is still there, and tells its session, if that is there and there is
    /// space.
    async fn delete(self, located: &Located, ticket: u64, tell: bool) -> Result<bool, Error> {
        let Located { session, slot, keys } = located;
        let txn = revoke(self.space, session, *slot, keys, ticket as i64, tell);
        let txn = wire::encode(txn);
        match self.carry_out("take a lock away", txn).await {
            Err(Error::NoSpace) if tell => Ok(false),
            answer => answer.map(|answer| answer.succeeded()),
        }
    }

    /// Returns whether the session was told that the entry was taken away.
    async fn is_told(self, located: &Located, ticket: u64) -> Result<bool, Error> {
        let key = self.space.revoked(&located.session, located.slot);
        let get = |client: Arc<Client>| {
            let key = key.clone();
            async move { client.kv_client().get(key, None).await }
        };
        let found = self.servers.insist("take a lock away", ADMINISTRATION_TIMEOUT, get).await?;
        Ok(found.kvs().iter().any(|kv| kv.value() == ticket.to_string().as_bytes()))
    }

    /// Ends all sessions and requests, and raises the high bits of tokens.
    pub(crate) async fn begin_epoch(self) -> Result<u16, Error> {
        loop {
            let key = self.space.meta();
            let get = |client: Arc<Client>| {
                let key = key.clone();
                async move { client.kv_client().get(key, None).await }
            };
            let found = self.servers.insist("begin an epoch", ADMINISTRATION_TIMEOUT, get).await?;
            let kv = found.kvs().first();
            let meta = Meta::read(kv.map(|kv| kv.value()))?;
            let epoch = meta.epoch.checked_add(1).ok_or_else(|| Error::Unsupported {
                what: "the namespace has used all its epochs; use another namespace".into(),
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

    /// Carries out a transaction whose repetition does no harm.
    async fn carry_out(self, doing: &'static str, txn: Txn) -> Result<TxnResponse, Error> {
        let ask = |client: Arc<Client>| {
            let txn = txn.clone();
            async move { client.kv_client().txn(txn).await }
        };
        self.servers.insist(doing, ADMINISTRATION_TIMEOUT, ask).await
    }
}
