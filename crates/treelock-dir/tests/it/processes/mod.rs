//! Runs the conformance suite between processes: every request lives in one of three helper
//! processes, which this process gives orders to, in turn.
//!
//! Each order is a line of JSON to the helper, and each gets a line of JSON back, possibly out of
//! order: an order that blocks there blocks a thread of its own.

mod serve;
mod wire;

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::ChildStdin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;
use treelock::{Blocked, Entry, Request, Snapshot};
use treelock_conformance::{Subject, Task, Wakes, leaving, random, scenarios, threads};

pub(crate) use self::serve::serve;
use self::wire::{Answer, Order};
use crate::helper::{Part, Process};

const HELPERS: usize = 3;

/// A helper, as this process sees it.
struct Client {
    input: Mutex<ChildStdin>,
    /// Channels to the callers that wait for an answer, by the number of the call.
    calls: Arc<Mutex<HashMap<u64, Sender<Answer>>>>,
    pid: u32,
    _process: Process,
}

/// Returns the helpers, which all engines share: starting three for each run of a random test would
/// be most of the work.
fn clients() -> &'static [Arc<Client>; HELPERS] {
    static CLIENTS: OnceLock<[Arc<Client>; HELPERS]> = OnceLock::new();
    CLIENTS.get_or_init(|| [(); HELPERS].map(|()| Arc::new(Client::start())))
}

impl Client {
    fn start() -> Client {
        let helper = Part::new("serve", Path::new("unused"), "").start();
        let pid = helper.pid();
        let (input, output, process) = helper.split();
        let calls: Arc<Mutex<HashMap<u64, Sender<Answer>>>> = Arc::default();
        let waiting = calls.clone();
        thread::spawn(move || {
            for line in output {
                let answer: (u64, Answer) = serde_json::from_str(&line).expect("an answer");
                let caller = waiting.lock().expect("no panic").remove(&answer.0);
                caller.expect("it was asked").send(answer.1).expect("it waits");
            }
            // Callers that still wait learn that the helper has ended.
            waiting.lock().expect("no panic").clear();
        });
        Client { input: Mutex::new(input), calls, pid, _process: process }
    }

    fn call(&self, order: &Order) -> Answer {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        self.calls.lock().expect("no panic").insert(call, sender);
        let line = serde_json::to_string(&(call, order)).expect("plain data") + "\n";
        let written = self.input.lock().expect("no panic").write_all(line.as_bytes());
        written.expect("the helper listens");
        receiver.recv().expect("the helper ended, see above")
    }
}

/// One directory, and three processes that use it in turn.
struct Processes {
    table: Arc<Directory>,
    turn: AtomicUsize,
}

/// The helpers forget the directory when nothing in it is left.
struct Directory {
    path: PathBuf,
    _scratch: TempDir,
}

impl Drop for Directory {
    fn drop(&mut self) {
        for client in clients() {
            client.call(&Order::Forget { directory: self.path.clone() });
        }
    }
}

/// Something that a helper keeps for us. Dropping this drops it there.
struct Remote {
    client: Arc<Client>,
    number: u64,
    /// Whether the helper has anything to drop.
    kept: bool,
    _table: Arc<Directory>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.kept {
            self.client.call(&Order::Drop { number: self.number });
        }
    }
}

/// `None` once its guard was taken out of it.
struct RemoteTask(Option<Remote>);

impl Processes {
    fn new() -> Processes {
        // Not in the system's temporary directory, since a forgotten guard leaves its directory
        // behind.
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let scratch = scratch.expect("a place for temporary files");
        let path = scratch.path().join("locks");
        let table = Arc::new(Directory { path, _scratch: scratch });
        Processes { table, turn: AtomicUsize::new(0) }
    }

    fn client(&self) -> Arc<Client> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        clients()[turn % HELPERS].clone()
    }

    fn remote(&self) -> Remote {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Remote { client: self.client(), number, kept: true, _table: self.table.clone() }
    }

    fn ask(&self, request: &Request, timeout: Option<Duration>) -> Result<Remote, Blocked> {
        let mut remote = self.remote();
        let (directory, number) = (self.table.path.clone(), remote.number);
        let order = Order::Ask { directory, request: request.into(), number, timeout };
        match remote.client.call(&order) {
            Answer::Granted => Ok(remote),
            Answer::Blocked(obstacle) => {
                remote.kept = false;
                let pid = obstacle.pid;
                assert!(clients().iter().any(|client| client.pid == pid), "a stranger: {pid}");
                Err(obstacle.into())
            }
            Answer::Failed(error) => panic!("{error}"),
            _ => panic!("not an answer to this order"),
        }
    }
}

impl Subject for Processes {
    type Task = RemoteTask;
    type Guard = Remote;

    const WAKES: Wakes = Wakes::Within(Duration::from_secs(20));

    fn acquire(&self, request: &Request) -> RemoteTask {
        let remote = self.remote();
        let (directory, number) = (self.table.path.clone(), remote.number);
        remote.client.call(&Order::Make { directory, request: request.into(), number });
        RemoteTask(Some(remote))
    }

    fn try_acquire(&self, request: &Request) -> Result<Remote, Blocked> {
        self.ask(request, None)
    }

    fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Remote, Blocked> {
        self.ask(request, Some(timeout))
    }

    fn snapshot(&self) -> Snapshot {
        let order = Order::Look { directory: self.table.path.clone() };
        let Answer::Table(rows) = self.client().call(&order) else { panic!("not a table") };
        let mut snapshot = Snapshot::default();
        snapshot.entries = rows.into_iter().map(Entry::from).collect();
        snapshot
    }
}

impl RemoteTask {
    fn remote(&self) -> &Remote {
        self.0.as_ref().expect("not polled after it was ready")
    }

    fn poll_with(&mut self, elsewhere: bool) -> Option<Remote> {
        let Remote { client, number, .. } = self.remote();
        match client.call(&Order::Poll { number: *number, elsewhere }) {
            Answer::Granted => self.0.take(),
            _ => None,
        }
    }
}

impl Task for RemoteTask {
    type Guard = Remote;

    fn poll(&mut self) -> Option<Remote> {
        self.poll_with(false)
    }

    fn poll_elsewhere(&mut self) -> Option<Remote> {
        self.poll_with(true)
    }

    fn wakes(&self) -> usize {
        let Some(Remote { client, number, .. }) = &self.0 else { return 0 };
        match client.call(&Order::Wakes { number: *number }) {
            Answer::Woken(times) => times,
            _ => panic!("not an answer to this order"),
        }
    }
}

#[test]
fn holders_are_exactly_the_models() {
    random::holders_are_exactly_the_models(150, 80, Processes::new);
}

#[test]
fn every_scenario_prints_what_it_says() {
    scenarios::every_scenario_prints_what_it_says(Processes::new);
}

#[test]
fn many_threads_keep_the_rule_at_every_moment() {
    threads::many_threads_keep_the_rule_at_every_moment(10, 200, Processes::new());
}

#[test]
fn every_way_to_leave_leaves_nothing() {
    leaving::every_way_to_leave_leaves_nothing(100, Processes::new);
}
