//! What a lease keeps and what it loses.

use std::{future::Future, time::Duration};

use etcd_client::Client;
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

/// Somebody takes away what one holds and what another waits for: these are told, and nobody else of the session.
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
        assert!(administrator.revoke(guard.token().0).await.expect("it works"));
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

/// After a restore nobody goes on with what he had, and tokens are larger than all before.
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
        assert!(again.token().0 >= guard.token().0 + (1 << 40), "{}", again.token());
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

/// What others have put or deleted there: nothing is granted beside what cannot be read, nothing is left behind.
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
        let error = lock.acquire_timeout(&write("a/b"), limit).await.expect_err("it still is");
        assert!(error.to_string().contains("W/a/!zz.1 is in the way"), "{error}");
        client.delete("/treelock/default/W/a/!zz.1", None).await.expect("it works");
        lock.settled().await;
        // One of two keys is deleted by hand; the other is released all the same.
        let two = Request::new().write("a").and_then(|request| request.write("b"));
        let guard = lock.acquire(&two.expect("good nodes")).await.expect("it works");
        let all = etcd_client::DeleteOptions::new().with_prefix();
        client.delete("/treelock/default/W/a/", Some(all)).await.expect("it works");
        guard.release().await;
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        // The session's key is deleted by hand, so its entry is nobody's and can be taken away.
        let guard = lock.acquire(&write("a")).await.expect("it works");
        let lost = guard.lost();
        let all = etcd_client::DeleteOptions::new().with_prefix();
        client.delete("/treelock/default/S/", Some(all)).await.expect("it works");
        within("it is told", lost).await;
        assert!(lock.revoke(guard.token().0).await.expect("it works"));
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
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
        assert_eq!(blocked.ticket, held.token().0);
        held.release().await;
        within("it is free", acquire).await.expect("it works").release().await;
        lock.close().await;
        drop(other);
        while !client.leases().await.expect("it works").leases().is_empty() {
            tokio::task::yield_now().await;
        }
    });
}

/// The thread of this crate needs no other; nor do its futures.
#[test]
fn blocking_and_any_executor() {
    let Some(cluster) = Cluster::start(1) else { return };
    let lock = lock(&cluster, 15);
    let guard = lock.blocking().acquire(&write("a")).expect("a cluster that works");
    let error = lock.blocking().try_acquire(&write("a/b")).expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.token().0));
    let limit = Duration::from_millis(50);
    let error = lock.blocking().acquire_timeout(&write("/"), limit).expect_err("it is held");
    assert!(error.is_timeout(), "{error}");
    let until = std::time::Instant::now();
    let error = lock.blocking().acquire_deadline(&write("/"), until).expect_err("it is held");
    assert!(error.is_timeout(), "{error}");
    assert!(lock.blocking().blocked(&write("a")).expect("it works").is_some());
    let waiter = std::thread::spawn({
        let lock = lock.clone();
        move || lock.blocking().acquire(&write("a/b"))
    });
    while lock.blocking().snapshot().expect("it works").waiting().count() == 0 {
        std::thread::yield_now();
    }
    guard.release_blocking();
    drop(waiter.join().expect("no panic").expect("it is free"));
    lock.blocking().settled();
    assert!(lock.blocking().snapshot().expect("it works").entries.is_empty());
    // An executor that knows nothing of tokio.
    futures_executor::block_on(async {
        let guard = lock.acquire(&write("a")).await.expect("it works");
        assert!(lock.try_acquire(&write("a")).await.is_err());
        guard.release().await;
    });
}

/// Many tasks of one session and of several, in a chain: each is told by its own, or by the watch, and none by the
/// safety net.
#[test]
fn a_long_line() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let locks = [(); 3].map(|()| lock(&cluster, 15));
        let first = locks[0].acquire(&write("a")).await.expect("a cluster that works");
        let mut line = tokio::task::JoinSet::new();
        for i in 0..60 {
            let request = if i % 4 == 0 { write("a/b") } else { write("/") };
            let request =
                if i % 7 < 3 { Request::new().read("a/c").expect("a good node") } else { request };
            let waits = locks[i % 3].acquire(&request);
            line.spawn(async move { waits.await.map(|guard| guard.token()) });
        }
        while locks[1].snapshot().await.expect("it works").entries.len() < 61 {
            tokio::task::yield_now().await;
        }
        drop(first);
        while let Some(granted) = within("all are granted", line.join_next()).await {
            granted.expect("no panic").expect("it works");
        }
        assert_eq!(locks.iter().map(EtcdLock::rescued).sum::<u64>(), 0);
    });
}

/// More roots than one transaction can look at, and more entries than one answer holds.
#[test]
fn wide_requests_and_long_tables() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let (lock, other) = (lock(&cluster, 15), lock(&cluster, 15));
        let wide = (0..120).fold(Request::new(), |request, i| {
            request.write(format!("a/{}/{i}", i % 9).as_str()).expect("a good node")
        });
        let guard = lock.acquire(&wide).await.expect("a cluster that works");
        let error = other.try_acquire(&wide).await.expect_err("it is held");
        let blocked = error.blocked().expect("somebody is in the way");
        assert_eq!((blocked.ticket, blocked.ahead), (guard.token().0, 1));
        assert!(other.try_acquire(&write("a/3/3")).await.is_err());
        let waiter = tokio::spawn(other.acquire(&wide));
        while lock.snapshot().await.expect("it works").waiting().count() == 0 {
            tokio::task::yield_now().await;
        }
        let snapshot = lock.snapshot().await.expect("it works");
        assert!(snapshot.entries.iter().all(|entry| entry.roots.len() == 120), "{snapshot}");
        guard.release().await;
        let guard = within("it is free", waiter).await.expect("no panic").expect("it works");
        guard.release().await;
        lock.try_acquire(&wide).await.expect("nobody is in the way").release().await;
        let mut many = Vec::new();
        for i in 0..30 {
            let request = (0..100).fold(Request::new(), |request, j| {
                request.write(format!("b/{i}/{j}").as_str()).expect("a good node")
            });
            many.push(lock.acquire(&request).await.expect("it works"));
        }
        let snapshot = other.snapshot().await.expect("it works");
        assert_eq!(snapshot.entries.len(), 30);
        assert!(snapshot.entries.iter().all(|entry| entry.roots.len() == 100));
        // A lease has room for 5,000 keys; more hang on another.
        for i in 30..60 {
            let request = (0..100).fold(Request::new(), |request, j| {
                request.write(format!("b/{i}/{j}").as_str()).expect("a good node")
            });
            many.push(lock.acquire(&request).await.expect("it works"));
        }
        let mut client = Client::connect(cluster.endpoints(), None).await.expect("it runs");
        let leases = client.leases().await.expect("it works").leases().len();
        assert_eq!(leases, 3, "two of this handle, one of the other");
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
