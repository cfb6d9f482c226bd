//! Fifty processes on random roots: what conflicts is never inside together, and tokens grow.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, os::unix::process::ExitStatusExt as _, thread,
    time::Duration,
};

use fastrand::Rng;

use crate::scene::{Scene, until};

const PROCESSES: usize = 50;
const ROUNDS: usize = 4;

/// The roots of a request, by this test's own idea of a node: its components.
#[derive(Clone)]
struct Roots(Vec<(bool, Vec<&'static str>)>);

impl Roots {
    fn random(rng: &mut Rng) -> Roots {
        let root = |rng: &mut Rng| {
            let depth = rng.usize(0..4).max(rng.usize(0..4));
            (rng.u8(0..5) < 2, (0..depth).map(|_| rng.choice(["a", "b", "c"]).unwrap()).collect())
        };
        Roots((0..rng.usize(1..4)).map(|_| root(rng)).collect())
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (is_write, components) in &self.0 {
            arguments.push(if *is_write { "-w" } else { "-r" }.to_owned());
            let mut node = String::from("/");
            components.iter().for_each(|component| write!(node, "{component}/").unwrap());
            arguments.push(node);
        }
        arguments
    }

    fn conflicts(&self, other: &Roots) -> bool {
        self.0.iter().any(|(write, node)| {
            other.0.iter().any(|(other_write, other_node)| {
                (*write || *other_write)
                    && (node.starts_with(other_node) || other_node.starts_with(node))
            })
        })
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Lives,
    /// SIGKILL for the command; for `treelock run`, while its command goes on; for both at once.
    CommandKilled,
    WrapperKilled,
    BothKilled,
    /// SIGKILL for `treelock run` at some time: mostly it waits then.
    KilledSoon,
}

impl Fate {
    /// What the command does between entering and leaving, and after it.
    fn script(self) -> (&'static str, &'static str) {
        match self {
            Fate::Lives | Fate::KilledSoon => ("", ""),
            Fate::CommandKilled => ("", "kill -KILL $$"),
            Fate::WrapperKilled => ("kill -KILL $PPID", ""),
            Fate::BothKilled => ("", "kill -KILL $PPID $$"),
        }
    }
}

#[test]
fn what_conflicts_is_never_inside_together() {
    play(&Scene::new(), PROCESSES, 0x7265_6c6f_636b, &[Fate::Lives]);
}

#[test]
fn nor_when_many_are_killed() {
    use Fate::*;
    let fates = [Lives, CommandKilled, WrapperKilled, BothKilled, KilledSoon];
    play(&Scene::new(), PROCESSES, 0x6b69_6c6c, &fates);
}

/// Many processes lock random roots, write down when they enter and leave, and end in random ways.
pub(crate) fn play(scene: &Scene, processes: usize, seed: u64, fates: &[Fate]) {
    let mut rng = Rng::with_seed(seed);
    let mut run = || (Roots::random(&mut rng), *rng.choice(fates).unwrap());
    let runs: Vec<Vec<(Roots, Fate)>> =
        (0..processes).map(|_| (0..ROUNDS).map(|_| run()).collect()).collect();
    thread::scope(|scope| {
        for (process, runs) in runs.iter().enumerate() {
            scope.spawn(move || {
                for (round, (roots, fate)) in runs.iter().enumerate() {
                    run_one(scene, process, round, roots, *fate);
                }
            });
        }
    });
    // The commands of killed wrappers may still be at it.
    until("all have left", || scene.counts() == (0, 0));
    let plans: Vec<Vec<Roots>> =
        runs.iter().map(|runs| runs.iter().map(|(roots, _)| roots.clone()).collect()).collect();
    let entered = check(&fs::read_to_string(scene.path("log")).unwrap(), &plans);
    let certain = runs.iter().flatten().filter(|(_, fate)| *fate != Fate::KilledSoon).count();
    assert!((certain..=processes * ROUNDS).contains(&entered), "{entered} of {certain} entered");
}

fn run_one(scene: &Scene, process: usize, round: usize, roots: &Roots, fate: Fate) {
    let (inside, at_the_end) = fate.script();
    let script = format!(
        "echo enter {process} {round} $TREELOCK_TOKEN >> log; {inside}
         sleep 0.00{}; echo leave {process} {round} >> log; {at_the_end}",
        (process + round) % 7,
    );
    let mut command = scene.treelock(["run"]);
    command.args(roots.arguments()).args(["--", "sh", "-c", &script]);
    let mut child = command.spawn().unwrap();
    if fate == Fate::KilledSoon {
        thread::sleep(Duration::from_millis((process + round) as u64));
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let expected = match fate {
        Fate::Lives => (Some(0), None),
        Fate::CommandKilled => (Some(128 + 9), None),
        Fate::WrapperKilled | Fate::BothKilled => (None, Some(9)),
        Fate::KilledSoon => return,
    };
    assert_eq!((status.code(), status.signal()), expected, "{fate:?}");
}

/// Reads what happened in order; returns how many were inside.
fn check(log: &str, plans: &[Vec<Roots>]) -> usize {
    let mut inside: BTreeMap<(usize, usize), &Roots> = BTreeMap::new();
    let mut before: Vec<(&Roots, u64)> = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let who: (usize, usize) = (words[1].parse().unwrap(), words[2].parse().unwrap());
        let roots = &plans[who.0][who.1];
        if words[0] == "leave" {
            inside.remove(&who).expect("it was inside");
            continue;
        }
        for (other, others) in &inside {
            assert!(!roots.conflicts(others), "{who:?} entered while {other:?} was inside:\n{log}");
        }
        let token = words[3].parse().unwrap();
        for (others, earlier) in &before {
            assert!(!roots.conflicts(others) || *earlier < token, "{line}: not above {earlier}");
        }
        inside.insert(who, roots);
        before.push((roots, token));
    }
    assert!(inside.is_empty());
    before.len()
}

#[test]
fn the_check_can_fail() {
    let roots = |components: &[&'static str]| Roots(vec![(true, components.to_vec())]);
    let plans = [vec![roots(&["a"])], vec![roots(&["a", "b"])]];
    assert_eq!(check("enter 0 0 1\nleave 0 0\nenter 1 0 2\nleave 1 0\n", &plans), 2);
    let together = "enter 0 0 1\nenter 1 0 2\nleave 0 0\nleave 1 0\n";
    assert!(std::panic::catch_unwind(|| check(together, &plans)).is_err());
    let stale = "enter 0 0 2\nleave 0 0\nenter 1 0 2\nleave 1 0\n";
    assert!(std::panic::catch_unwind(|| check(stale, &plans)).is_err());
}

#[test]
fn what_does_not_conflict_is_inside_together() {
    let scene = Scene::new();
    let mut readers = [scene.hold(&["-r", "a"]), scene.hold(&["-r", "a/b"])];
    let mut writer = scene.hold(&["-w", "b"]);
    assert_eq!(scene.counts(), (3, 0));
    readers.iter_mut().for_each(|reader| assert_eq!(reader.finish(), 0));
    assert_eq!(writer.finish(), 0);
}

#[test]
fn nobody_overtakes() {
    let scene = Scene::new();
    let mut reader = scene.hold(&["-r", "a"]);
    let mut writer = scene.wait(&["-w", "a"]);
    let mut late = scene.wait(&["-r", "a/b"]);
    assert_eq!(scene.counts(), (1, 2));
    assert_eq!(scene.done(&["run", "-r", "a", "--try", "--", "true"]).code(), 75);
    for running in [&mut reader, &mut writer, &mut late] {
        assert_eq!(running.finish(), 0);
    }
}
