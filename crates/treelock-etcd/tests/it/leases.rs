//! What a lease keeps and what it loses.

use std::{future::Future, time::Duration};

use etcd_client::{Client, DeleteOptions};
use nix::sys::signal::Signal;
use treelock::{FencingToken, Request};
use treelock_etcd::{EtcdLock, Options};

use crate::server::{Cluster, runtime};

pub(crate) fn write(node: &str) -> Request {
    Request::new().write(node).expect("a good node")
}

/// Long enough for anything here, so that only what never comes is late.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, happens).await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn lock(cluster: &Cluster, ttl: u64) -> EtcdLock {
    EtcdLock::new(&Options::new(cluster.endpoints()).ttl(Duration::from_secs(ttl)))
}

#[test]
fn tokens_grow_and_the_lease_is_kept() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 2);
        let mut last = FencingToken(0);
        for _ in 0..3 {
            let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
            assert!(guard.token() > last && guard.is_valid());
            last = guard.token();
            guard.release().await;
        }
        // Longer than its lease, which is renewed meanwhile.
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(guard.is_valid());
        let other = EtcdLock::new(&Options::new(cluster.endpoints()));
        assert!(other.try_acquire(&write("a/b")).await.is_err());
        drop(guard);
        let next = within("a dropped guard is released", other.acquire(&write("a/b"))).await;
        drop(next.expect("it works"));
    });
}

/// Somebody ends the lease: the holder learns of it, and asks again in a new session.
#[test]
fn a_lease_that_is_revoked_is_lost() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 4);
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let waiter = tokio::spawn(lock.acquire(&write("a/b")));
        while lock.snapshot().await.expect("it works").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        let lost = guard.lost();
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        for lease in client.leases().await.expect("it works").leases() {
            client.lease_revoke(lease.id()).await.expect("it was there");
        }
        within("it learns of the loss", lost).await;
        assert!(!guard.is_valid());
        let error = within("the waiter too", waiter)
            .await
            .expect("no panic")
            .expect_err("its place is lost");
        assert!(error.is_lost(), "{error}");
        let again = within("a new session", lock.acquire(&write("a"))).await.expect("it works");
        assert!(again.token() > guard.token());
        drop(guard);
        assert!(again.is_valid());
    });
}

/// Nobody answers: the session is over before the lease can have ended, and asking says what is wrong.
#[test]
fn a_server_that_is_gone() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 2);
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let lost = guard.lost();
        drop(cluster);
        within("it learns that its lease may have ended", lost).await;
        assert!(!guard.is_valid());
        let error =
            within("it gives up", lock.acquire(&write("b"))).await.expect_err("nobody answers");
        assert!(error.is_unavailable(), "{error}");
    });
}

/// A server that takes what it is asked and does not answer keeps nobody from seeing that the time is over.
#[test]
fn a_server_that_is_paused() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 2);
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let lost = guard.lost();
        cluster.members[0].signal(Signal::SIGSTOP);
        within("it learns that its lease may have ended", lost).await;
        assert!(!guard.is_valid());
        cluster.members[0].signal(Signal::SIGCONT);
        let again = within("a new session", lock.acquire(&write("a"))).await.expect("it works");
        assert!(again.token() > guard.token());
    });
}

/// Somebody deletes the entry of one who waits: that one has lost its place, and nobody else of its session.
#[test]
fn an_entry_that_is_deleted() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 15);
        let other = lock.acquire(&write("b")).await.expect("a cluster that works");
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let waiter = tokio::spawn(lock.acquire(&write("a/b")));
        while lock.snapshot().await.expect("it works").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        let all = DeleteOptions::new().with_prefix();
        client.delete("/treelock/default/W/a/b/", Some(all)).await.expect("it works");
        guard.release().await;
        let waited = within("it is told", waiter).await.expect("no panic");
        assert!(waited.expect_err("its place is lost").is_lost());
        assert!(other.is_valid());
        other.release().await;
    });
}

#[test]
fn requests_that_etcd_cannot_take() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 15);
        let many = (0..200).fold(Request::new(), |request, i| {
            request.write(format!("a/{i}").as_str()).expect("a good node")
        });
        let error = lock.acquire(&many).await.expect_err("etcd takes fewer operations");
        assert!(error.to_string().contains("ask for fewer or wider roots"), "{error}");
        let node = |text: &str| text.parse().expect("a good node");
        let elsewhere =
            Request::new().with_ancestors(treelock::Access::Write, node("7"), [node("3")]);
        let error = lock.acquire(&elsewhere).await.expect_err("names lead nowhere else");
        assert!(error.to_string().contains("where their names say"), "{error}");
        // Nothing was left, and the lock works.
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        lock.acquire(&write("a")).await.expect("it works").release().await;
    });
}
