//! Members that die, pause and come back, under a lock that is in use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;
use treelock::Request;
use treelock_etcd::{EtcdLock, Options};

use crate::{
    asking::{within, write},
    server::{Cluster, runtime},
};

/// What the lock guards, watched without asking the lock.
#[derive(Default)]
struct Guarded {
    inside: AtomicI32,
    last_token: AtomicU64,
    sections: AtomicU64,
    lost: AtomicU64,
    stop: AtomicBool,
}

impl Guarded {
    /// Waits until the lock was given twenty times more.
    async fn go_on(&self) {
        let start = self.sections.load(Ordering::SeqCst);
        while self.sections.load(Ordering::SeqCst) < start + 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Takes the lock, works, gives it back, until it is told to stop.
async fn work(lock: EtcdLock, request: Request, guarded: Arc<Guarded>) {
    while !guarded.stop.load(Ordering::SeqCst) {
        let guard = match lock.acquire(&request).await {
            Ok(guard) => guard,
            Err(error) => {
                assert!(error.is_lost() || error.is_unavailable(), "{error}");
                guarded.lost.fetch_add(1, Ordering::SeqCst);
                continue;
            }
        };
        assert_eq!(guarded.inside.fetch_add(1, Ordering::SeqCst), 0, "two inside");
        let before = guarded.last_token.swap(guard.ticket(), Ordering::SeqCst);
        assert!(before < guard.ticket(), "the token went back");
        tokio::time::sleep(Duration::from_millis(2)).await;
        guarded.inside.fetch_sub(1, Ordering::SeqCst);
        guarded.sections.fetch_add(1, Ordering::SeqCst);
        guard.release().await;
    }
}

/// Lets workers with sessions of their own contend while something is done to a cluster of three;
/// nobody may meet, and all go on afterwards. Returns how many places were lost; `None` if there is
/// no etcd.
fn under_load(fault: impl AsyncFnOnce(&mut Cluster)) -> Option<u64> {
    let mut cluster = Cluster::start(3)?;
    let options = Options::new(cluster.endpoints());
    Some(runtime().block_on(async {
        within("a leader is elected", cluster.leader()).await;
        let guarded = Arc::new(Guarded::default());
        let start = |node| {
            let lock = EtcdLock::new(&options);
            tokio::spawn(work(lock, write(node), guarded.clone()))
        };
        let workers = ["a", "a", "/", "a"].map(start);
        within("they work", guarded.go_on()).await;
        fault(&mut cluster).await;
        within("they go on", guarded.go_on()).await;
        guarded.stop.store(true, Ordering::SeqCst);
        for worker in workers {
            within("a worker ends", worker).await.expect("no panic");
        }
        let rest = EtcdLock::new(&options).snapshot().await.expect("it works again");
        assert!(rest.entries.is_empty(), "left behind:\n{rest}");
        guarded.lost.load(Ordering::SeqCst)
    }))
}

#[test]
fn a_leader_that_is_killed() {
    let lost = under_load(async |cluster| {
        let leader = cluster.leader().await;
        cluster.members[leader].kill();
        within("another leads", cluster.leader()).await;
        cluster.members[leader].start_again();
    });
    assert_eq!(lost.unwrap_or(0), 0, "sessions were lost");
}

#[test]
fn a_follower_that_is_killed() {
    let lost = under_load(async |cluster| {
        let leader = cluster.leader().await;
        let follower = (leader + 1) % cluster.members.len();
        cluster.members[follower].kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.members[follower].start_again();
    });
    assert_eq!(lost.unwrap_or(0), 0, "sessions were lost");
}

/// For less than a lease lasts: the others elect a new one, and renewals go to them.
#[test]
fn a_leader_that_is_paused() {
    let lost = under_load(async |cluster| {
        let leader = cluster.leader().await;
        cluster.members[leader].signal(Signal::SIGSTOP);
        tokio::time::sleep(Duration::from_secs(4)).await;
        cluster.members[leader].signal(Signal::SIGCONT);
    });
    assert_eq!(lost.unwrap_or(0), 0, "sessions were lost");
}

/// Without a majority nobody is answered. Sessions outlive that, and all go on.
#[test]
fn a_majority_that_is_gone_for_a_while() {
    let lost = under_load(async |cluster| {
        for member in &cluster.members[..2] {
            member.signal(Signal::SIGSTOP);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        for member in &cluster.members[..2] {
            member.signal(Signal::SIGCONT);
        }
    });
    assert_eq!(lost.unwrap_or(0), 0, "sessions were lost");
}
