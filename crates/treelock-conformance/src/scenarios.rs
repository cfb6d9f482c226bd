//! Scenarios as text, with the printed lock table as oracle: `tests/scenarios/*.txt`.
//!
//! A file is a list of blocks, with an empty line between two: commands, a line `----`, and what they
//! print. Lines that begin with `#` are comments. The commands:
//!
//! ```text
//! ask NAME: write /a, read /b     polls a new future once
//! try NAME: read /a               asks with `try_acquire`
//! poll NAME                       polls a waiting future again
//! drop NAME                       drops a guard or a future; says who was woken
//! table                           prints the snapshot, with all ages zero
//! ```
//!
//! `UPDATE_SCENARIOS=1 cargo test -p treelock scenarios` writes what is printed into the files, to be
//! read before it is committed.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, time::Duration};

use treelock::{Guard, Request, TreeLock};

use super::model::Task;

enum Handle {
    Waiting(Task),
    Held(#[expect(dead_code, reason = "kept for its drop")] Guard),
}

#[derive(Default)]
struct Scenario {
    lock: TreeLock,
    handles: BTreeMap<String, Handle>,
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
    request.label(name)
}

impl Scenario {
    fn run(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (name, roots) = rest.split_once(": ").unwrap_or((rest, ""));
        let woken = self.woken();
        let mut printed = match verb {
            "ask" => {
                let mut task = Task::new(self.lock.acquire(&request(name, roots)));
                let guard = task.poll();
                self.keep(name, guard, task)
            }
            "try" => match self.lock.try_acquire(&request(name, roots)) {
                Ok(guard) => {
                    self.handles.insert(name.into(), Handle::Held(guard));
                    format!("{name} holds")
                }
                Err(mut blocked) => {
                    blocked.age = Duration::ZERO;
                    blocked.to_string()
                }
            },
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
            "table" => {
                let mut snapshot = self.lock.snapshot();
                snapshot.entries.iter_mut().for_each(|entry| entry.age = Duration::ZERO);
                snapshot.to_string()
            }
            other => panic!("no command: {other}"),
        };
        for name in self.woken().into_iter().filter(|name| !woken.contains(name)) {
            write!(printed, ", {name} is woken").expect("strings take everything");
        }
        printed
    }

    fn keep(&mut self, name: &str, guard: Option<Guard>, task: Task) -> String {
        let (handle, text) = match guard {
            Some(guard) => (Handle::Held(guard), format!("{name} holds")),
            None => (Handle::Waiting(task), format!("{name} waits")),
        };
        self.handles.insert(name.into(), handle);
        text
    }

    fn woken(&self) -> Vec<String> {
        let woken = |handle: &Handle| matches!(handle, Handle::Waiting(task) if task.wakes() > 0);
        let names = self.handles.iter().filter(|(_, handle)| woken(handle));
        names.map(|(name, _)| name.clone()).collect()
    }
}

/// The file again, with what its commands print now.
fn replay(text: &str) -> String {
    let mut scenario = Scenario::default();
    let blocks = text.trim_end().split("\n\n").map(|block| {
        let Some((commands, _)) = block.split_once("\n----") else { return block.to_string() };
        let lines = commands.lines().filter(|line| !line.starts_with('#'));
        let printed: Vec<String> = lines.map(|line| scenario.run(line)).collect();
        format!("{commands}\n----\n{}", printed.join("\n"))
    });
    blocks.collect::<Vec<_>>().join("\n\n") + "\n"
}

#[test]
fn every_scenario_prints_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut seen = 0;
    for file in fs::read_dir(&folder).expect("the folder of scenarios") {
        let path = file.expect("a readable folder").path();
        let text = fs::read_to_string(&path).expect("a readable scenario");
        let printed = replay(&text);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            fs::write(&path, &printed).expect("a writable scenario");
        } else {
            assert_eq!(text, printed, "{}: see the head of scenarios.rs", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} scenarios in {}", folder.display());
}
