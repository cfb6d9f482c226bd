//! Several threads at once. Every snapshot is one moment, so rule C1 can be checked in any of them:
//! a request holds iff no earlier live request conflicts with it. And what the lock guards is
//! watched without asking the lock.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use treelock::{Snapshot, State};

use crate::{
    model::{Root, conflict, request},
    subject::{STUCK, Subject, Task, assert_empty, poll_until, wait_for},
};

const THREADS: usize = 4;

/// The places that are guarded: readers count up, a writer sets -1.
const PLACES: [[&str; 2]; 6] =
    [["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"], ["c", "x"], ["c", "y"]];

struct Guarded([AtomicI32; 6]);

impl Guarded {
    fn covered(roots: &[Root]) -> impl Iterator<Item = (usize, bool)> {
        PLACES.iter().enumerate().filter_map(|(i, place)| {
            let over = roots.iter().filter(|root| place.starts_with(&root.path));
            over.map(|root| root.write).reduce(|a, b| a || b).map(|write| (i, write))
        })
    }

    fn enter(&self, roots: &[Root]) {
        for (i, write) in Guarded::covered(roots) {
            if write {
                let free = self.0[i].compare_exchange(0, -1, Ordering::SeqCst, Ordering::SeqCst);
                assert_eq!(free, Ok(0), "a writer met somebody at {:?}", PLACES[i]);
            } else {
                let before = self.0[i].fetch_add(1, Ordering::SeqCst);
                assert!(before >= 0, "a reader met a writer at {:?}", PLACES[i]);
            }
        }
    }

    fn exit(&self, roots: &[Root]) {
        for (i, write) in Guarded::covered(roots) {
            self.0[i].fetch_add(if write { 1 } else { -1 }, Ordering::SeqCst);
        }
    }
}

fn check(snapshot: &Snapshot) {
    let roots = |entry: &treelock::Entry| -> Vec<Root> {
        let path = |node: &treelock::Node| {
            let text =
                |part: &[u8]| ["a", "b", "c", "x", "y"].into_iter().find(|t| t.as_bytes() == part);
            node.components().map(|part| text(part).expect("a component of ours")).collect()
        };
        let root = |root: &treelock::Root| Root {
            write: root.access == treelock::Access::Write,
            path: path(&root.node),
            given: false,
        };
        entry.roots.iter().map(root).collect()
    };
    for (i, entry) in snapshot.entries.iter().enumerate() {
        let own = roots(entry);
        let free = !snapshot.entries[..i].iter().any(|earlier| conflict(&roots(earlier), &own));
        assert_eq!(entry.state == State::Held, free, "rule C1 at #{}\n{snapshot}", entry.ticket);
    }
}

fn random_roots(runner: &mut TestRunner) -> Vec<Root> {
    use proptest::{collection::vec, sample::select};
    let path = (0..=2usize, select(&["a", "b", "c"][..]), select(&["x", "y"][..]))
        .prop_map(|(depth, top, leaf)| [top, leaf][..depth].to_vec());
    let (write, given) = (proptest::bool::weighted(0.4), proptest::bool::weighted(0.15));
    let root = (write, path, given).prop_map(|(write, path, given)| Root { write, path, given });
    vec(root, 1..=3).new_tree(runner).expect("nothing is filtered").current()
}

fn random(runner: &mut TestRunner, below: u32) -> u32 {
    (0..below).new_tree(runner).expect("nothing is filtered").current()
}

/// One operation: ask in a random way, perhaps give up, hold for a moment.
fn operate<E: Subject>(engine: &E, guarded: &Guarded, runner: &mut TestRunner) {
    let roots = random_roots(runner);
    let request = request(&roots);
    let use_it = |guard: E::Guard| {
        guarded.enter(&roots);
        thread::yield_now();
        guarded.exit(&roots);
        drop(guard);
    };
    match random(runner, 6) {
        0 => use_it(engine.acquire_timeout(&request, STUCK).expect("a lost wake-up")),
        1 => engine.try_acquire(&request).map_or_else(|_| (), use_it),
        2 => {
            let timeout = Duration::from_micros(u64::from(random(runner, 200)));
            engine.acquire_timeout(&request, timeout).map_or_else(|_| (), use_it);
        }
        // A future that is given up after some polls, perhaps granted and not yet seen.
        3 => {
            let mut task = engine.acquire(&request);
            for _ in 0..random(runner, 4) {
                if let Some(guard) = task.poll() {
                    return use_it(guard);
                }
                thread::yield_now();
            }
        }
        4 => {
            let guard = poll_until(engine, &request, Instant::now() + STUCK);
            use_it(guard.expect("never granted"));
        }
        // As an executor does it: polled again only when woken.
        _ => {
            let mut task = engine.acquire(&request);
            let guard = loop {
                match task.poll() {
                    Some(guard) => break guard,
                    None => assert!(wait_for(STUCK, || task.wakes() > 0), "a lost wake-up"),
                }
            };
            use_it(guard);
        }
    }
}

/// The workers of one round; rest is when all are done.
fn round<E: Subject + Sync>(engine: &E, guarded: &Guarded, round: usize, operations: usize) {
    thread::scope(|scope| {
        for worker in 0..THREADS {
            scope.spawn(move || {
                let seed = [(round * THREADS + worker) as u8; 32];
                let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
                let mut runner = TestRunner::new_with_rng(Config::default(), rng);
                (0..operations).for_each(|_| operate(engine, guarded, &mut runner));
            });
        }
    });
    assert_empty(engine);
}

/// Checks an engine that four threads use in random ways at once, `operations` operations each in
/// each of `rounds` rounds, while a fifth one reads snapshots.
///
/// # Panics
///
/// If a snapshot breaks rule C1, if two meet where they must not, if anybody waits for 20 seconds,
/// or if anything is left at the end of a round.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, threads};
///
/// threads::many_threads_keep_the_rule_at_every_moment(2, 50, Judged::exact(TreeLock::new()));
/// ```
pub fn many_threads_keep_the_rule_at_every_moment<E: Subject + Sync>(
    rounds: usize,
    operations: usize,
    engine: E,
) {
    let guarded = Guarded(Default::default());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut snapshots = 0;
            while !done.load(Ordering::SeqCst) {
                check(&engine.snapshot());
                snapshots += 1;
                thread::yield_now();
            }
            snapshots
        });
        let work = || (0..rounds).for_each(|i| round(&engine, &guarded, i, operations));
        let worked = catch_unwind(AssertUnwindSafe(work));
        done.store(true, Ordering::SeqCst);
        assert!(watcher.join().expect("the watcher saw the rule broken") > 0);
        worked.expect("a worker saw the rule broken");
    });
}
