//! Death at every instruction (C22). The table is memory, so others notice what a process does
//! between two system calls. A process is traced from one instruction to the next and killed: here
//! after each change of the table, which is all that can matter; before and after each system call
//! in [`steps`](crate::steps). After each death the table is audited, nothing is held by the dead,
//! who waited for it goes on, and no cell is lost.
//!
//! A test kills some [`DEATHS`] times during each kind of work, evenly spread, from a random
//! instruction on. With `TREELOCK_DEATHS=changes` it kills after each change, with
//! `TREELOCK_DEATHS=7` after each seventh instruction.

use std::{
    env,
    hash::{BuildHasher, Hasher, RandomState},
    process::Command,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::unistd::gettid;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Error, Guard};

use crate::{
    audit::{Audit, DIRTY, overwrite},
    helper::{hear, say, word},
    scenes::{
        cells, die_with, die_with_after, die_with_the_latch, new_table, one_behind, one_table,
    },
    scratch::{AcquireWithin, Scratch, write},
    stepper::{Now, Progress, Stepper, Until, mark},
};

/// How often each kind of work is interrupted by death.
const DEATHS: usize = 4;

/// Plays the part of the process that is killed: does what the word says, in a thread that is not
/// the first of its process, since the first is waited for in a different way.
pub(crate) fn play(lock: &DirLock) {
    let lock = lock.clone();
    let playing = thread::spawn(move || {
        say(&format!("thread {}", gettid()));
        hear();
        let word = word();
        let (what, node) = word.split_once(' ').expect("what to do, and with which node");
        let request = cells(node, 2).read("templates").expect("a valid node");
        let within = |limit| lock.acquire_within(&request, limit);
        let hold = || lock.acquire(&request).wait().expect("a table that works");
        if what != "open" {
            // Opening the table is not of interest.
            drop(lock.try_acquire(&write("doomed")).wait().expect("nothing is in the way"));
        }
        match what {
            "open" | "hold" => between_marks(|| drop(hold())),
            "try" => between_marks(|| {
                let refused = lock.try_acquire(&request).wait().expect_err("it is held");
                assert!(refused.blocked().is_some(), "{refused}");
            }),
            "give-up" => between_marks(|| drop(within(Duration::ZERO).expect_err("it is held"))),
            "release" => {
                let guard = hold();
                between_marks(|| drop(guard));
            }
            "inherit" => {
                let guard = hold();
                let mut command = Command::new("true");
                between_marks(|| guard.inherit(&mut command).expect("a free descriptor"));
            }
            other => panic!("no such work: {other}"),
        }
    });
    playing.join().expect("no panic");
}

fn between_marks(work: impl FnOnce()) {
    mark();
    work();
    mark();
}

/// A random number, different each time.
pub(crate) fn random(below: usize) -> usize {
    RandomState::new().build_hasher().finish() as usize % below.max(1)
}

/// What is killed, and when.
struct Scene<'a> {
    /// What it does, and with which node.
    word: &'a str,
    place: &'a dyn Fn() -> Scratch,
    /// Makes the scene before it begins. The guards are dropped when it is dead.
    before: &'a dyn Fn(&Scratch) -> Vec<Guard>,
    /// Whether the guards are dropped when it sleeps.
    yields: bool,
    /// Whether somebody waits for it from the start.
    is_waited_for: bool,
}

/// A scene without anybody else.
fn alone<'a>(word: &'a str, place: &'a dyn Fn() -> Scratch) -> Scene<'a> {
    Scene { word, place, before: &|_| Vec::new(), yields: false, is_waited_for: false }
}

