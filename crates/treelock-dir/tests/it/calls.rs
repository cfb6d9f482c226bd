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
    assert!(beside < alone + 10, "{beside} calls instead of {alone}");
}

/// However many are ahead, they are counted exactly, and only the living.
#[test]
fn the_living_ahead_are_counted() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(300);
    let blocked = || scratch.lock.blocked(&write("crowd")).wait().expect("a table");
    assert_eq!(blocked().expect("many are ahead").ahead, 300);
    // What is left looks as if its process had died: used, but with a ticket that has left.
    for dead in [0, 1, 7, 100, 250] {
        let guard = crowd.remove(dead);
        let cell = scratch.cells(guard.ticket())[0];
        let bytes = scratch.bytes(cell);
        drop(guard);
        scratch.overwrite(cell, &bytes);
    }
    let found = blocked().expect("many are ahead");
    assert_eq!((found.ahead, found.ticket), (295, crowd[0].ticket()));
    let snapshot = scratch.lock.snapshot().wait().expect("a table");
    let tickets = snapshot.held().map(|entry| entry.ticket);
    assert!(tickets.eq(crowd.iter().map(treelock_dir::Guard::ticket)));
    let refused = scratch.lock.try_acquire(&write("crowd")).wait().expect_err("many are ahead");
    assert_eq!(refused.blocked().map(|blocked| blocked.ahead), Some(295));
}
