//! The conformance suite between processes: every request lives in one of three helper processes, which
//! this one tells what to do, in turns.
//!
//! A line of JSON goes to the helper for each order, and one comes back for each, maybe in another order:
//! whoever blocks there blocks a thread of its own.

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

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use treelock::{Access, Blocked, Entry, Node, Request, Root, Sighting, Snapshot, State};
use treelock_conformance::{Engine, Polled, Task, Wakes, leaving, random, scenarios, threads};
use treelock_dir::{DirLock, Error, Guard};

use crate::helper::{self, Part, Process};

const HELPERS: usize = 3;

// What is said.

#[derive(Serialize, Deserialize)]
enum Order {
    /// Make a future, of this number from now on.
    Make {
        directory: PathBuf,
        request: Asked,
        number: u64,
    },
    Poll {
        number: u64,
        elsewhere: bool,
    },
    Wakes {
        number: u64,
    },
    /// Drop a future or a guard.
    Drop {
        number: u64,
    },
    /// Ask, and wait at most so long; `None` is a try. The guard has this number from now on.
    Ask {
        directory: PathBuf,
        request: Asked,
        number: u64,
        timeout: Option<Duration>,
    },
    Look {
        directory: PathBuf,
    },
    /// There will be no more requests in this directory.
    Forget {
        directory: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    Granted,
    Waits,
    Woken(usize),
    Blocked(Obstacle),
    Failed(String),
    Table(Vec<Row>),
}

/// A [`Request`].
#[derive(Clone, Serialize, Deserialize)]
struct Asked {
    label: Option<String>,
    roots: Vec<(Place, Option<Vec<Name>>)>,
}

type Name = Vec<Vec<u8>>;

/// A [`Root`].
#[derive(Clone, Serialize, Deserialize)]
struct Place {
    write: bool,
    name: Name,
}

/// A [`Blocked`].
#[derive(Serialize, Deserialize)]
struct Obstacle {
    wanted: Place,
    blocker: Place,
    label: Option<String>,
    ticket: u64,
    held: bool,
    age: Duration,
    ahead: usize,
    pid: u32,
}

/// An [`Entry`].
#[derive(Serialize, Deserialize)]
struct Row {
    ticket: u64,
    held: bool,
    age: Duration,
    label: Option<String>,
    roots: Vec<Place>,
    waits_for: Option<u64>,
    pid: u32,
}

fn name(node: &Node) -> Name {
    node.components().map(<[u8]>::to_vec).collect()
}

fn node(name: &Name) -> Node {
    Node::from_components(name).expect("it was a node")
}

impl Place {
    fn of(access: Access, node: &Node) -> Place {
        Place { write: access == Access::Write, name: name(node) }
    }

    fn access(&self) -> Access {
        if self.write { Access::Write } else { Access::Read }
    }
}

impl From<&Root> for Place {
    fn from(root: &Root) -> Place {
        Place::of(root.access, &root.node)
    }
}

impl From<&Place> for Root {
    fn from(place: &Place) -> Root {
        Root { access: place.access(), node: node(&place.name) }
    }
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Asked {
        let roots =
            request.roots().zip(request.given_ancestors()).map(|((access, node), above)| {
                (Place::of(access, node), above.map(|above| above.iter().map(name).collect()))
            });
        Asked { label: request.get_label().map(String::from), roots: roots.collect() }
    }
}

impl From<&Asked> for Request {
    fn from(asked: &Asked) -> Request {
        let request = asked.roots.iter().fold(Request::new(), |request, (place, above)| {
            let (access, root) = (place.access(), node(&place.name));
            match above {
                None => request.with(access, root),
                Some(above) => request.with_ancestors(access, root, above.iter().map(node)),
            }
        });
        match &asked.label {
            Some(label) => request.label(label.as_str()),
            None => request,
        }
    }
}

impl From<Blocked> for Obstacle {
    fn from(blocked: Blocked) -> Obstacle {
        Obstacle {
            wanted: (&blocked.wanted).into(),
            blocker: (&blocked.blocker).into(),
            label: blocked.label.as_deref().map(String::from),
            ticket: blocked.ticket,
            held: blocked.state == State::Held,
            age: blocked.age,
            ahead: blocked.ahead,
            pid: blocked.process.expect("each has one").pid,
        }
    }
}

impl From<&Entry> for Row {
    fn from(entry: &Entry) -> Row {
        Row {
            ticket: entry.ticket,
            held: entry.state == State::Held,
            age: entry.age,
            label: entry.label.as_deref().map(String::from),
            roots: entry.roots.iter().map(Place::from).collect(),
            waits_for: entry.waits_for,
            pid: entry.process.as_ref().expect("each has one").pid,
        }
    }
}

fn state(held: bool) -> State {
    if held { State::Held } else { State::Waiting }
}

/// Some live request. Entries and blockers cannot be made by hand, so they are made of it and filled.
fn sighting() -> Sighting {
    let request = Request::new().with(Access::Write, Node::root());
    Sighting { ticket: 1, request, asked: Duration::ZERO, granted: None, process: None }
}

impl From<Obstacle> for Blocked {
    fn from(obstacle: Obstacle) -> Blocked {
        let made = Blocked::of(&[sighting()], &sighting().request, 2);
        let mut blocked = made.expect("it conflicts with itself");
        blocked.wanted = (&obstacle.wanted).into();
        blocked.blocker = (&obstacle.blocker).into();
        blocked.label = obstacle.label.map(Arc::from);
        (blocked.ticket, blocked.state) = (obstacle.ticket, state(obstacle.held));
        (blocked.age, blocked.ahead) = (obstacle.age, obstacle.ahead);
        blocked
    }
}

impl From<Row> for Entry {
    fn from(row: Row) -> Entry {
        let made = Snapshot::of(vec![sighting()]);
        let mut entry = made.entries.into_iter().next().expect("one was given");
        (entry.ticket, entry.state, entry.age) = (row.ticket, state(row.held), row.age);
        entry.label = row.label.map(Arc::from);
        entry.roots = row.roots.iter().map(Root::from).collect();
        entry.waits_for = row.waits_for;
        entry
    }
}

// The helper's side.

enum Kept {
    Task(Polled<Guard>),
    /// Kept for its drop.
    Guard {
        _guard: Guard,
    },
}

/// What a helper has.
#[derive(Default)]
struct Server {
    locks: Mutex<HashMap<PathBuf, DirLock>>,
    kept: Mutex<HashMap<u64, Kept>>,
}

/// The part of a helper: do as it is told until there are no more orders.
pub(crate) fn serve() {
    let server = Arc::new(Server::default());
    while let Some(line) = helper::hear() {
        let (call, order): (u64, Order) = serde_json::from_str(&line).expect("an order");
        let blocks = matches!(order, Order::Ask { timeout: Some(_), .. });
        let server = server.clone();
        let obey = move || {
            let answer = (call, server.obey(order));
            helper::say(&serde_json::to_string(&answer).expect("plain data"));
        };
        if blocks {
            thread::spawn(obey);
        } else {
            obey();
        }
    }
}

impl Server {
    fn lock(&self, directory: PathBuf) -> DirLock {
        let mut locks = self.locks.lock().expect("no panic");
        locks.entry(directory).or_insert_with_key(|path| DirLock::new(path)).clone()
    }

