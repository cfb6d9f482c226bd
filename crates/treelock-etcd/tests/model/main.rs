//! The protocol, explored: every order in which a few clients, an etcd and a bad network can act.
//!
//! The model has what the protocol leans on and nothing else: revisions, transactions with their compares,
//! leases, watches that begin some time after they were asked for, requests that arrive late, twice or not at
//! all, answers that are lost, clients that give up or die. Each mutant leaves out one thing that the protocol
//! says; the model must find what is wrong with each.

mod protocol;

use protocol::{Flaw, Job, Kind, Protocol};
use stateright::{Checker, Expectation, Model};

/// Explores all states; returns the names of the properties that were violated.
fn violated(protocol: Protocol) -> (Vec<&'static str>, usize) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let found: Vec<_> = checker.discoveries().into_keys().collect();
    // An example is found of what happens sometimes, a counterexample of what always must hold.
    let sometimes =
        |name: &&'static str| checker.model().property(name).expectation == Expectation::Sometimes;
    assert!(found.iter().filter(|name| sometimes(name)).count() > 0, "the model does nothing");
    let violated = found.into_iter().filter(|name| !sometimes(name)).collect();
    (violated, checker.unique_state_count())
}

fn assert_clean(name: &str, protocol: Protocol) {
    let (violated, states) = violated(protocol);
    println!("{name}: {states} states");
    assert!(violated.is_empty(), "{name}: {violated:?}");
    assert!(states > 100, "{name} has only {states} states, so it says little");
}

fn assert_caught(flaw: Flaw, protocol: Protocol, property: &str) {
    let (violated, states) = violated(Protocol { flaw, ..protocol });
    println!("{flaw:?}: {violated:?} in {states} states");
    assert!(violated.contains(&property), "{flaw:?} was not caught: {violated:?}");
}

const WRITE: Job = Job::acquire(Kind::WriteTree);
const READ: Job = Job::acquire(Kind::ReadTree);
const BELOW: Job = Job::acquire(Kind::WriteBelow);

#[test]
fn two_writers() {
    assert_clean("two writers", Protocol::of(vec![vec![WRITE], vec![BELOW]]));
}

#[test]
fn a_writer_between_readers() {
    assert_clean("reader, writer, reader", Protocol::of(vec![vec![READ], vec![BELOW], vec![READ]]));
}

#[test]
fn one_after_another_on_the_same_slot() {
    assert_clean("twice", Protocol::of(vec![vec![WRITE, WRITE], vec![BELOW]]));
}

#[test]
fn giving_up() {
    let gives_up = Job { gives_up: true, ..WRITE };
    assert_clean("giving up", Protocol::of(vec![vec![gives_up], vec![BELOW]]));
}

#[test]
fn trying() {
    let tries = Job { is_try: true, ..WRITE };
    assert_clean("trying", Protocol::of(vec![vec![tries], vec![BELOW]]));
}

#[test]
fn dying() {
    let protocol = Protocol { deaths: 1, ..Protocol::of(vec![vec![WRITE], vec![BELOW]]) };
    assert_clean("dying", protocol);
}

#[test]
fn watches_are_cut() {
    let protocol = Protocol { cuts: 1, ..Protocol::of(vec![vec![WRITE], vec![BELOW]]) };
    assert_clean("watches are cut", protocol);
}

#[test]
fn mutants_are_caught() {
    let two = || Protocol::of(vec![vec![WRITE], vec![BELOW]]);
    let three = || Protocol::of(vec![vec![READ], vec![BELOW], vec![READ]]);
    assert_caught(Flaw::NoReadAfterWatch, two(), "nobody is stuck");
    assert_caught(Flaw::NoEpochGuard, two(), "no orphans");
    let twice = Protocol { retries: 1, ..Protocol::of(vec![vec![WRITE, WRITE], vec![BELOW]]) };
    assert_caught(Flaw::UnguardedDelete, twice, "every place is kept");
    assert_caught(Flaw::Overtaking, three(), "nobody is overtaken");
    let readers = Protocol::of(vec![vec![READ], vec![READ], vec![BELOW]]);
    assert_caught(Flaw::GrantOnLastDelete, readers, "exclusion");
    let tries = Protocol::of(vec![vec![Job { is_try: true, ..WRITE }], vec![BELOW]]);
    assert_caught(Flaw::TryForgetsRetries, tries, "no orphans");
}
