//! Two processes that meet at any instructions: one is stopped somewhere while it leaves, another
//! goes on to any instruction of its own work, and then both go on to the end. Nobody dies here, so
//! who waits must be woken by who leaves.
//!
//! The stops are drawn at random, those of who leaves shortly before it changes the table. With
//! `TREELOCK_PAIRS=each` it stops at each of its instructions.

use std::{env, thread, time::Duration};

use treelock::Wait;
use treelock_dir::Guard;

use crate::{
    audit::{Audit, DIRTY, overwrite},
    instructions::random,
    scenes::one_table,
    scratch::{AcquireWithin, LONG, Scratch, write},
    stepper::{Now, Progress, Stepper, Until},
};

/// How many pairs of stops are tried for each kind: about as many as leaving has changes.
const PAIRS: usize = 6;

/// What somebody notices when it leaves lies at most this many instructions before a change.
const BEFORE_A_CHANGE: usize = 12;

/// Longer than a thread sleeps before it thinks of death, so that from then on it sleeps until it
/// is woken.
const PAST_GRACE: Duration = Duration::from_millis(12);

/// Where two processes stop, and which of them first.
#[derive(Debug)]
struct Plan {
    leaver: Until,
    other: Until,
    leaver_is_first: bool,
}

/// Returns what to try, after a run that has shown what there is. The other one stops between
/// `first` and its end, or at its end.
fn plans(leaver: &Progress, first: usize, other: &Progress) -> Vec<Plan> {
    let each = env::var("TREELOCK_PAIRS").is_ok_and(|which| which == "each");
    let plan = |number: usize| {
        let changed = leaver.changed[number % leaver.changed.len()];
        let shortly_before = changed.saturating_sub(random(BEFORE_A_CHANGE));
        Plan {
            leaver: Until::Instructions(if each { number } else { shortly_before }),
            other: match random(3) {
                0 => Until::End,
                1 => Until::Changes(random(other.changed.len() + 1)),
                _ => Until::Instructions(first + random(other.instructions - first)),
            },
            leaver_is_first: random(4) > 0,
        }
    };
    (0..if each { leaver.instructions } else { PAIRS }).map(plan).collect()
}

/// A process that runs in pieces. It may sleep before it has come to its stop.
struct Piecewise {
    stepper: Stepper,
    is_on_its_way: bool,
}

impl Piecewise {
    fn start(scratch: &Scratch, word: &str) -> Option<Piecewise> {
        let stepper = Stepper::start(scratch, "instructions", word)?;
        Some(Piecewise { stepper, is_on_its_way: false })
    }

    /// Runs to a stop, or until it sleeps.
    fn run(&mut self, until: Until) {
        self.stepper.go(until);
        self.is_on_its_way = true;
        // A sleep that ends soon, as at the latch, is not the end of the way.
        for _ in 0..20 {
            if self.stepper.wait() != Now::Asleep {
                self.is_on_its_way = false;
                return;
            }
        }
    }

    /// Runs to its end.
    fn finish(&mut self) -> Progress {
        let asleep = || ();
        if !self.is_on_its_way || self.stepper.rest(asleep) != Now::Ended {
            assert_eq!(self.stepper.run(Until::End, asleep), Now::Ended);
        }
        self.stepper.progress()
    }
}

impl Piecewise {
    /// Runs to a further stop, or until it sleeps, unless it still sleeps before the former one.
    fn run_on(&mut self, until: Until) {
        if !self.is_on_its_way {
            self.run(until);
        }
    }
}

/// Who leaves, and who goes to sleep behind it: whatever the order, the latter is woken.
#[test]
fn leaving_and_waiting() {
    let place = one_table();
    let start = || {
        let scratch = place();
        let leaver = Piecewise::start(&scratch, "release a")?;
        let waiter = Piecewise::start(&scratch, "hold a/b").expect("traced before");
        Some((scratch, leaver, waiter))
    };
    let Some((_, mut leaver, mut waiter)) = start() else { return };
    waiter.run(Until::End);
    // The last thing before it sleeps is to say for whom it waits.
    let registers = *waiter.stepper.progress().changed.last().expect("it has asked");
    let [leaves, waits] = [&mut leaver, &mut waiter].map(Piecewise::finish);
    drop((leaver, waiter));
    for plan in plans(&leaves, registers, &waits) {
        println!("{plan:?}");
        let (scratch, mut leaver, mut waiter) = start().expect("traced before");
        if plan.leaver_is_first {
            leaver.run(plan.leaver);
        }
        waiter.run(Until::Instructions(registers - random(BEFORE_A_CHANGE)));
        // Now its patience has ended.
        thread::sleep(PAST_GRACE);
        waiter.run_on(plan.other);
        leaver.run(plan.leaver);
        if !plan.leaver_is_first {
            waiter.run_on(Until::End);
        }
        leaver.finish();
        waiter.finish();
        drop((leaver, waiter));
        scratch.assert_at_rest();
        let occupied = Audit::clean(&scratch.table(), "after leaving and waiting").occupied();
        assert_eq!(occupied, 1, "cells are lost");
    }
}

/// Starts a thread that waits for what the leaver holds until it is woken. Nobody dies.
fn waits_for_long(scratch: &Scratch) -> thread::JoinHandle<Guard> {
    let lock = scratch.lock.clone();
    let ticket = Audit::of(&scratch.table()).live();
    let waits = thread::spawn(move || {
        lock.acquire_within(&write("a/b"), LONG).expect("the leaver wakes those who wait")
    });
    crate::scratch::eventually("it is in line", || Audit::of(&scratch.table()).live() != ticket);
    thread::sleep(PAST_GRACE);
    waits
}

/// Who leaves, and who asks and takes back what has left, or builds the index again.
fn leaving_and(word: &str, dirty: bool) {
    let place = one_table();
    let start = || {
        let scratch = place();
        let leaver = Piecewise::start(&scratch, "release a")?;
        let other = Piecewise::start(&scratch, word).expect("traced before");
        let waits = waits_for_long(&scratch);
        overwrite(&scratch.table(), DIRTY, dirty.into());
        Some((scratch, leaver, other, waits))
    };
    let Some((_, mut leaver, mut other, waits)) = start() else { return };
    let [leaves, asks] = [&mut leaver, &mut other].map(Piecewise::finish);
    drop((waits.join(), leaver, other));
    for plan in plans(&leaves, 0, &asks) {
        println!("{word}, {dirty}: {plan:?}");
        let (scratch, mut leaver, mut other, waits) = start().expect("traced before");
        if plan.leaver_is_first {
            leaver.run(plan.leaver);
        }
        other.run(plan.other);
        leaver.run(plan.leaver);
        other.run_on(Until::End);
        leaver.finish();
        other.finish();
        let guard = waits.join().expect("the leaver wakes those who wait");
        Audit::clean(&scratch.table(), "after leaving and asking");
        drop(scratch.lock.try_acquire(&write("c")).wait().expect("nobody is in the way"));
        let audit = Audit::clean(&scratch.table(), "after asking again");
        assert_eq!((audit.live(), audit.occupied()), (vec![guard.ticket()], 2), "lost cells");
        drop((guard, leaver, other));
        scratch.assert_at_rest();
    }
}

#[test]
fn leaving_and_asking_elsewhere() {
    leaving_and("hold c", false);
}

#[test]
fn leaving_and_being_refused() {
    leaving_and("try a/b/c", false);
}

#[test]
fn leaving_and_building_again() {
    leaving_and("hold c", true);
}
