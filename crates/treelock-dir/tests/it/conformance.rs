//! The conformance suite on a directory, by handles of one process. Every request has an open file
//! description of its own, so to the kernel they are as those of many processes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use treelock::{Blocked, Request, Snapshot};
use treelock_conformance::{Engine, Polled, Wakes, leaving, random, scenarios, threads};
use treelock_dir::{DirLock, Error, Guard};

/// Two handles that know nothing of each other, in turns: what one enters, the other finds on disk.
struct Directory {
    handles: [DirLock; 2],
    turn: AtomicUsize,
    scratch: Arc<TempDir>,
}

impl Directory {
    fn new() -> Directory {
        // Not in the system's place, since a forgotten guard leaves its directory behind.
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let scratch = scratch.expect("a place for temporary files");
        let handles = [(); 2].map(|()| DirLock::new(scratch.path().join("locks")));
        Directory { handles, turn: Default::default(), scratch: Arc::new(scratch) }
    }

    fn lock(&self) -> &DirLock {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % 2]
    }

    fn held(&self, result: Result<Guard, Error>) -> Result<Held, Blocked> {
        Ok((blocked(result)?, self.scratch.clone()))
    }
}

/// A guard, and the directory that its lock is in.
type Held = (Guard, Arc<TempDir>);

fn blocked(result: Result<Guard, Error>) -> Result<Guard, Blocked> {
    result.map_err(|error| match error {
        Error::Blocked(blocked) => {
            let mut blocked = *blocked;
            assert_eq!(blocked.process.take().map(|process| process.pid), Some(std::process::id()));
            blocked
        }
        other => panic!("{other}"),
    })
}

impl Engine for Directory {
    type Task = Polled<Held>;
    type Guard = Held;

    const WAKES: Wakes = Wakes::Within(Duration::from_secs(20));

    fn acquire(&self, request: &Request) -> Polled<Held> {
        let acquire = self.lock().acquire(request);
        let scratch = self.scratch.clone();
        Polled::new(async move { (acquire.await.expect("a table that works"), scratch) })
    }

    fn try_acquire(&self, request: &Request) -> Result<Held, Blocked> {
        self.held(self.lock().try_acquire(request))
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Held, Blocked> {
        self.held(self.lock().acquire_timeout(request, timeout))
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.lock().snapshot().expect("a table that can be read");
        snapshot.entries.iter_mut().for_each(|entry| entry.process = None);
        snapshot
    }
}

#[test]
fn holders_are_exactly_the_models() {
    random::holders_are_exactly_the_models(400, 100, Directory::new);
}

#[test]
fn every_scenario_prints_what_it_says() {
    scenarios::every_scenario_prints_what_it_says(Directory::new);
}

#[test]
fn many_threads_keep_the_rule_at_every_moment() {
    threads::many_threads_keep_the_rule_at_every_moment(20, 200, Directory::new());
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    leaving::every_way_to_leave_leaves_nothing(100, Directory::new);
}
