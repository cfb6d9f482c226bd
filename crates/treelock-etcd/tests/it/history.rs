//! The judge of the fault runs finds every history that breaks the contract, and no other.

#[path = "../faults/history.rs"]
mod judge;
#[path = "../faults/wire.rs"]
#[allow(dead_code, reason = "the judge takes its words from here, and no more")]
mod wire;

use judge::{Death, Findings, Record, check};
use wire::End;

const TTL: u64 = 3_000;

/// A request of a client for one root, asked at a moment.
fn asked(client: u32, write: bool, node: &str, at: u64) -> Record {
    Record { client, roots: vec![(write, node.into())], asked: at, ..Record::default() }
}

trait Life {
    fn entered(self, ticket: u64, at: u64) -> Self;
    fn held(self, token: u64, from: u64, until: u64) -> Self;
    fn ended(self, at: u64, end: End) -> Self;
}

impl Life for Record {
    fn entered(self, ticket: u64, at: u64) -> Record {
        Record { ticket: Some(ticket), entered: Some(at), ..self }
    }

    fn held(self, token: u64, from: u64, until: u64) -> Record {
        let over = Some((until + 1, End::Left));
        Record {
            ticket: Some(token),
            granted: Some(from),
            held: Some((from, until)),
            leaves: Some(until),
            ended: over,
            ..self
        }
    }

    fn ended(self, at: u64, end: End) -> Record {
        Record { ended: Some((at, end)), ..self }
    }
}

fn judged(records: impl IntoIterator<Item = Record>, deaths: &[Death]) -> Findings {
    check(&mut records.into_iter().collect::<Vec<_>>(), deaths, TTL)
}

/// All that is wrong.
fn violation(records: impl IntoIterator<Item = Record>, deaths: &[Death]) -> String {
    judged(records, deaths).violations.join("\n")
}

#[test]
fn a_good_history() {
    let found = judged(
        [
            asked(1, true, "a/", 0).held(5, 10, 20),
            asked(2, true, "a/x/", 5).entered(6, 8).held(6, 22, 30),
            asked(3, false, "b/", 6).held(7, 9, 40),
            asked(4, false, "", 6).entered(8, 12).held(8, 31, 40),
            asked(5, true, "b/", 9).entered(9, 12).ended(20, End::GaveUp),
        ],
        &[],
    );
    assert!(found.overlaps.is_empty() && found.violations.is_empty(), "{found:?}");
    assert_eq!((found.sections, found.lost), (4, 0));
    // The write below `a` was granted 2 after the one above it left; nobody else waited in vain for
    // longer but the first, which nobody kept waiting for 10.
    assert_eq!(found.gap, 10);
}

#[test]
fn two_that_hold_at_once() {
    let two = |write, node| {
        judged(
            [asked(1, true, "a/x/", 0).held(5, 1, 20), asked(2, write, node, 2).held(6, 10, 30)],
            &[],
        )
    };
    for node in ["", "a/", "a/x/", "a/x/1/"] {
        assert_eq!(two(false, node).overlaps.len(), 1, "{node}");
    }
    for node in ["b/", "a/y/", "a/xx/"] {
        assert!(two(true, node).overlaps.is_empty(), "{node}");
    }
    let readers = [asked(1, false, "a/", 0).held(5, 1, 9), asked(2, false, "a/", 0).held(6, 1, 9)];
    assert!(judged(readers, &[]).overlaps.is_empty());
}

#[test]
fn one_that_overtakes() {
    let first = asked(1, true, "a/", 0).entered(5, 3);
    let second = asked(2, true, "a/x/", 4).held(6, 10, 20);
    let overtaken = [first.clone().held(5, 30, 40), second.clone()];
    assert!(violation(overtaken, &[]).contains("overtook"));
    let overtaken = [first.clone().ended(50, End::GaveUp), second.clone()];
    assert!(violation(overtaken, &[]).contains("overtook"));
    // A request that left before, in whatever way, is not overtaken.
    for end in [End::GaveUp, End::Blocked, End::Lost] {
        let gone = [first.clone().ended(9, end), second.clone()];
        assert!(judged(gone, &[]).violations.is_empty());
    }
    let limited = Record { limit: Some(9), ..first }.ended(12, End::Blocked);
    assert!(judged([limited, second], &[]).violations.is_empty());
}

#[test]
fn tickets_in_the_wrong_order() {
    let waits = asked(1, true, "a/", 0).entered(9, 3).ended(6, End::GaveUp);
    let late = asked(2, true, "a/", 5).held(7, 8, 20);
    assert!(violation([waits, late], &[]).contains("asked later"));
}