/// Kills a process at one stop after another, and examines what is left.
fn die(scene: &Scene<'_>) {
    let all = die_at(scene, Until::Instructions(usize::MAX));
    let Some((_, Progress { instructions, .. })) = all else { return };
    let how = env::var("TREELOCK_DEATHS").unwrap_or_default();
    let by_changes = how == "changes";
    let until = |at| if by_changes { Until::Changes(at) } else { Until::Instructions(at) };
    let stride = match &*how {
        "" => instructions / DEATHS + 1,
        "changes" => 1,
        stride => stride.parse().expect("`changes` or a number"),
    };
    let first = random(stride);
    // How many changes it makes depends on what the one before it has left.
    let mut runs_left = if by_changes { 4 } else { 1 };
    let mut deaths = 0;
    for at in (first..).step_by(stride) {
        match die_at(scene, until(at)).expect("as before").0 {
            Now::Ended => runs_left -= 1,
            _ => deaths += 1,
        }
        if runs_left == 0 {
            break;
        }
    }
    println!(
        "{}: {instructions} instructions; {deaths} deaths, every {stride} from {first} on, of {}",
        scene.word,
        if by_changes { "the changes of the table" } else { "these" }
    );
    assert!(deaths > 0, "it was never killed");
}

/// Kills a process at one stop, and examines what is left. Returns where it was killed.
fn die_at(scene: &Scene<'_>, until: Until) -> Option<(Now, Progress)> {
    let scratch = (scene.place)();
    let mut stepper = Stepper::start(&scratch, "instructions", scene.word)?;
    let mut guards = (scene.before)(&scratch);
    let waits = scene.is_waited_for.then(|| one_behind(&scratch.lock));
    let now = stepper.run(until, || {
        if scene.yields {
            guards.clear();
        }
    });
    let behind = waits.unwrap_or_else(|| one_behind(&scratch.lock));
    stepper.kill();
    let Progress { instructions, .. } = stepper.progress();
    let when = format!("{}: {now:?} at {until:?}, {instructions} instructions", scene.word);
    Audit::of(&scratch.table()).assert_whole(&when);
    drop(guards);
    examine(&scratch, behind, &when);
    Some((now, stepper.progress()))
}

/// Examines what a dead process has left, behind which somebody waits for everything.
fn examine(scratch: &Scratch, behind: JoinHandle<Guard>, when: &str) {
    let table = scratch.table();
    let guard = behind.join().unwrap_or_else(|_| panic!("{when}: a dead one is in the way"));
    let audit = Audit::clean(&table, when);
    assert_eq!(audit.live(), [guard.ticket()], "{when}: a dead request is live");
    assert_eq!(audit.last_token(), guard.token().get(), "{when}");
    let other = DirLock::new(scratch.lock.path());
    for node in ["a/b", "elsewhere"] {
        let refused = other.try_acquire(&write(node)).wait();
        assert!(matches!(refused, Err(Error::Blocked(_))), "{when}: two hold {node}: {refused:?}");
    }
    drop(guard);
    scratch.assert_at_rest();
    // What was asked for last has left, and is taken back by the next request.
    assert_eq!(Audit::clean(&table, when).occupied(), 1, "{when}: cells are lost");
}

fn hold(scratch: &Scratch, request: &Request) -> Vec<Guard> {
    vec![scratch.lock.try_acquire(request).wait().expect("nothing is in the way")]
}

#[test]
fn one_who_opens_the_table() {
    die(&alone("open a/b", &one_table()));
}

#[test]
fn one_who_asks_and_releases() {
    die(&alone("hold a/b", &one_table()));
}

#[test]
fn one_who_is_refused() {
    let held = |scratch: &Scratch| hold(scratch, &write("a"));
    die(&Scene { before: &held, ..alone("try a/b", &one_table()) });
}

#[test]
fn one_who_gives_up() {
    let held = |scratch: &Scratch| hold(scratch, &write("a"));
    die(&Scene { before: &held, ..alone("give-up a/b", &one_table()) });
}

#[test]
fn one_who_waits() {
    let held = |scratch: &Scratch| hold(scratch, &write("a"));
    die(&Scene { before: &held, yields: true, ..alone("hold a/b", &one_table()) });
}

#[test]
fn one_who_releases_while_another_waits() {
    die(&Scene { is_waited_for: true, ..alone("release a/b", &one_table()) });
}

#[test]
fn one_who_lets_a_child_inherit() {
    die(&Scene { is_waited_for: true, ..alone("inherit a/b", &one_table()) });
}

#[test]
fn one_who_finds_the_dead() {
    let dead = |scratch: &Scratch| {
        die_with(scratch, &[cells("a/b/c", 3), write("a/d"), write("e")]);
        Vec::new()
    };
    die(&Scene { before: &dead, ..alone("hold a/b", &one_table()) });
}

