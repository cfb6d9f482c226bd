//! The suite can fail: an engine with one flaw at a time is caught by the parts that should catch
//! it, and passes without a flaw, also when it wakes late, in vain and from another thread.

mod flawed;
mod naive;
mod verb_flaw;

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
    thread,
    time::Duration,
};

use flawed::Flawed;
use naive::{Flaw, Naive};
use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Returns the message if the suite panics. Its panics are not printed: shrinking makes thousands.
fn caught(suite: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(suite));
    QUIET.set(false);
    let panic = result.err()?;
    Some(panic.downcast_ref::<String>().cloned().unwrap_or_default())
}

fn by_random(flaw: Flaw) -> Option<String> {
    caught(|| random::holders_are_exactly_the_models(200, 25, || Naive::<true>::new(flaw)))
}

fn by_scenarios(flaw: Flaw) -> Option<String> {
    caught(|| scenarios::every_scenario_prints_what_it_says(|| Naive::<true>::new(flaw)))
}

fn by_leaving<const EXACT: bool>(flaw: Flaw) -> Option<String> {
    caught(|| leaving::every_way_to_leave_leaves_nothing(30, || Naive::<EXACT>::new(flaw)))
}

fn by_threads(flaw: Flaw) -> Option<String> {
    let engine = Naive::<true>::new(flaw);
    caught(|| threads::many_threads_keep_the_rule_at_every_moment(4, 200, engine))
}

fn flawed(flaw: verb_flaw::Flaw) -> Judged<Flawed, true> {
    Judged::exact(Flawed::new(flaw)).answering_within(Duration::from_millis(200))
}

fn by_verbs(flaw: verb_flaw::Flaw) -> Option<String> {
    caught(|| verbs::every_verb_means_what_it_says(|| flawed(flaw)))
}

#[test]
fn without_a_flaw_it_passes() {
    random::holders_are_exactly_the_models(100, 50, || Naive::<true>::new(Flaw::None));
    scenarios::every_scenario_prints_what_it_says(|| Naive::<true>::new(Flaw::None));
    leaving::every_way_to_leave_leaves_nothing(100, || Naive::<true>::new(Flaw::None));
    let engine = Naive::<true>::new(Flaw::None);
    threads::many_threads_keep_the_rule_at_every_moment(2, 200, engine);
}

#[test]
fn without_a_flaw_it_passes_though_it_wakes_late_and_in_vain() {
    random::holders_are_exactly_the_models(50, 50, || Naive::<false>::new(Flaw::None));
    scenarios::every_scenario_prints_what_it_says(|| Naive::<false>::new(Flaw::None));
    leaving::every_way_to_leave_leaves_nothing(100, || Naive::<false>::new(Flaw::None));
    let engine = Naive::<false>::new(Flaw::None);
    threads::many_threads_keep_the_rule_at_every_moment(2, 200, engine);
}

/// Random operations find each flaw that one thread can see, and shrink what they found.
#[test]
fn random_operations_find_flaws() {
    for flaw in [
        Flaw::Barges,
        Flaw::WaitsFalsely,
        Flaw::LosesWakes,
        Flaw::WakesInVain,
        Flaw::LeaksTheCancelled,
        Flaw::SwallowsGrants,
        Flaw::AsksTooEarly,
        Flaw::KeepsTheOldWaker,
        Flaw::NamesTheWrongBlocker,
        Flaw::CountsWrongly,
        Flaw::LeavesTraces,
        Flaw::UsesTicketsAgain,
    ] {
        let message = by_random(flaw).unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(message.contains("minimal failing input"), "{flaw:?}: {message}");
    }
}

#[test]
fn scenarios_find_flaws() {
    for flaw in [
        Flaw::Barges,
        Flaw::WaitsFalsely,
        Flaw::LosesWakes,
        Flaw::WakesInVain,
        Flaw::LeaksTheCancelled,
        Flaw::SwallowsGrants,
        Flaw::NamesTheWrongBlocker,
        Flaw::CountsWrongly,
        Flaw::LeavesTraces,
    ] {
        assert!(by_scenarios(flaw).is_some(), "{flaw:?} was not found");
    }
}