#[test]
fn a_token_that_goes_back() {
    let first = asked(1, false, "", 0).held(9, 1, 5);
    let second = asked(2, true, "a/", 10).held(8, 11, 15);
    assert!(violation([first.clone(), second], &[]).contains("after token 9"));
    let same = asked(2, true, "a/", 10).held(9, 11, 15);
    assert!(violation([first.clone(), same], &[]).contains("after token 9"));
    let reader = asked(2, false, "a/", 10).held(8, 11, 15);
    assert!(judged([first, reader], &[]).violations.is_empty());
}

#[test]
fn one_that_never_ends() {
    let waits = || asked(1, true, "a/", 0).entered(5, 3);
    assert!(violation([waits()], &[]).contains("never ended"));
    let stopped = Death { client: 1, at: 4, until: Some(9) };
    assert!(violation([waits()], &[stopped]).contains("never ended"));
    let killed = Death { until: None, ..stopped };
    assert!(judged([waits()], &[killed]).violations.is_empty());
}

#[test]
fn one_that_failed() {
    let failed = asked(1, true, "a/", 0).ended(3, End::Failed("odd".into()));
    assert!(violation([failed], &[]).contains("odd"));
    let lost = asked(1, true, "a/", 0).ended(3, End::Lost);
    assert_eq!(judged([lost], &[]).lost, 1);
    let unanswered = asked(1, true, "a/", 0).ended(3, End::Unavailable("no".into()));
    assert_eq!(judged([unanswered], &[]).unavailable, 1);
}

/// It was stopped for longer than its lease lasts, and calls its lock valid.
#[test]
fn a_lock_that_outlives_its_lease() {
    let holds = || asked(1, true, "a/", 0).held(5, 1, 6_000);
    let stopped = |until| [Death { client: 1, at: 2_000, until: Some(until) }];
    assert!(violation([holds()], &stopped(5_500)).contains("away"));
    assert!(judged([holds()], &stopped(4_500)).violations.is_empty());
    let learned = asked(1, true, "a/", 0).held(5, 1, 1_900);
    assert!(judged([learned], &stopped(5_500)).violations.is_empty());
}

#[test]
fn gaps() {
    let gap = |records: Vec<Record>| judged(records, &[]).gap;
    let holder = asked(1, true, "a/", 0).held(5, 1, 100);
    let next = asked(2, true, "a/", 50).entered(6, 52);
    assert_eq!(gap(vec![holder.clone(), next.clone().held(6, 170, 180)]), 70);
    // Nobody knows the ticket of one that gave up, and so whether it was in the way until just now.
    // One that ended long after was not. (Its client dies later, so its own waiting does not
    // count.)
    let beside_one_that_ends = |at| {
        let gave_up = asked(3, true, "a/", 60).ended(at, End::GaveUp);
        let records = [holder.clone(), next.clone().held(6, 170, 180), gave_up];
        judged(records, &[Death { client: 3, at: 5_000_000_000, until: None }]).gap
    };
    assert_eq!(beside_one_that_ends(200), 0);
    assert_eq!(beside_one_that_ends(4_000_000_000), 70);
    // A request that gives up after a while with nobody in the way has waited in vain, too.
    assert_eq!(gap(vec![holder.clone(), next.clone().ended(190, End::GaveUp)]), 90);
    assert_eq!(gap(vec![holder.clone(), next.ended(90, End::GaveUp)]), 1);
    // Somebody between the two was in the way.
    let between = asked(3, false, "", 40).entered(7, 45).held(7, 101, 160);
    let last = asked(2, true, "a/", 50).entered(8, 52).held(8, 170, 180);
    assert_eq!(gap(vec![holder, between, last]), 10);
}

#[test]
fn the_time_behind_a_dead_one() {
    let dead = || asked(1, true, "a/", 0);
    let holds = Record { granted: Some(2), held: Some((2, 9)), ticket: Some(5), ..dead() };
    let next = asked(2, true, "a/", 50).entered(6, 52).held(6, 3_300, 3_301);
    let death = [Death { client: 1, at: 100, until: None }];
    for gone in [holds, dead().entered(5, 9), dead()] {
        let found = judged([gone, next.clone()], &death);
        assert!(found.violations.is_empty(), "{found:?}");
        assert_eq!((found.gap, found.behind_the_dead), (0, 3_200));
    }
}
