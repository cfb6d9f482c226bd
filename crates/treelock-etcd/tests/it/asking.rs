//! How the tests ask, and how long they wait.

use std::{future::Future, time::Duration};

use treelock::Request;
use treelock_etcd::{Error, EtcdLock, Guard, Options};

use crate::server::Cluster;

pub(crate) fn write(node: &str) -> Request {
    Request::new().write(node).expect("a good node")
}

/// Long enough for anything here, so that only what never comes is late.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) async fn within<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, happens).await.unwrap_or_else(|_| panic!("never: {what}"))
}

pub(crate) fn lock(cluster: &Cluster, ttl: u64) -> EtcdLock {
    EtcdLock::new(&Options::new(cluster.endpoints()).ttl(Duration::from_secs(ttl)))
}

/// Waits for so long, and then gives up.
pub(crate) async fn acquire_within(
    lock: &EtcdLock,
    request: &Request,
    limit: Duration,
) -> Result<Guard, Error> {
    let mut acquire = lock.acquire(request);
    match tokio::time::timeout(limit, &mut acquire).await {
        Ok(granted) => granted,
        Err(_) => acquire.give_up().await,
    }
}

/// Takes a lock and gives it back.
pub(crate) async fn works(options: &Options) {
    let guard = within("it is granted", EtcdLock::new(options).acquire(&write("a"))).await;
    guard.expect("good options").release().await;
}

/// What is said to one who asks.
pub(crate) async fn refused(options: &Options) -> Error {
    let asked = within("it is told", EtcdLock::new(options).acquire(&write("a"))).await;
    asked.expect_err("something is wrong")
}
