//! The parts that helper processes play.

use std::{env, process::exit};

use treelock::Wait;
use treelock_dir::{DirLock, Error};

use crate::{
    chain, events,
    helper::{DIRECTORY, PART, hear, say, word},
    instructions, killed, processes,
    scratch::{AcquireWithin, LONG, long, write},
    steps,
    stopped::Latch,
};

/// Not a test, but what a helper process runs.
#[test]
#[ignore = "a process that other tests start"]
fn a_part() {
    let Ok(part) = env::var(PART) else { return };
    let lock = DirLock::new(env::var_os(DIRECTORY).expect("set with the part"));
    say("\nready");
    match part.as_str() {
        "hold" => hold(&lock),
        "serve" => processes::serve(),
        "work" => killed::work(&lock),
        "step" => steps::step(&lock),
        "instructions" => instructions::play(&lock),
        "crowd" => crowd(&lock),
        "make" => make(&lock),
        "latch" => latch(&lock),
        "chain" => chain::take_turns(&lock),
        "tell" => tell(&lock),
        "hurry" => events::hurry(&lock),
        "listen" => events::tell(&lock),
        other => panic!("no such part: {other}"),
    }
    // Before the harness prints its summary, which no one may be reading any more.
    exit(0)
}

/// Holds a node until there is no more input.
fn hold(lock: &DirLock) {
    let guard = lock.acquire(&long(&word())).wait().expect("a table that works");
    say("holds");
    while hear().is_some() {}
    drop(guard);
}

/// Holds many nodes that are unrelated to each other, until there is no more input.
fn crowd(lock: &DirLock) {
    let (count, above) = (250, word());
    let hold = |i| {
        lock.try_acquire(&write(&format!("{above}/{i}"))).wait().expect("nothing is in the way")
    };
    let guards: Vec<_> = (0..count).map(hold).collect();
    say("holds");
    while hear().is_some() {}
    drop(guards);
}

/// Has the latch until there is no more input.
fn latch(lock: &DirLock) {
    let latch = Latch::of_one_who_stopped(&lock.path().join("table"));
    say("holds");
    while hear().is_some() {}
    drop(latch);
}

/// Waits for a node, and tells how that ends.
fn tell(lock: &DirLock) {
    match lock.acquire(&write(&word())).wait() {
        Ok(_) => say("granted"),
        Err(Error::Damaged { .. }) => say("damaged"),
        Err(error) => say(&error.to_string()),
    }
}

/// Creates one lock table after another, each when it is told to, and reports the result.
fn make(lock: &DirLock) {
    while let Some(name) = hear() {
        let lock = DirLock::new(lock.path().join(name));
        match lock.acquire_within(&write("/"), LONG) {
            Ok(_) => say("made"),
            Err(error) => say(&error.to_string()),
        }
    }
}
