//! What a namespace contains, and what it should not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use etcd_client::{Client, GetOptions};
use treelock::engine::Finding;

use super::member::{CHECK_TIMEOUT, CLOCK_DIFFERENCE_MAX};
use crate::{clock::since_1970, error::Error, key::Space, namespace::Namespace, value::Value};

/// How many keys are read at once.
const KEYS_PER_PAGE: i64 = 1000;

impl Namespace<'_> {
    /// Checks what the namespace contains, and what it should not.
    pub(super) async fn contents(&self) -> Result<Vec<Finding>, Error> {
        let (mut first, end) = self.space.all();
        let mut contents = Contents::default();
        let mut revision = 0;
        loop {
            let get = |client: Arc<Client>| {
                let options = GetOptions::new().with_range(end.clone());
                let options = options.with_limit(KEYS_PER_PAGE).with_revision(revision);
                let first = first.clone();
                async move { client.kv_client().get(first, Some(options)).await }
            };
            let answer = self.servers.insist("look at the locks", CHECK_TIMEOUT, get).await?;
            if revision == 0 {
                revision = answer.header().map_or(0, |header| header.revision());
            }
            for kv in answer.kvs() {
                contents.see(self.space, kv);
            }
            let Some(last) = answer.kvs().last().filter(|_| answer.more()) else { break };
            first = [last.key(), &[0]].concat();
        }
        Ok(contents.findings())
    }
}

/// What a namespace contains.
#[derive(Default)]
struct Contents {
    sessions: usize,
    tickets: BTreeSet<i64>,
    /// Keys without a lease, which nothing ends.
    endless: Names,
    /// Keys among the entries that cannot be read.
    unreadable: Names,
    /// Other keys that are not ours.
    foreign: Names,
    /// Entries that were written in the future.
    early: Names,
}

impl Contents {
    fn see(&mut self, space: &Space, kv: &etcd_client::KeyValue) {
        let key = kv.key();
        if key == space.meta() {
            return;
        }
        let is_entry = space.read(key).is_some();
        if space.is_session(key) {
            self.sessions += 1;
        } else if is_entry && let Ok(value) = serde_json::from_slice::<Value>(kv.value()) {
            self.tickets.insert(kv.create_revision());
            if Duration::from_millis(value.since) > since_1970() + CLOCK_DIFFERENCE_MAX {
                self.early.add(key);
            }
        } else if space.entries().iter().any(|(first, end)| **first <= *key && *key < **end) {
            self.unreadable.add(key);
            return;
        } else {
            self.foreign.add(key);
            return;
        }
        if kv.lease() == 0 {
            self.endless.add(key);
        }
    }

    fn findings(&self) -> Vec<Finding> {
        let count = |number: usize, one: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {one}s"),
        };
        let (requests, sessions) = (self.tickets.len(), self.sessions);
        let are = if requests == 1 { "is" } else { "are" };
        let live = Finding::good(format!(
            "{} {are} live, and {}",
            count(requests, "request"),
            count(sessions, "session")
        ));
        let endless = self.endless.finding(
            Finding::bad,
            "without a lease, and so without an end",
            "find out whether their owners are alive; if not, delete them with `etcdctl del`",
        );
        let unreadable = self.unreadable.finding(
            Finding::bad,
            "among the requests, and unreadable; others may wait for ever",
            "find out who wrote them, and delete them with `etcdctl del`",
        );
        let foreign = self.foreign.finding(
            Finding::odd,
            "not a lock, and in nobody's way",
            "find out who wrote them",
        );
        let early = self.early.finding(
            Finding::odd,
            "written in the future, by the clock of this machine",
            "set the clocks: locks do not need them, but the ages that are shown do",
        );
        [Some(live), endless, unreadable, foreign, early].into_iter().flatten().collect()
    }
}

/// Some keys, the first of which is shown.
#[derive(Default)]
struct Names {
    first: Option<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, key: &[u8]) {
        self.first.get_or_insert_with(|| key.escape_ascii().to_string());
        self.count += 1;
    }

    fn finding(
        &self,
        kind: impl FnOnce(String, String) -> Finding,
        what: &str,
        advice: &str,
    ) -> Option<Finding> {
        let first = self.first.as_ref()?;
        let keys = match self.count {
            1 => format!("1 key ({first})"),
            count => format!("{count} keys ({first} is the first)"),
        };
        Some(kind(format!("{keys}: {what}"), advice.into()))
    }
}
