//! What others do to a namespace: take locks away, begin an epoch, write and delete keys.

use std::time::Duration;

use etcd_client::{Client, DeleteOptions};
use treelock::Request;
use treelock_etcd::{EtcdLock, Options};

use crate::{
    asking::{acquire_within, lock, within, write},
    server::{Cluster, runtime},
};

/// Somebody takes away what one holds and what another waits for: these are told, and nobody else
/// of the session.
#[test]
fn a_lock_that_is_taken_away() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 15);
        let other = lock.acquire(&write("b")).await.expect("a cluster that works");
        let two = Request::new().write("a").and_then(|request| request.read("c"));
        let guard = lock.acquire(&two.expect("good nodes")).await.expect("it works");
        let waiter = tokio::spawn(lock.acquire(&write("a/b")));
        let ticket = loop {
            let snapshot = lock.snapshot().await.expect("it works");
            if let Some(waiting) = snapshot.waiting().next() {
                break waiting.ticket;
            }
        };
        let behind = tokio::spawn(lock.acquire(&write("a/b/c")));
        while lock.snapshot().await.expect("it works").waiting().count() < 2 {
            tokio::task::yield_now().await;
        }
        let administrator = EtcdLock::new(&Options::new(cluster.endpoints()));
        assert!(!administrator.revoke(1).await.expect("it works"), "nobody has this ticket");
        assert!(administrator.revoke(ticket).await.expect("it works"));
        let waited = within("it is told", waiter).await.expect("no panic");
        assert!(waited.expect_err("its place is lost").is_lost());
        assert!(guard.is_valid() && other.is_valid());
        let lost = guard.lost();
        assert!(administrator.revoke(guard.ticket()).await.expect("it works"));
        within("the holder is told", lost).await;
        assert!(!guard.is_valid() && other.is_valid());
        let behind = within("who is behind goes on", behind).await.expect("no panic");
        let behind = behind.expect("it works");
        guard.release().await;
        assert!(behind.is_valid(), "what was lost is not released once more");
        assert!(!administrator.revoke(ticket).await.expect("it works"), "it is gone");
        drop((other, behind));
        lock.settled().await;
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        assert_eq!(lock.rescued(), 0);
    });
}

/// After a restore nobody goes on with what it had, and tokens are larger than all before.
#[test]
fn a_new_epoch() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let (lock, other) = (lock(&cluster, 15), lock(&cluster, 15));
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let waiter = tokio::spawn(other.acquire(&write("a")));
        while lock.snapshot().await.expect("it works").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        let lost = guard.lost();
        let administrator = EtcdLock::new(&Options::new(cluster.endpoints()));
        assert_eq!(administrator.begin_epoch().await.expect("it works"), 1);
        within("the holder is told", lost).await;
        let waited = within("the waiter too", waiter).await.expect("no panic");
        assert!(waited.expect_err("its place is lost").is_lost());
        let again = lock.acquire(&write("a")).await.expect("a new session");
        let raised = guard.token().get() + (1 << 40);
        assert!(again.token().get() >= raised, "{}", again.token());
        assert_eq!(administrator.begin_epoch().await.expect("it works"), 2);
        drop((guard, again));
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        client
            .put("/treelock/default/M", r#"{"protocol":9,"epoch":2}"#, None)
            .await
            .expect("it works");
        // It may not have heard yet that its session is over.
        let error = loop {
            match lock.acquire(&write("a")).await {
                Err(error) if error.is_lost() => {}
                other => break other.expect_err("another version"),
            }
        };
        assert!(error.to_string().contains("another version"), "{error}");
    });
}

/// What others have put or deleted there: nothing is granted beside what cannot be read, nothing is
/// left behind.
#[test]
fn a_namespace_that_others_write_to() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        within("it has started", cluster.leader()).await;
        let lock = lock(&cluster, 15);
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        client.put("/treelock/default/W/a/!zz.1", "x", None).await.expect("it works");
        let error = lock.try_acquire(&write("a/b")).await.expect_err("a key is in the way");
        assert!(error.to_string().contains("not an entry of this lock"), "{error}");
        let limit = Duration::from_millis(50);
        let error = acquire_within(&lock, &write("a/b"), limit).await.expect_err("it still is");
        assert!(error.to_string().contains("W/a/!zz.1 is in the way"), "{error}");
        client.delete("/treelock/default/W/a/!zz.1", None).await.expect("it works");
        lock.settled().await;
        // One of two keys is deleted by hand; the other is released all the same.
        let two = Request::new().write("a").and_then(|request| request.write("b"));
        let guard = lock.acquire(&two.expect("good nodes")).await.expect("it works");
        let all = DeleteOptions::new().with_prefix();
        client.delete("/treelock/default/W/a/", Some(all)).await.expect("it works");
        guard.release().await;
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        // The session's key is deleted by hand, so its entry is nobody's and can be taken away.
        let guard = lock.acquire(&write("a")).await.expect("it works");
        let lost = guard.lost();
        let all = DeleteOptions::new().with_prefix();
        client.delete("/treelock/default/S/", Some(all)).await.expect("it works");
        within("it is told", lost).await;
        assert!(lock.revoke(guard.ticket()).await.expect("it works"));
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        let again = within("a new session", lock.acquire(&write("a"))).await.expect("it works");
        assert!(again.token() > guard.token());
    });
}
