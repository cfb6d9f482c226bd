//! How many system calls are made beside many other requests, dead or alive.

use treelock::Wait;

use crate::{
    helper::Part,
    scratch::{Scratch, write},
    steps::Traced,
};

/// Returns how many system calls a new process makes for one step, or `None` if it cannot be
/// traced here. The calls of its thread's beginning and end are included.
fn calls(scratch: &Scratch, step: &str) -> Option<usize> {
    let helper = Part::new("step", scratch.lock.path(), step).start();
    match Traced::new(helper) {
        // It stops before and after each call.
        Ok(traced) => Some((0..).take_while(|_| traced.next(|| ())).count() / 2),
        Err(error) => {
            println!("not tested here: tracing a child: {error}");
            None
        }
    }
}

/// A look at a node queries the life only of the requests that conflict.
#[test]
fn a_look_makes_few_calls() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let Some(alone) = calls(&scratch, "look") else { return };
    let _crowd = scratch.crowd(500);
    let beside = calls(&scratch, "look").expect("traced before");
    println!("{alone} calls alone, {beside} beside 500");
    // Each of the four further chunks is found to be there, mapped, and unmapped.
    assert!(beside <= alone + 4 * 3, "{beside} calls instead of {alone}");
}

/// However many have died, each request tests the life of a few only.
#[test]
fn a_request_makes_few_calls_beside_the_dead() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let Some(alone) = calls(&scratch, "ask") else { return };
    for (living, dead) in [(0, 230), (200, 0), (200, 30), (900, 60)] {
        let scratch = Scratch::new();
        let _living = scratch.crowd(living);
        scratch.crowd_of_the_dead(dead);
        // Now a search is about to begin.
        scratch.fill_with_the_dead();
        let calls: Vec<usize> = (0..40).map_while(|_| calls(&scratch, "ask")).collect();
        let most = *calls.iter().max().expect("traced before");
        println!("{alone} calls alone, {most} beside {living} living and {dead} dead");
        assert!(most >= alone + 8, "nothing was searched");
        // 8 queries, and what a chunk needs that is mapped: four for those of a table this long.
        assert!(most <= alone + 8 + 16, "{most} calls instead of {alone}");
    }
}

/// However many are ahead, they are counted exactly, and only the living; by a try, up to some
/// number.
#[test]
fn the_living_ahead_are_counted() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(300);
    let blocked = || scratch.lock.blocked(&write("crowd")).wait().expect("a table");
    assert_eq!(blocked().expect("many are ahead").ahead, 300);
    for dead in [0, 1, 7, 100, 250] {
        scratch.die(crowd.remove(dead));
    }
    let found = blocked().expect("many are ahead");
    assert_eq!((found.ahead, found.ticket), (295, crowd[0].ticket()));
    let snapshot = scratch.lock.snapshot().wait().expect("a table");
    let tickets = snapshot.held().map(|entry| entry.ticket);
    assert!(tickets.eq(crowd.iter().map(treelock_dir::Guard::ticket)));
    let refused = scratch.lock.try_acquire(&write("crowd")).wait().expect_err("many are ahead");
    let blocked = refused.blocked().expect("many are ahead");
    assert_eq!(blocked.ticket, crowd[0].ticket());
    // A try that is refused asks only about the first ones whether they live.
    assert!((295..300).contains(&blocked.ahead), "{blocked}");
    crowd.truncate(60);
    let refused = scratch.lock.try_acquire(&write("crowd")).wait().expect_err("many are ahead");
    assert_eq!(refused.blocked().map(|blocked| blocked.ahead), Some(60));
}
