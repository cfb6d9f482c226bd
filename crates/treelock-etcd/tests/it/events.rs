//! What a listener is told.

use std::time::Duration;

use etcd_client::{Client, CompactionOptions};
use treelock::{
    Request,
    engine::{Events, What},
};
use treelock_etcd::{Error, EtcdLock, Options};

use crate::{
    asking::{lock, within, write},
    server::{Cluster, runtime},
};

/// The next event, in short. What cannot be read at the moment is waited for.
async fn told(events: &mut Events<Error>) -> String {
    let event = loop {
        match within("something is told", events.next()).await {
            Ok(event) => break event,
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
    };
    let roots = event.request().map(|seen| seen.request.to_string()).unwrap_or_default();
    match event.what {
        What::Live(state, _) => format!("live {state} {roots}"),
        What::Asked(_) => format!("asked {roots}"),
        What::Granted(_) => format!("granted {roots}"),
        What::Left(state, _) => format!("left {state} {roots}"),
        What::Missed(count) => format!("missed {count:?}"),
        _ => unreachable!("these are all"),
    }
}

async fn listen(lock: &EtcdLock) -> Events<Error> {
    lock.events().await.expect("there is a thread")
}

#[test]
fn requests_of_all_sessions_with_all_their_roots() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let (one, other) = (lock(&cluster, 15), lock(&cluster, 15));
        let two = Request::new().write("a").and_then(|request| request.read("c"));
        let holder = one.acquire(&two.expect("good nodes")).await.expect("it works");
        let mut events = listen(&lock(&cluster, 15)).await;
        assert_eq!(told(&mut events).await, "live held write /a, read /c");
        let waiter = tokio::spawn(other.acquire(&write("a/b")));
        assert_eq!(told(&mut events).await, "asked write /a/b");
        // Nobody has it, so nobody is in the way.
        let nothing = other.acquire(&Request::new()).await.expect("it works");
        assert_eq!(told(&mut events).await, "asked nothing");
        assert_eq!(told(&mut events).await, "granted nothing");
        assert!(other.revoke(holder.ticket()).await.expect("it works"));
        assert_eq!(told(&mut events).await, "left held write /a, read /c");
        assert_eq!(told(&mut events).await, "granted write /a/b");
        waiter.await.expect("no panic").expect("it works").release().await;
        assert_eq!(told(&mut events).await, "left held write /a/b");
        drop(nothing);
        assert_eq!(told(&mut events).await, "left held nothing");
    });
}

#[test]
fn a_lease_that_ends_is_told() {
    let Some(cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let mut events = listen(&lock(&cluster, 15)).await;
        let holder = lock(&cluster, 15).acquire(&write("a")).await.expect("it works");
        for what in ["asked write /a", "granted write /a"] {
            // The listening may have begun later.
            match told(&mut events).await.as_str() {
                "live held write /a" => break,
                event => assert_eq!(event, what),
            }
        }
        let client = Client::connect(cluster.endpoints(), None).await.expect("it answers");
        let leases = client.lease_client().leases().await.expect("it works");
        for lease in leases.leases() {
            client.lease_client().revoke(lease.id()).await.expect("it works");
        }
        assert_eq!(told(&mut events).await, "left held write /a");
        drop(holder);
    });
}

/// The listener has one member only, which is away while others go on and etcd forgets.
#[test]
fn what_etcd_has_forgotten_is_said_to_be_missing() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    runtime().block_on(async {
        let leader = within("a leader is elected", cluster.leader()).await;
        let away = (leader + 1) % 3;
        let endpoints = cluster.endpoints();
        let others = [&endpoints[leader], &endpoints[(leader + 2) % 3]];
        let listener = EtcdLock::new(&Options::new([&endpoints[away]]));
        let lock = EtcdLock::new(&Options::new(others).ttl(Duration::from_secs(60)));
        let first = lock.acquire(&write("a")).await.expect("it works");
        let mut events = listen(&listener).await;
        assert_eq!(told(&mut events).await, "live held write /a");
        let second = lock.acquire(&write("b")).await.expect("it works");
        assert_eq!(told(&mut events).await, "asked write /b");
        assert_eq!(told(&mut events).await, "granted write /b");
        cluster.members[away].kill();
        first.release().await;
        for _ in 0..3 {
            lock.acquire(&write("c")).await.expect("it works").release().await;
        }
        let third = lock.acquire(&write("d")).await.expect("it works");
        let client = Client::connect(others, None).await.expect("it answers");
        let last = third.ticket() as i64;
        let physical = CompactionOptions::new().with_physical();
        client.kv_client().compact(last, Some(physical)).await.expect("it works");
        cluster.members[away].start_again();
        assert_eq!(told(&mut events).await, "missed None");
        assert_eq!(told(&mut events).await, "left held write /a");
        assert_eq!(told(&mut events).await, "asked write /d");
        assert_eq!(told(&mut events).await, "granted write /d");
        second.release().await;
        assert_eq!(told(&mut events).await, "left held write /b");
        drop(third);
        assert_eq!(told(&mut events).await, "left held write /d");
    });
}

/// Nothing is missed if etcd has not forgotten it.
#[test]
fn a_member_that_is_started_again() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    runtime().block_on(async {
        let lock = lock(&cluster, 60);
        let mut events = listen(&lock).await;
        let first = lock.acquire(&write("a")).await.expect("it works");
        let mut event = told(&mut events).await;
        if event == "asked write /a" {
            event = told(&mut events).await.replace("granted", "live held");
        }
        assert_eq!(event, "live held write /a");
        cluster.members[0].kill();
        cluster.members[0].start_again();
        within("it is released", first.release()).await;
        assert_eq!(told(&mut events).await, "left held write /a");
    });
}
