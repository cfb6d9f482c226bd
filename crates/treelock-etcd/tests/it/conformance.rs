//! The conformance suite on a real etcd.

use std::sync::atomic::{AtomicUsize, Ordering};

use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};
use treelock_etcd::{EtcdLock, Options};

use crate::server::{Cluster, runtime};

/// By whose connections etcd is asked.
#[derive(Clone, Copy)]
enum Asks {
    /// Those of the crate's thread.
    ByThread,
    /// Those of a runtime in which the verbs are used.
    ByCaller,
}

/// A namespace of its own, and two handles that know nothing of each other, in turns.
fn judged(server: &Cluster, asks: Asks) -> Judged<EtcdLock, false> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let namespace = format!("t{}", COUNT.fetch_add(1, Ordering::SeqCst));
    let options = Options::new(server.endpoints()).namespace(&namespace);
    let judged = Judged::late(EtcdLock::new(&options))
        .and(EtcdLock::new(&options))
        // Wake-ups come from watches, not from the safety net behind them.
        .inspected(|lock, _| assert_eq!(lock.rescued(), 0, "a watch did not tell"))
        // The etcd of this machine may be one with known bugs, which `check` has to say.
        .excusing(|finding| finding.what.contains(" is etcd 3."));
    match asks {
        Asks::ByThread => judged,
        Asks::ByCaller => judged.within(|| runtime().enter()),
    }
}

/// Does something with etcd asked in each way.
fn in_each_way(test: impl Fn(&dyn Fn() -> Judged<EtcdLock, false>)) {
    let Some(server) = Cluster::start(1) else { return };
    for asks in [Asks::ByThread, Asks::ByCaller] {
        test(&|| judged(&server, asks));
    }
}

#[test]
fn scenarios_print_what_they_say() {
    in_each_way(|engine| scenarios::every_scenario_prints_what_it_says(engine));
}

#[test]
fn holders_are_exactly_the_models() {
    in_each_way(|engine| random::holders_are_exactly_the_models(10, 60, engine));
}

#[test]
fn leaving_leaves_nothing() {
    in_each_way(|engine| leaving::every_way_to_leave_leaves_nothing(20, engine));
}

#[test]
fn threads_keep_the_rule() {
    in_each_way(|engine| threads::many_threads_keep_the_rule_at_every_moment(2, 50, engine()));
}

#[test]
fn verbs_mean_what_they_say() {
    in_each_way(|engine| verbs::every_verb_means_what_it_says(engine));
}
