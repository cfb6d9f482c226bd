//! What a lease keeps and what it loses.

use std::{future::Future, time::Duration};

use etcd_client::Client;
use treelock::{FencingToken, Request};
use treelock_etcd::{EtcdLock, Options};

use crate::server::{Server, runtime};

fn write(node: &str) -> Request {
    Request::new().write(node).expect("a good node")
}

/// Long enough for anything here, so that only what never comes is late.
const LONG: Duration = Duration::from_secs(30);

async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, happens).await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn lock(server: &Server, ttl: u64) -> EtcdLock {
    EtcdLock::new(&Options::new([&server.endpoint]).ttl(Duration::from_secs(ttl)))
}

#[test]
fn tokens_grow_and_the_lease_is_kept() {
    let Some(server) = Server::start() else { return };
    runtime().block_on(async {
        let lock = lock(&server, 2);
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
        let other = EtcdLock::new(&Options::new([&server.endpoint]));
        assert!(other.try_acquire(&write("a/b")).await.is_err());
        drop(guard);
        let next = within("a dropped guard is released", other.acquire(&write("a/b"))).await;
        drop(next.expect("it works"));
    });
}

/// Somebody ends the lease: the holder learns of it, and asks again in a new session.
#[test]
fn a_lease_that_is_revoked_is_lost() {
    let Some(server) = Server::start() else { return };
    runtime().block_on(async {
        let lock = lock(&server, 4);
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let waiter = tokio::spawn(lock.acquire(&write("a/b")));
        while lock.snapshot().await.expect("it works").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        let lost = guard.lost();
        let mut client = Client::connect([&server.endpoint], None).await.expect("it runs");
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
    let Some(server) = Server::start() else { return };
    runtime().block_on(async {
        let lock = lock(&server, 2);
        let guard = lock.acquire(&write("a")).await.expect("a cluster that works");
        let lost = guard.lost();
        drop(server);
        within("it learns that its lease may have ended", lost).await;
        assert!(!guard.is_valid());
        let error =
            within("it gives up", lock.acquire(&write("b"))).await.expect_err("nobody answers");
        assert!(error.is_unavailable(), "{error}");
    });
}