#[test]
fn one_who_takes_over_the_latch_of_the_dead() {
    let dead = |scratch: &Scratch| {
        let held = hold(scratch, &cells("c", 3));
        die_with(scratch, &[cells("a/b/c", 3), write("a/d")]);
        die_with_the_latch(scratch);
        held
    };
    die(&Scene { before: &dead, ..alone("hold a/b", &one_table()) });
}

#[test]
fn one_who_enlarges_the_table() {
    let full = |scratch: &Scratch| hold(scratch, &cells("c", 61));
    die(&Scene { before: &full, ..alone("hold a/b", &new_table) });
}

#[test]
fn one_who_makes_the_table_small_again() {
    let large = |scratch: &Scratch| {
        let crowd = hold(scratch, &cells("c", 600));
        let last = hold(scratch, &write("d"));
        drop(crowd);
        // This takes back the cells of the crowd, but the table is not empty yet.
        drop(hold(scratch, &write("e")));
        drop(last);
        Vec::new()
    };
    die(&Scene { before: &large, ..alone("hold a/b", &new_table) });
}

/// A request that a child keeps lives on. The other requests of its owner are dead, and are found
/// when room becomes scarce.
#[test]
fn the_cells_beside_one_that_a_child_keeps_are_used_again() {
    let scratch = new_table();
    let mut child = Command::new("true");
    let number = |number| write(&format!("dead/{number}"));
    let kept = |guards: &[Guard]| guards[0].inherit(&mut child).expect("a free descriptor");
    die_with_after(&scratch, &(0..50).map(number).collect::<Vec<_>>(), kept);
    let ask = |number| scratch.lock.try_acquire(&write(&format!("living/{number}"))).wait();
    let living: Vec<_> = (0..40).map(ask).collect();
    assert!(living.iter().all(Result::is_ok), "nobody is in the way");
    let audit = Audit::clean(&scratch.table(), "beside a child");
    assert_eq!(audit.chunk_count(), 1, "the dead were not found");
}

/// Whoever dies in the middle of something leaves cells that nobody comes across, since nobody asks
/// for the same nodes. They are found when room becomes scarce.
#[test]
fn the_cells_of_the_dead_are_used_again() {
    let scratch = new_table();
    let ask = |number| scratch.lock.try_acquire(&write(&format!("living/{number}"))).wait();
    for number in 0..24 {
        let word = format!("release dead/{number}");
        let Some(mut stepper) = Stepper::start(&scratch, "instructions", &word) else { return };
        stepper.run(Until::Changes(random(4)), || ());
        stepper.kill();
        drop(ask(number).expect("nobody is in the way"));
    }
    let before = Audit::clean(&scratch.table(), "before").occupied();
    for _ in 0..10 {
        let crowd: Vec<_> = (0..60).map(ask).collect();
        assert!(crowd.iter().all(Result::is_ok), "nobody is in the way");
    }
    drop(ask(0).expect("nobody is in the way"));
    let after = Audit::clean(&scratch.table(), "after");
    println!("{before} cells, then {}, in {} chunks", after.occupied(), after.chunk_count());
    assert!(before > 6, "hardly anybody died with anything");
    assert_eq!((after.occupied(), after.chunk_count() <= 2), (1, true));
}

/// An index that is not what the records say is built again, if somebody died while changing it.
#[test]
fn a_change_that_was_not_ended_is_mended() {
    let scratch = new_table();
    let held = hold(&scratch, &cells("a", 3));
    let before = Audit::clean(&scratch.table(), "before").rebuilds();
    // The list of free cells, all counts, and the first buckets.
    (28..=40)
        .filter(|at| ![30, 33].contains(at))
        .for_each(|at| overwrite(&scratch.table(), at, 77));
    overwrite(&scratch.table(), DIRTY, 1);
    let error = scratch.lock.try_acquire(&write("a/b")).wait().expect_err("it is held");
    assert!(matches!(error, Error::Blocked(_)), "{error}");
    let after = Audit::clean(&scratch.table(), "after");
    assert_eq!((after.rebuilds(), after.live()), (before + 1, vec![held[0].ticket()]));
}
