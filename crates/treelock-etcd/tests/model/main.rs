//! The protocol, explored: every order in which a few clients, an etcd and a bad network can act.
//!
//! What is explored are the files of the crate that decide what is sent, what an answer means and
//! what follows (`src/protocol`, `src/key.rs`): they are included here by their paths, so they are
//! the same code, which neither a feature nor a hidden name has to make public. As they are
//! compiled for a test, their flaws can be switched on.
//!
//! Around them the model has what the protocol leans on and nothing else: revisions, keys and
//! ranges of keys, transactions with their compares, leases and clocks, watches that begin some
//! time after they were asked for and tell late, requests that arrive late, twice or not at all,
//! answers that are lost, clients that give up, are paused or die, administrators. Each mutant
//! leaves out one thing that the protocol says, or that those have to do who drive it; the model
//! must find what is wrong with each.

mod action;
mod etcd;
#[path = "../../src/key.rs"]
#[allow(dead_code)]
mod key;
mod name;
mod properties;
#[path = "../../src/protocol/mod.rs"]
#[allow(dead_code)]
mod protocol;
mod scenario;
mod server;
mod shared;
mod stream;
mod task;
mod world;

use protocol::flaw::Flaw;
use scenario::{Faults, Job, Kind, Lapse, Mutant, Scenario};
use stateright::{Checker, Expectation, HasDiscoveries, Model, UniformChooser};

/// Nothing that was found is a counterexample.
fn check(name: &str, checker: &impl Checker<Scenario>) {
    println!("{name}: {} states", checker.unique_state_count());
    for (property, path) in checker.discoveries() {
        // An example is found of what happens sometimes, a counterexample of what always must hold.
        let is_example = checker.model().property(property).expectation == Expectation::Sometimes;
        assert!(is_example, "{name}: not \"{property}\" after {:#?}", path.into_actions());
    }
}

