//! Requests that are many, wide, or too much for etcd.

use etcd_client::Client;
use treelock::Request;
use treelock_etcd::EtcdLock;

use crate::{
    asking::{lock, within, write},
    server::{Cluster, runtime},
};

/// Many tasks of one session and of several, in a chain: each is told by its own, or by the watch,
/// and none by the safety net.
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
        assert_eq!((blocked.ticket, blocked.ahead), (guard.ticket(), 1));
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
        assert!(error.to_string().contains("where its name says"), "{error}");
        // Nothing was left, and the lock works.
        assert!(lock.snapshot().await.expect("it works").entries.is_empty());
        lock.acquire(&write("a")).await.expect("it works").release().await;
    });
}