    fn keep(&self, number: u64, kept: Kept) {
        self.kept.lock().expect("no panic").insert(number, kept);
    }

    fn take(&self, number: u64) -> Kept {
        self.kept.lock().expect("no panic").remove(&number).expect("it is kept")
    }

    fn obey(&self, order: Order) -> Answer {
        match order {
            Order::Make { directory, request, number } => {
                let acquire = self.lock(directory).acquire(&(&request).into());
                let task = Polled::new(async move { acquire.await.expect("a table that works") });
                self.keep(number, Kept::Task(task));
                Answer::Done
            }
            Order::Poll { number, elsewhere } => self.poll(number, elsewhere),
            Order::Wakes { number } => match self.kept.lock().expect("no panic").get(&number) {
                Some(Kept::Task(task)) => Answer::Woken(task.wakes()),
                _ => panic!("{number} is not a task"),
            },
            Order::Drop { number } => {
                drop(self.take(number));
                Answer::Done
            }
            Order::Ask { directory, request, number, timeout } => {
                let (lock, request) = (self.lock(directory), (&request).into());
                self.asked(
                    number,
                    match timeout {
                        None => lock.try_acquire(&request),
                        Some(timeout) => lock.acquire_timeout(&request, timeout),
                    },
                )
            }
            Order::Look { directory } => {
                let table = self.lock(directory).snapshot().expect("a table that can be read");
                Answer::Table(table.entries.iter().map(Row::from).collect())
            }
            Order::Forget { directory } => {
                self.locks.lock().expect("no panic").remove(&directory);
                Answer::Done
            }
        }
    }

    fn poll(&self, number: u64, elsewhere: bool) -> Answer {
        let Kept::Task(mut task) = self.take(number) else { panic!("{number} is not a task") };
        match if elsewhere { task.poll_elsewhere() } else { task.poll() } {
            Some(guard) => {
                self.keep(number, Kept::Guard { _guard: guard });
                Answer::Granted
            }
            None => {
                self.keep(number, Kept::Task(task));
                Answer::Waits
            }
        }
    }

    fn asked(&self, number: u64, result: Result<Guard, Error>) -> Answer {
        match result {
            Ok(guard) => {
                self.keep(number, Kept::Guard { _guard: guard });
                Answer::Granted
            }
            Err(Error::Blocked(blocked)) => Answer::Blocked((*blocked).into()),
            Err(other) => Answer::Failed(other.to_string()),
        }
    }
}

// This process's side.

/// A helper, as this process sees it.
struct Client {
    input: Mutex<ChildStdin>,
    /// Who waits for an answer, by the number of the call.
    calls: Arc<Mutex<HashMap<u64, Sender<Answer>>>>,
    pid: u32,
    _process: Process,
}

/// All engines share the helpers: starting three for each run of a random test would be most of the work.
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
            // Whoever still waits is told that the helper has ended.
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

/// One directory, and three processes that use it in turns.
struct Processes {
    table: Arc<Directory>,
    turn: AtomicUsize,
}

/// The helpers forget it when all that is in it has gone.
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

/// Something that a helper has for us, dropped there when this is dropped here.
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

/// `None` when its guard was taken out of it.
struct RemoteTask(Option<Remote>);

impl Processes {
    fn new() -> Processes {
        // Not in the system's place, since a forgotten guard leaves its directory behind.
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

impl Engine for Processes {
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