/// The protocol does what it must in every state, and these things happen.
fn assert_clean(name: &str, scenario: Scenario, happens: &[&'static str]) {
    let checker = scenario.checker().threads(2).spawn_bfs().join();
    check(name, &checker);
    for what in happens {
        assert!(checker.discovery(what).is_some(), "{name}: it never happens that {what}");
    }
}

/// What goes wrong without something is found.
fn assert_caught(mutant: Mutant, scenario: Scenario, property: &'static str) {
    let found = HasDiscoveries::AnyOf([property].into());
    let scenario = Scenario { mutant: Some(mutant), ..scenario };
    let checker = scenario.checker().threads(2).finish_when(found).spawn_bfs().join();
    println!("{mutant:?}: not \"{property}\" after {} states", checker.unique_state_count());
    assert!(checker.discovery(property).is_some(), "{mutant:?} was not caught: \"{property}\"");
}

/// What has too many states to see them all: `near` of those that are soon reached, and `far` on
/// random ways.
fn assert_largely_clean(name: &str, scenario: Scenario, near: usize, far: usize) {
    let checker = |states| scenario.clone().checker().threads(2).target_state_count(states);
    if near > 0 {
        check(&format!("{name}, near"), &checker(near).spawn_bfs().join());
    }
    let checker = checker(far).spawn_simulation(1, UniformChooser).join();
    check(&format!("{name}, far"), &checker);
    assert!(checker.discovery(DONE).is_some(), "{name}: no way leads to an end");
}

const WRITE: Job = Job::acquire(Kind::WriteTree);
const READ: Job = Job::acquire(Kind::ReadTree);
const BELOW: Job = Job::acquire(Kind::WriteBelow);
const BOTH: Job = Job::acquire(Kind::WriteBoth);

const WAITS: &str = "somebody waits";
const DONE: &str = "all are done";
const REFUSED: &str = "a stale access is refused";
const REVOKED: &str = "somebody is revoked";

const NONE: Faults = Faults {
    retries: 0,
    cuts: 0,
    ends: 0,
    revokes: 0,
    epochs: 0,
    late_openings: 0,
    stale_reads: 0,
    no_spaces: 0,
};
const RETRY: Faults = Faults { retries: 1, ..NONE };

/// Two tasks that must not meet, each of a session of its own.
fn two() -> Scenario {
    Scenario::apart(vec![vec![WRITE], vec![BELOW]])
}

fn with(faults: Faults, scenario: Scenario) -> Scenario {
    Scenario { faults, ..scenario }
}

#[test]
fn two_writers() {
    assert_clean("two writers", with(Faults { retries: 2, ..NONE }, two()), &[WAITS, DONE]);
}

#[test]
fn a_writer_between_readers() {
    let scenario = Scenario::apart(vec![vec![READ], vec![BELOW], vec![READ]]);
    assert_clean("reader, writer, reader", with(RETRY, scenario), &[WAITS, DONE]);
}

/// With a window of one, the last of these has more before it than the transaction that enters it
/// tells.
fn a_crowd() -> Scenario {
    let jobs = vec![vec![READ], vec![READ], vec![READ], vec![BELOW]];
    Scenario { window: 1, ..Scenario::apart(jobs) }
}

#[test]
fn more_than_are_observed() {
    assert_clean("a crowd", a_crowd(), &[WAITS, DONE]);
}

#[test]
fn one_after_another_at_the_same_place() {
    let scenario = Scenario::apart(vec![vec![WRITE, WRITE], vec![BELOW, READ]]);
    assert_clean("twice", with(RETRY, scenario), &[WAITS, DONE]);
}

/// Two tasks of one session wait for each other, and for another session.
fn together() -> Scenario {
    Scenario::of(vec![(0, vec![READ]), (0, vec![BELOW]), (1, vec![READ])])
}

/// Two waiters of one session share a watch of a place that is used again.
fn sharing() -> Scenario {
    Scenario::of(vec![(0, vec![READ]), (0, vec![READ]), (1, vec![BELOW, BELOW])])
}

/// One task of a session uses a place again while another waits for its first request there.
fn taking_turns() -> Scenario {
    Scenario::of(vec![(0, vec![BELOW, BELOW]), (0, vec![WRITE])])
}

#[test]
fn tasks_of_one_session() {
    assert_clean("together", with(RETRY, together()), &[WAITS, DONE]);
    assert_clean("sharing a watch", sharing(), &[WAITS, DONE]);
    assert_clean("taking turns", with(RETRY, taking_turns()), &[WAITS, DONE]);
}

/// The first of two gives up, and asks more than once.
fn giving_up() -> Scenario {
    let job = Job { gives_up: true, ..WRITE };
    let faults = Faults { retries: 2, ..NONE };
    with(faults, Scenario::apart(vec![vec![job, WRITE], vec![BELOW]]))
}

#[test]
fn who_waits_gives_up() {
    assert_clean("giving up", giving_up(), &[WAITS, DONE]);
}

/// The first one's requests have two keys, at the same slot.
fn two_keys() -> Scenario {
    Scenario::apart(vec![vec![BOTH, BOTH], vec![BELOW]])
}

#[test]
fn requests_of_two_keys() {
    assert_clean("two keys", with(RETRY, two_keys()), &[WAITS, DONE]);
    let faults = Faults { revokes: 1, ..NONE };
    assert_clean("two keys, revoking", with(faults, two_keys()), &[WAITS, DONE, REVOKED]);
}

/// There is no space, once or twice.
fn no_space() -> Scenario {
    with(Faults { no_spaces: 2, ..RETRY }, two_keys())
}

#[test]
fn etcd_has_no_space() {
    assert_clean("no space", no_space(), &[WAITS, DONE]);
}

/// At the first one's slot lies what somebody could not give back, and an administrator may delete.
fn clearing() -> Scenario {
    let scenario = with(Faults { revokes: 1, ..RETRY }, two());
    Scenario { is_littered: true, ..scenario }
}

#[test]
fn a_slot_is_not_free_yet() {
    assert_clean("clearing a slot", clearing(), &[WAITS, DONE, REVOKED]);
}

fn trying(is_wide: bool) -> Scenario {
    let job = Job { is_try: true, is_wide, gives_up: true, ..WRITE };
    with(RETRY, Scenario::apart(vec![vec![job, job], vec![BELOW]]))
}

/// Two tasks of one session, of which one does not wait.
fn trying_together() -> Scenario {
    let job = Job { is_try: true, ..WRITE };
    let faults = Faults { retries: 2, ..NONE };
    with(faults, Scenario::of(vec![(0, vec![job]), (0, vec![BELOW])]))
}

#[test]
fn who_does_not_wait() {
    assert_clean("trying", trying(false), &[WAITS, DONE]);
    assert_clean("trying something wide", trying(true), &[WAITS, DONE]);
    assert_clean("trying, together", trying_together(), &[WAITS, DONE]);
}

#[test]
fn too_wide_for_one_transaction() {
    let jobs = vec![vec![Job { is_wide: true, ..WRITE }], vec![BELOW], vec![READ]];
    assert_clean("wide", Scenario::apart(jobs), &[WAITS, DONE]);
}

/// The first waits without having looked, and members answer from the past.
fn reading_the_past() -> Scenario {
    let jobs = vec![vec![Job { is_wide: true, ..WRITE }], vec![BELOW, READ]];
    with(Faults { stale_reads: 2, ..NONE }, Scenario::apart(jobs))
}

fn sharing_the_past() -> Scenario {
    with(Faults { stale_reads: 1, ..NONE }, sharing())
}

/// Each range is read at a time of its own.
fn apart(scenario: Scenario) -> Scenario {
    Scenario { reads_apart: true, ..scenario }
}

#[test]
fn ranges_are_read_one_by_one() {
    let wide = Job { is_wide: true, ..WRITE };
    let jobs = vec![vec![READ], vec![BELOW], vec![wide]];
    assert_clean("reading apart", apart(with(RETRY, Scenario::apart(jobs))), &[WAITS, DONE]);
    assert_clean("reading the past apart", apart(reading_the_past()), &[WAITS, DONE]);
}

#[test]
fn members_answer_from_the_past() {
    assert_clean("the past", reading_the_past(), &[WAITS, DONE]);
    assert_clean("the past, sharing", sharing_the_past(), &[WAITS, DONE]);
}

fn cutting() -> Scenario {
    with(Faults { cuts: 2, ..NONE }, two())
}

#[test]
fn streams_are_cut() {
    assert_clean("cuts", with(Faults { cuts: 2, ..RETRY }, two()), &[WAITS, DONE]);
    assert_clean("cuts, sharing", with(Faults { cuts: 1, ..NONE }, sharing()), &[WAITS, DONE]);
}

/// Those who hold access a resource that checks their tokens.
fn accessing(faults: Faults, scenario: Scenario) -> Scenario {
    Scenario { accesses: true, ..with(faults, scenario) }
}

/// The lease of one of these ends, and then it goes on.
fn pausing() -> Scenario {
    let scenario = Scenario::apart(vec![vec![WRITE], vec![READ]]);
    accessing(Faults { ends: 1, ..NONE }, scenario)
}

#[test]
fn clients_die_or_are_paused() {
    assert_clean("pauses", with(Faults { ends: 2, ..RETRY }, pausing()), &[WAITS, DONE, REFUSED]);
    let scenario = accessing(Faults { ends: 1, ..NONE }, together());
    assert_clean("pauses of two tasks", scenario, &[WAITS, DONE, REFUSED]);
}

fn revoking() -> Scenario {
    let scenario = Scenario::apart(vec![vec![WRITE, WRITE], vec![BELOW]]);
    accessing(Faults { revokes: 1, cuts: 1, ..NONE }, scenario)
}

#[test]
fn administrators_delete_entries() {
    assert_clean("revoking", revoking(), &[WAITS, DONE, REVOKED, REFUSED]);
    let faults = Faults { revokes: 1, ..NONE };
    assert_clean("revoking, together", accessing(faults, together()), &[WAITS, DONE, REFUSED]);
    assert_clean("revoking, in doubt", with(Faults { revokes: 1, ..RETRY }, two()), &[REVOKED]);
}

fn opening_late() -> Scenario {
    with(Faults { epochs: 1, late_openings: 1, cuts: 1, ..NONE }, two())
}

#[test]
fn an_epoch_begins() {
    let faults = Faults { epochs: 1, cuts: 1, ..RETRY };
    assert_clean("an epoch", accessing(faults, two()), &[WAITS, DONE, REVOKED, REFUSED]);
    assert_clean("late openings", opening_late(), &[WAITS, DONE, REVOKED]);
}

#[test]
fn mutants_of_asking_are_caught() {
    assert_caught(Mutant::Of(Flaw::NoEpochGuard), with(RETRY, two()), "no orphans");
    let twice = Scenario::apart(vec![vec![WRITE, WRITE], vec![BELOW]]);
    assert_caught(Mutant::Of(Flaw::UnguardedDelete), with(RETRY, twice), "every entry is kept");
    let three = Scenario::apart(vec![vec![READ], vec![BELOW], vec![READ]]);
    assert_caught(Mutant::Around(Lapse::Overtaking), three, "nobody is overtaken");
    assert_caught(Mutant::Of(Flaw::TryForgetsRetries), trying(false), "no orphans");
    assert_caught(Mutant::Of(Flaw::LeavingForgetsRetries), giving_up(), "no orphans");
    assert_caught(Mutant::Of(Flaw::ClearingForgetsRetries), clearing(), "every entry is kept");
    assert_caught(Mutant::Of(Flaw::NoSpaceIsCertain), no_space(), "no orphans");
    assert_caught(Mutant::Of(Flaw::AnyValue), no_space(), "every entry is kept");
    assert_caught(Mutant::Around(Lapse::WideTryStays), trying(true), "no orphans");
}

#[test]
fn mutants_of_waiting_are_caught() {
    assert_caught(Mutant::Of(Flaw::NoReadAfterWatch), two(), "nobody is stuck");
    assert_caught(Mutant::Of(Flaw::OlderThanWatch), reading_the_past(), "nobody is stuck");
    assert_caught(Mutant::Of(Flaw::OlderThanTicket), reading_the_past(), "exclusion");
    let flaw = Flaw::NothingToldWhenJoining;
    assert_caught(Mutant::Of(flaw), sharing_the_past(), "nobody is stuck");
    assert_caught(Mutant::Around(Lapse::NoReadAfterJoining), sharing(), "nobody is stuck");
    assert_caught(Mutant::Of(Flaw::GrantOnLastGone), a_crowd(), "exclusion");
    assert_caught(Mutant::Of(Flaw::AnyDeletion), sharing(), "exclusion");
    assert_caught(Mutant::Around(Lapse::DeafWhileReading), two(), "nobody is stuck");
    assert_caught(Mutant::Of(Flaw::CutUnnoticed), cutting(), "nobody is stuck");
    assert_caught(Mutant::Around(Lapse::GoneWhenSent), together(), "nobody is overtaken");
    assert_caught(Mutant::Of(Flaw::UnknownIsGone), together(), "exclusion");
    assert_caught(Mutant::Of(Flaw::SlotIsEnough), taking_turns(), "nobody is stuck");
}

#[test]
fn mutants_of_losing_are_caught() {
    assert_caught(Mutant::Around(Lapse::NoReadAfterOpening), revoking(), "who lost is told");
    assert_caught(Mutant::Of(Flaw::UnguardedRevoke), revoking(), "every entry is kept");
    assert_caught(Mutant::Of(Flaw::SilentRevoke), revoking(), "who lost is told");
    assert_caught(Mutant::Of(Flaw::AnySessionKey), opening_late(), "old sessions stay out");
    assert_caught(Mutant::Of(Flaw::NoClock), pausing(), "nobody gets it too late");
    assert_caught(Mutant::Around(Lapse::GateForgetsReads), pausing(), "no stale access");
}

fn large_ones() -> [(&'static str, Scenario); 4] {
    let five = || vec![vec![READ], vec![BELOW], vec![READ], vec![WRITE], vec![READ]];
    let five_of_three = [0, 0, 1, 1, 2].into_iter().zip(five()).collect();
    let three = Scenario::of(vec![(0, vec![WRITE]), (0, vec![READ]), (1, vec![BELOW, READ])]);
    let faults = Faults {
        retries: 1,
        cuts: 1,
        ends: 1,
        revokes: 1,
        epochs: 1,
        late_openings: 1,
        stale_reads: 1,
        no_spaces: 1,
    };
    let leaves = |kind| Job { gives_up: true, ..Job::acquire(kind) };
    let tasks = vec![
        (0, vec![leaves(Kind::WriteTree), Job { is_try: true, is_wide: true, ..BELOW }]),
        (0, vec![Job { is_wide: true, ..READ }, leaves(Kind::WriteBelow)]),
        (1, vec![leaves(Kind::ReadTree), Job { is_try: true, ..WRITE }]),
    ];
    [
        ("five clients", Scenario::apart(five())),
        ("five tasks of three sessions", Scenario::of(five_of_three)),
        ("all faults", apart(accessing(faults, three))),
        ("all jobs", with(Faults { retries: 2, cuts: 1, ..NONE }, Scenario::of(tasks))),
    ]
}

#[test]
fn random_ways() {
    for (name, scenario) in large_ones() {
        assert_largely_clean(name, scenario, 0, 200_000);
    }
}

/// `TREELOCK_MODEL_STATES` says how many states are to be seen of each; a million needs 600 MB and
/// a minute.
#[test]
#[ignore = "takes long"]
fn large() {
    let states = std::env::var("TREELOCK_MODEL_STATES").ok().and_then(|text| text.parse().ok());
    let states = states.unwrap_or(2_000_000);
    for (name, scenario) in large_ones() {
        assert_largely_clean(name, scenario, states, 10 * states);
    }
}
