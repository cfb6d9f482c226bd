//! Runs the conformance suite on a directory, with handles of one process. Every request has its
//! own open file description, so to the kernel the requests look like those of many processes.

use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};
use treelock_dir::DirLock;

/// Returns two independent handles, used in turn: what one enters, the other finds on disk.
fn directory() -> Judged<DirLock, false> {
    // Not in the system's temporary directory, since a forgotten guard leaves its directory behind.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let scratch = scratch.expect("a place for temporary files");
    let [one, two] = [(); 2].map(|()| DirLock::new(scratch.path().join("locks")));
    Judged::late(one).and(two).keeping(scratch)
}

#[test]
fn holders_are_exactly_the_models() {
    random::holders_are_exactly_the_models(400, 100, directory);
}

#[test]
fn every_scenario_prints_what_it_says() {
    scenarios::every_scenario_prints_what_it_says(directory);
}

#[test]
fn many_threads_keep_the_rule_at_every_moment() {
    threads::many_threads_keep_the_rule_at_every_moment(20, 200, directory());
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    leaving::every_way_to_leave_leaves_nothing(100, directory);
}

#[test]
fn every_verb_means_what_it_says() {
    verbs::every_verb_means_what_it_says(directory);
}
