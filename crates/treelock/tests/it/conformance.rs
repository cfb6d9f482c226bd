//! The core as an engine of the conformance suite: the rule by random operations, by scenarios and by
//! threads, and leaving at every point.

use treelock::TreeLock;
use treelock_conformance::{leaving, random, scenarios, threads};

/// 4,000 runs of 250 operations are 1e6 operations; `PROPTEST_CASES` asks for more.
#[test]
fn holders_are_exactly_the_models() {
    random::holders_are_exactly_the_models(4_000, 250, TreeLock::new);
}

#[test]
fn every_scenario_prints_what_it_says() {
    scenarios::every_scenario_prints_what_it_says(TreeLock::new);
}

#[test]
fn many_threads_keep_the_rule_at_every_moment() {
    threads::many_threads_keep_the_rule_at_every_moment(40, 400, TreeLock::new());
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    leaving::every_way_to_leave_leaves_nothing(1_000, TreeLock::new);
}