/// And the message names the check that failed.
#[test]
fn leaving_finds_flaws() {
    for (flaw, check) in [
        (Flaw::Barges, "leaving_the_queue_lets_those_behind_go_on"),
        (Flaw::LosesWakes, "leaving_the_queue_lets_those_behind_go_on"),
        (Flaw::WakesInVain, "the_front_the_middle_and_the_end_of_one_queue"),
        (Flaw::LeaksTheCancelled, "many_leave_from_the_middle"),
        (Flaw::SwallowsGrants, "a_grant_that_nobody_saw_is_passed_on"),
        (Flaw::AsksTooEarly, "unpolled_futures_ask_for_nothing"),
        (Flaw::KeepsTheOldWaker, "a_grant_is_seen_by_a_task_that_moved"),
        (Flaw::LeavesTraces, "who_does_not_wait_leaves_no_trace"),
    ] {
        let message = by_leaving::<true>(flaw).unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(message.contains(check), "{flaw:?}: {message}");
    }
}

/// A wake-up that never comes is told from one that is late.
#[test]
fn lost_wake_ups_of_a_late_engine_are_found() {
    for (flaw, check) in [
        (Flaw::LosesWakes, "leaving_the_queue_lets_those_behind_go_on"),
        (Flaw::KeepsTheOldWaker, "a_grant_is_seen_by_a_task_that_moved"),
    ] {
        let message = by_leaving::<false>(flaw).unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(message.contains(check), "{flaw:?}: {message}");
    }
}

#[test]
fn threads_find_what_one_thread_cannot() {
    for flaw in [Flaw::Races, Flaw::TearsSnapshots] {
        assert_eq!(by_leaving::<true>(flaw), None, "{flaw:?} takes two threads");
        assert!(by_threads(flaw).is_some(), "{flaw:?} was not found");
    }
}

/// And the message names the check that is meant for the flaw.
#[test]
fn verbs_find_flaws() {
    let without = || Judged::exact(Flawed::new(verb_flaw::Flaw::None));
    verbs::every_verb_means_what_it_says(without);
    let find = |flaw: verb_flaw::Flaw, check: &str| {
        let message = by_verbs(flaw).unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(message.contains(check), "{flaw:?}: {message}");
    };
    // The checks mostly sleep to see that somebody waits, so all flaws are looked for at once.
    thread::scope(|scope| {
        for (check, flaws) in verb_flaw::FOUND_BY {
            flaws.iter().for_each(|flaw| drop(scope.spawn(|| find(*flaw, check))));
        }
    });
}

/// All parts of the suite both drop guards and release them.
#[test]
fn every_part_finds_what_is_not_given_back() {
    for flaw in [verb_flaw::Flaw::DropDoesNothing, verb_flaw::Flaw::ReleaseDoesNothing] {
        let engine = || flawed(flaw);
        let by_random = caught(|| random::holders_are_exactly_the_models(20, 25, engine));
        assert!(by_random.is_some(), "{flaw:?}");
        assert!(caught(|| scenarios::every_scenario_prints_what_it_says(engine)).is_some());
        assert!(caught(|| leaving::every_way_to_leave_leaves_nothing(30, engine)).is_some());
    }
}

/// What a finding says of the machine is not held against the engine, if it is excused.
#[test]
fn a_finding_can_be_excused() {
    let engine = || Judged::exact(Flawed::new(verb_flaw::Flaw::FindsItselfBad));
    verbs::every_verb_means_what_it_says(|| engine().excusing(|bad| bad.advice == "mend it"));
    let excusing_another = || engine().excusing(|bad| bad.advice == "make room");
    assert!(caught(|| verbs::every_verb_means_what_it_says(excusing_another)).is_some());
}
