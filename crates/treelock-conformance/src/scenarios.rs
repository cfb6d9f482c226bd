//! Scenarios as text, with the printed lock table as oracle: `scenarios/*.txt`.
//!
//! A file is a list of blocks, with an empty line between two: commands, a line `----`, and what
//! they print. Lines that begin with `#` are comments. The commands:
//!
//! ```text
//! ask NAME: write /a, read /b     polls a new future once
//! try NAME: read /a               asks with `try_acquire`
//! poll NAME                       polls a waiting future again
//! drop NAME                       drops a guard or a future; says who was woken
//! table                           prints the snapshot, with all ages zero
//! ```
//!
//! Requests are labelled with their names and shown with their number in the order of asking,
//! failed ones counted, whatever tickets the engine gives.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p treelock scenario` writes what the core prints into the files,
//! to be read before it is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::Path,
    time::Duration,
};

use treelock::{Request, Snapshot, State};

use crate::subject::{Subject, Task, Wakes, check_wakes};

enum Handle<E: Subject> {
    Waiting(E::Task),
    /// Kept for its drop.
    Held(E::Guard),
}

struct Scenario<E: Subject> {
    engine: E,
    handles: BTreeMap<String, Handle<E>>,
    /// The number of requests so far.
    asked: u64,
    /// The number of each name that is or was in use.
    numbers: BTreeMap<String, u64>,
}

fn request(name: &str, roots: &str) -> Request {
    let roots = roots.split(',').map(str::trim).filter(|root| *root != "nothing");
    let request = roots.fold(Request::new(), |request, root| {
        let (access, node) = root.split_once(' ').expect("an access and a node");
        match access {
            "read" => request.read(node).expect("a good node"),
            "write" => request.write(node).expect("a good node"),
            other => panic!("no access: {other}"),
        }
    });
    request.with_label(name)
}

impl<E: Subject> Scenario<E> {
    fn new(engine: E) -> Scenario<E> {
        Scenario { engine, handles: BTreeMap::new(), asked: 0, numbers: BTreeMap::new() }
    }

    fn run(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (name, roots) = rest.split_once(": ").unwrap_or((rest, ""));
        let woken = self.woken();
        let mut printed = match verb {
            "ask" => {
                let mut task = self.engine.acquire(&request(name, roots));
                self.asked += 1;
                self.numbers.insert(name.into(), self.asked);
                let guard = task.poll();
                self.keep(name, guard, task)
            }
            "try" => self.try_acquire(name, roots),
            "poll" => match self.handles.remove(name) {
                Some(Handle::Waiting(mut task)) => {
                    let guard = task.poll();
                    self.keep(name, guard, task)
                }
                _ => panic!("{name} does not wait"),
            },
            "drop" => {
                drop(self.handles.remove(name).expect("a name that was used"));
                format!("{name} left")
            }
            "table" => self.table().to_string(),
            other => panic!("no command: {other}"),
        };
        for name in self.woken().into_iter().filter(|name| !woken.contains(name)) {
            write!(printed, ", {name} is woken").expect("strings take everything");
        }
        printed
    }

    fn try_acquire(&mut self, name: &str, roots: &str) -> String {
        self.asked += 1;
        match self.engine.try_acquire(&request(name, roots)) {
            Ok(guard) => {
                self.numbers.insert(name.into(), self.asked);
                self.handles.insert(name.into(), Handle::Held(guard));
                format!("{name} holds")
            }
            Err(mut blocked) => {
                blocked.age = Duration::ZERO;
                blocked.to_string()
            }
        }
    }

    fn keep(&mut self, name: &str, guard: Option<E::Guard>, task: E::Task) -> String {
        let (handle, text) = match guard {
            Some(guard) => (Handle::Held(guard), format!("{name} holds")),
            None => (Handle::Waiting(task), format!("{name} waits")),
        };
        self.handles.insert(name.into(), handle);
        text
    }

    /// The snapshot with all ages zero, and the numbers of this scenario as tickets.
    fn table(&self) -> Snapshot {
        let mut snapshot = self.engine.snapshot();
        let number = |label: Option<&str>| self.numbers[label.expect("all have a label")];
        let numbers: BTreeMap<u64, u64> = snapshot
            .entries
            .iter()
            .map(|entry| (entry.ticket, number(entry.label.as_deref())))
            .collect();
        for entry in &mut snapshot.entries {
            entry.age = Duration::ZERO;
            entry.ticket = numbers[&entry.ticket];
            entry.waits_for = entry.waits_for.map(|ticket| numbers[&ticket]);
        }
        snapshot
    }

    /// Returns the names of the waiting requests that were woken. Of an engine that wakes late,
    /// also in vain, only those that it grants: it is waited for, and what is in vain is not told.
    fn woken(&mut self) -> Vec<String> {
        let granted = (E::WAKES != Wakes::Exact).then(|| self.wait_for_wakes());
        let is_told = |name: &String| granted.as_ref().is_none_or(|names| names.contains(name));
        let woken = |handle: &Handle<E>| matches!(handle, Handle::Waiting(t) if t.wakes() > 0);
        let names = self.handles.iter().filter(|(_, handle)| woken(handle));
        names.map(|(name, _)| name.clone()).filter(is_told).collect()
    }

    /// Returns who is granted by the engine's own word, which must be woken. Whether the word is
    /// right is told by the text of the scenario.
    fn wait_for_wakes(&mut self) -> BTreeSet<String> {
        let mut granted = BTreeSet::new();
        for entry in self.engine.snapshot().entries {
            let name = entry.label.as_deref().expect("all have a label");
            let is_granted = entry.state == State::Held;
            if let Some(Handle::Waiting(task)) = self.handles.get_mut(name) {
                check_wakes::<E>(task, is_granted, &name);
            }
            if is_granted {
                granted.insert(name.to_string());
            }
        }
        granted
    }
}

/// The file again, with what its commands print now.
fn replay<E: Subject>(engine: E, text: &str) -> String {
    let mut scenario = Scenario::new(engine);
    let blocks = text.trim_end().split("\n\n").map(|block| {
        let Some((commands, _)) = block.split_once("\n----") else { return block.to_string() };
        let lines = commands.lines().filter(|line| !line.starts_with('#'));
        let printed: Vec<String> = lines.map(|line| scenario.run(line)).collect();
        format!("{commands}\n----\n{}", printed.join("\n"))
    });
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

/// Checks that an engine prints what each scenario expects, with a new engine for each.
///
/// # Panics
///
/// Panics at the first scenario that prints something else.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, scenarios};
///
/// scenarios::every_scenario_prints_what_it_says(|| Judged::exact(TreeLock::new()));
/// ```
pub fn every_scenario_prints_what_it_says<E: Subject>(engine: impl Fn() -> E) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    // Written by the engine that wakes exactly, so that no other one can bend the texts.
    let update = E::WAKES == Wakes::Exact && std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut seen = 0;
    for file in fs::read_dir(&folder).expect("the folder of scenarios") {
        let path = file.expect("a readable folder").path();
        let text = fs::read_to_string(&path).expect("a readable scenario");
        let printed = replay(engine(), &text);
        if update {
            fs::write(&path, &printed).expect("a writable scenario");
        } else {
            assert_eq!(text, printed, "{}: see the head of scenarios.rs", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} scenarios in {}", folder.display());
}
