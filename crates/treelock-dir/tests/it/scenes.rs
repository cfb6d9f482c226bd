//! What those find who die, leave and wait in these tests, and who waits behind them.

use std::{sync::mpsc::channel, thread, time::Instant};

use nix::unistd::gettid;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Guard};

use crate::{
    audit::{Audit, DIRTY, LATCH, LIVE_CELL, overwrite},
    scratch::{AcquireWithin, LONG, Scratch, write},
};

/// Returns a request whose record takes this many cells.
pub(crate) fn cells(node: &str, count: usize) -> Request {
    write(node).with_label("x".repeat(184 * count - 60))
}

/// Returns a function that returns the same table each time, so that anything left by one process
/// would be in the way of the next.
pub(crate) fn one_table() -> impl Fn() -> Scratch {
    let scratch = new_table();
    move || scratch.clone()
}

pub(crate) fn new_table() -> Scratch {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    scratch
}

/// Leaves requests as a process does that dies with them. Nothing may be in their way.
pub(crate) fn die_with(scratch: &Scratch, requests: &[Request]) {
    die_with_after(scratch, requests, |_| ());
}

/// Does the same, after something was done with its guards.
pub(crate) fn die_with_after(scratch: &Scratch, requests: &[Request], done: impl FnOnce(&[Guard])) {
    let doomed = DirLock::new(scratch.lock.path());
    let ask = |request| doomed.try_acquire(request).wait().expect("nothing is in the way");
    let guards: Vec<Guard> = requests.iter().map(ask).collect();
    done(&guards);
    let tickets: Vec<u64> = guards.iter().map(Guard::ticket).collect();
    // Afterwards its life has ended, but its requests have left.
    drop((guards, doomed));
    let audit = Audit::of(&scratch.table());
    for ticket in tickets {
        let at = audit.record(ticket).expect("nobody has taken it back yet");
        overwrite(&scratch.table(), at, ticket << 2 | LIVE_CELL);
    }
}

/// Leaves the latch as a process does that dies with it while it changes the table.
pub(crate) fn die_with_the_latch(scratch: &Scratch) {
    let doomed = DirLock::new(scratch.lock.path());
    drop(doomed.try_acquire(&write("doomed")).wait().expect("nothing is in the way"));
    drop(doomed);
    let table = scratch.table();
    overwrite(&table, LATCH, Audit::of(&table).last_life() << 1);
    overwrite(&table, DIRTY, 1);
}

/// Starts a thread that requests everything while the traced process is stopped. If the thread
/// blocks, at the latch or behind the ticket of the process that is about to die, it does so before
/// this returns.
pub(crate) fn one_behind(lock: &DirLock) -> thread::JoinHandle<Guard> {
    let lock = lock.clone();
    let (sender, receiver) = channel();
    let behind = thread::spawn(move || {
        sender.send(gettid()).expect("the receiver listens");
        lock.acquire_within(&write("/"), LONG).expect("the one ahead is dead")
    });
    let stat = format!("/proc/self/task/{}/stat", receiver.recv().expect("it says so first"));
    let sleeps = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('S'))
    };
    // If it sleeps for another reason, this one stop is observed at a different moment.
    let start = Instant::now();
    while !behind.is_finished() && !sleeps() && start.elapsed() < LONG {
        thread::yield_now();
    }
    behind
}
