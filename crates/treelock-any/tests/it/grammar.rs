//! One grammar (C27): one program with all verbs, for every engine, by a text and by itself.

use std::time::Duration;

use treelock_any::{
    AnyLock, Wait,
    treelock::{
        Access, FenceGate, Request, TreeLock,
        engine::{Engine, EngineError, Finding, Held, Pending, Severity},
    },
};

/// Uses every verb, and says what is wrong by a panic; returns what is bad about the place.
fn every_verb<L: Engine>(lock: &L) -> Vec<Finding> {
    let request = Request::new().write("a").unwrap().read("b").unwrap().with_label("first");
    let within = Request::new().write("a/b").unwrap();
    assert!(lock.blocked(&within).wait().unwrap().is_none());
    let first = lock.acquire(&request).wait().unwrap();
    assert_eq!(first.request(), &request);
    assert!(first.is_valid());

    // Who is in the way: of a try, of one that would ask, of one that waits.
    let error = lock.try_acquire(&within).wait().unwrap_err();
    assert!(error.is_timeout() && !error.is_lost() && !error.is_unavailable(), "{error}");
    assert_eq!(error.blocked().unwrap().label.as_deref(), Some("first"));
    let blocked = lock.blocked(&within).wait().unwrap().unwrap();
    assert_eq!((blocked.ticket, blocked.ahead), (first.ticket(), 1));
    let mut waiting = lock.acquire(&within);
    assert_eq!(waiting.ticket(), None);
    let limit = Duration::from_millis(if cfg!(feature = "etcd") { 500 } else { 20 });
    assert!(waiting.wait_timeout(limit).is_none());
    let ticket = waiting.ticket().expect("it is in line");
    assert_eq!(waiting.blocked().wait().unwrap().unwrap().ticket, first.ticket());

    // Its place is kept: one who comes later is behind it.
    let later = lock.blocked(&within).wait().unwrap().unwrap();
    assert_eq!(later.ahead, 2);
    let snapshot = lock.snapshot().wait().unwrap();
    let tickets: Vec<u64> = snapshot.entries.iter().map(|entry| entry.ticket).collect();
    assert_eq!(tickets, [first.ticket(), ticket]);

    // One that gives up leaves nothing, and says who was in the way.
    let mut impatient = lock.acquire(&within);
    assert!(impatient.wait_timeout(limit).is_none());
    let error = impatient.give_up().wait().unwrap_err();
    assert!(error.blocked().is_some(), "{error}");
    lock.settled().wait();
    assert_eq!(lock.snapshot().wait().unwrap().entries.len(), 2);

    // Tokens grow with grants that conflict.
    let mut gate = FenceGate::default();
    gate.check(Access::Write, first.token()).unwrap();
    let old = first.token();
    assert!(first.lost().wait_timeout(Duration::ZERO).is_none());
    first.release().wait();
    let second = waiting.wait().unwrap();
    assert_eq!(second.ticket(), ticket);
    assert!(second.token() > old);
    gate.check(Access::Write, second.token()).unwrap();
    assert!(gate.check(Access::Write, old).is_err());
    drop(second);
    lock.close().wait();
    assert!(lock.snapshot().wait().unwrap().entries.is_empty());
    // Names that are no nodes are errors of the same type.
    fn unset<L: Engine>() -> Result<Request, L::Error> {
        Ok(Request::new().write("")?)
    }
    assert!(unset::<L>().unwrap_err().blocked().is_none());
    let mut findings = lock.check().wait().unwrap();
    findings.retain(|finding| finding.severity == Severity::Bad);
    findings
}

#[test]
fn every_verb_in_memory() {
    for lock in [
        AnyLock::open("memory:").unwrap(),
        AnyLock::new(TreeLock::new()),
        // One that hides another is one, too.
        AnyLock::new(AnyLock::open("memory:").unwrap()),
    ] {
        assert_eq!(every_verb(&lock), []);
    }
    assert_eq!(every_verb(&TreeLock::new()), []);
}

#[cfg(feature = "dir")]
#[test]
fn every_verb_in_a_directory() {
    let scratch = tempfile::tempdir().unwrap();
    let text = format!("dir:{}", scratch.path().join("a").display());
    assert_eq!(every_verb(&AnyLock::open(&text).unwrap()), []);
    let own = treelock_any::treelock_dir::DirLock::new(scratch.path().join("b"));
    assert_eq!(every_verb(&own), []);
}

#[cfg(feature = "etcd")]
#[test]
fn every_verb_on_a_cluster() {
    let Some(cluster) = crate::server::Cluster::start(1) else { return };
    let members = cluster.endpoints().join(",");
    let by_text = AnyLock::open(&format!("etcd://{members}/one?ttl=5s")).unwrap();
    use treelock_any::treelock_etcd::{EtcdLock, Options};
    let own = EtcdLock::new(&Options::new(cluster.endpoints()).namespace("two"));
    for bad in [every_verb(&by_text), every_verb(&own)].concat() {
        // The etcd of this machine may be of a version with a bug that breaks locks.
        assert!(bad.advice.contains("version of etcd"), "{bad}");
    }
}

/// What is awaited does the same.
#[test]
fn every_way_to_wait() {
    let lock = AnyLock::open("memory:").unwrap();
    let request = Request::new().write("a").unwrap();
    futures_executor::block_on(async {
        let guard = lock.acquire(&request).await.unwrap();
        assert!(lock.try_acquire(&request).await.is_err());
        assert!(lock.blocked(&request).await.unwrap().is_some());
        assert!(lock.acquire(&request).give_up().await.unwrap_err().is_timeout());
        guard.release().await;
        lock.settled().await;
        lock.close().await;
        assert!(lock.snapshot().await.unwrap().entries.is_empty());
    });
}
