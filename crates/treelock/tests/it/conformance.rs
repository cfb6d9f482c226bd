//! The core before the conformance suite: the rule by random operations, by scenarios and by threads,
//! leaving at every point, and the verbs.

use treelock::TreeLock;
use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};

/// The core, which promises that its counters agree with the table, and that the tickets are 1, 2, 3,
/// failed requests counted.
fn core() -> Judged<TreeLock, true> {
    Judged::exact(TreeLock::new()).inspected(|lock, snapshot| {
        let counted = (lock.held_count(), lock.waiting_count());
        assert_eq!(counted, (snapshot.held().count(), snapshot.waiting().count()), "the counters");
        for entry in &snapshot.entries {
            if let Some(Ok(number)) = entry.label.as_deref().map(str::parse::<u64>) {
                assert_eq!(entry.ticket, number, "the ticket of this core\n{snapshot}");
            }
        }
    })
}

/// 4,000 runs of 250 operations are 1e6 operations; `PROPTEST_CASES` asks for more.
#[test]
fn holders_are_exactly_the_models() {
    random::holders_are_exactly_the_models(4_000, 250, core);
}

#[test]
fn every_scenario_prints_what_it_says() {
    scenarios::every_scenario_prints_what_it_says(core);
}

#[test]
fn many_threads_keep_the_rule_at_every_moment() {
    threads::many_threads_keep_the_rule_at_every_moment(40, 400, core());
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    leaving::every_way_to_leave_leaves_nothing(1_000, core);
}

#[test]
fn every_verb_means_what_it_says() {
    verbs::every_verb_means_what_it_says(core);
}
