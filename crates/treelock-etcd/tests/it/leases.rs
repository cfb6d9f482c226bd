//! What a lease keeps and what it loses.

use std::time::Duration;

use etcd_client::Client;
use nix::sys::signal::Signal;
use treelock::FencingToken;
use treelock_etcd::{EtcdLock, Options};

use crate::{
    asking::{lock, within, write},
    server::{Cluster, runtime},
};

#[test]
fn tokens_grow_and_the_lease_is_kept() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 2);
        let mut last = FencingToken::new(0);
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

/// Nobody answers: the session is over before the lease can have ended, and asking says what is
/// wrong.
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

/// A server that takes what it is asked and does not answer keeps nobody from seeing that the time
/// is over.
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

/// Nothing is left of who is done, not even a lease; what is in use stays.
#[test]
fn closing() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let (lock, other) = (lock(&cluster, 60), lock(&cluster, 60));
        let held = other.acquire(&write("b")).await.expect("a cluster that works");
        let acquire = other.acquire(&write("b/c"));
        assert!(acquire.blocked().await.expect("it works").is_none(), "it has not asked");
        drop(lock.acquire(&write("a")).await.expect("it works"));
        lock.close().await;
        other.close().await;
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        assert_eq!(client.leases().await.expect("it works").leases().len(), 1, "that of who holds");
        assert!(held.is_valid());
        // It can be used again.
        let mut acquire = lock.acquire(&write("b/c"));
        let waits = tokio::time::timeout(Duration::from_millis(500), &mut acquire).await;
        assert!(waits.is_err(), "somebody holds it");
        let blocked = acquire.blocked().await.expect("it works").expect("somebody is in the way");
        assert_eq!(blocked.ticket, held.ticket());
        held.release().await;
        within("it is free", acquire).await.expect("it works").release().await;
        lock.close().await;
        drop(other);
        while !client.leases().await.expect("it works").leases().is_empty() {
            tokio::task::yield_now().await;
        }
    });
}
