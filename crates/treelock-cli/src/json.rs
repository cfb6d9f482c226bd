//! The schema of `--json`, documented in the README. It is separate from the library's types, so
//! these can grow without a change here. It is flat, has times in seconds, and `null` for unknown
//! values.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use treelock::{State, engine::What};

use crate::purpose;

/// A sub-tree and the access to it.
#[derive(Clone, Serialize)]
pub(crate) struct Root {
    access: String,
    node: String,
}

impl From<&treelock::Root> for Root {
    fn from(root: &treelock::Root) -> Root {
        Root { access: root.access.to_string(), node: root.node.to_string() }
    }
}

/// A live request.
#[derive(Clone, Serialize)]
pub(crate) struct Request {
    pub(crate) ticket: u64,
    state: String,
    pub(crate) age_seconds: f64,
    label: Option<String>,
    roots: Vec<Root>,
    waits_for: Option<u64>,
    pid: Option<u32>,
    host: Option<String>,
    for_pid: Option<i32>,
}

impl From<&treelock::Entry> for Request {
    fn from(entry: &treelock::Entry) -> Request {
        let process = entry.process.as_deref();
        Request {
            ticket: entry.ticket,
            state: entry.state.to_string(),
            age_seconds: seconds(entry.age),
            label: entry.label.as_deref().map(str::to_owned),
            roots: entry.roots.iter().map(Root::from).collect(),
            waits_for: entry.waits_for,
            pid: process.map(|process| process.pid),
            host: process.and_then(|process| process.host.as_deref()).map(str::to_owned),
            for_pid: entry.label.as_deref().and_then(purpose::pid),
        }
    }
}

/// What `ls` prints.
#[derive(Serialize)]
pub(crate) struct Listing {
    pub(crate) requests: Vec<Request>,
}

/// What `ls --watch` prints: one line for each event.
#[derive(Serialize)]
pub(crate) struct Event {
    event: &'static str,
    /// In seconds since 1970.
    at: f64,
    ticket: Option<u64>,
    state: Option<String>,
    waited_seconds: Option<f64>,
    held_seconds: Option<f64>,
    label: Option<String>,
    roots: Vec<Root>,
    pid: Option<u32>,
    host: Option<String>,
    missed: Option<u64>,
}

impl From<&treelock::engine::Event> for Event {
    fn from(event: &treelock::engine::Event) -> Event {
        let (name, state, missed) = match &event.what {
            What::Live(state, _) => ("live", Some(*state), None),
            What::Asked(_) => ("asked", Some(State::Waiting), None),
            What::Granted(_) => ("granted", Some(State::Held), None),
            What::Left(state, _) => ("left", Some(*state), None),
            What::Missed(count) => ("missed", None, *count),
            _ => ("other", None, None),
        };
        let request = event.request();
        let process = request.and_then(|request| request.process.as_deref());
        let since_1970 = event.at.duration_since(SystemTime::UNIX_EPOCH);
        let roots = request.into_iter().flat_map(|request| request.request.roots());
        let root = |(access, node): (treelock::Access, &treelock::Node)| Root {
            access: access.to_string(),
            node: node.to_string(),
        };
        Event {
            event: name,
            at: seconds(since_1970.unwrap_or_default()),
            ticket: request.map(|request| request.ticket),
            state: state.map(|state| state.to_string()),
            waited_seconds: event.waited().map(seconds),
            held_seconds: event.held().map(seconds),
            label: request.and_then(|request| request.request.label()).map(str::to_owned),
            roots: roots.map(root).collect(),
            pid: process.map(|process| process.pid),
            host: process.and_then(|process| process.host.as_deref()).map(str::to_owned),
            missed,
        }
    }
}

/// What `ls --stats` prints.
#[derive(Serialize)]
pub(crate) struct Statistics {
    pub(crate) seconds: f64,
    pub(crate) missed: u64,
    pub(crate) nodes: Vec<NodeStatistics>,
}

/// How long requests waited for one node, and held it.
#[derive(Serialize)]
pub(crate) struct NodeStatistics {
    pub(crate) node: String,
    pub(crate) requests: u64,
    pub(crate) gave_up: u64,
    pub(crate) waited: Option<Durations>,
    pub(crate) held: Option<Durations>,
}

/// A number of durations in short.
#[derive(Serialize)]
pub(crate) struct Durations {
    pub(crate) count: usize,
    pub(crate) median_seconds: f64,
    pub(crate) p95_seconds: f64,
    pub(crate) max_seconds: f64,
}

/// What `run` and `who` print: the blocker.
#[derive(Serialize)]
pub(crate) struct WhoBlocks {
    blocked: Option<Blocked>,
}

#[derive(Serialize)]
struct Blocked {
    message: String,
    wanted: Root,
    blocker: Root,
    ticket: u64,
    state: String,
    age_seconds: f64,
    label: Option<String>,
    ahead: usize,
    pid: Option<u32>,
    host: Option<String>,
    for_pid: Option<i32>,
}

impl WhoBlocks {
    pub(crate) fn new(blocked: Option<&treelock::Blocked>) -> WhoBlocks {
        WhoBlocks { blocked: blocked.map(Blocked::from) }
    }
}

impl From<&treelock::Blocked> for Blocked {
    fn from(blocked: &treelock::Blocked) -> Blocked {
        let process = blocked.process.as_deref();
        Blocked {
            message: blocked.to_string(),
            wanted: Root::from(&blocked.wanted),
            blocker: Root::from(&blocked.blocker),
            ticket: blocked.ticket,
            state: blocked.state.to_string(),
            age_seconds: seconds(blocked.age),
            label: blocked.label.as_deref().map(str::to_owned),
            ahead: blocked.ahead,
            pid: process.map(|process| process.pid),
            host: process.and_then(|process| process.host.as_deref()).map(str::to_owned),
            for_pid: blocked.label.as_deref().and_then(purpose::pid),
        }
    }
}

/// What `hold` prints, and before that its keeper says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) ticket: u64,
    /// A text, because many programs round numbers as large as these.
    pub(crate) token: String,
    /// The keeper.
    pub(crate) pid: u32,
    pub(crate) for_pid: Option<i32>,
}

/// What `break` did.
#[derive(Serialize)]
pub(crate) struct Broken {
    pub(crate) request: Request,
    pub(crate) processes: Vec<KeptBy>,
    /// The processes that got SIGTERM.
    pub(crate) terminated: Vec<u32>,
    /// The processes that got SIGKILL after it.
    pub(crate) killed: Vec<u32>,
    /// The processes that this user may not signal.
    pub(crate) refused: Vec<u32>,
    pub(crate) free: bool,
}

/// A process that keeps a ticket alive.
#[derive(Clone, Serialize)]
pub(crate) struct KeptBy {
    pub(crate) pid: u32,
    pub(crate) command: Option<String>,
}

/// What `doctor` found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) place: String,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    severity: String,
    what: String,
    advice: Option<String>,
}

impl Report {
    pub(crate) fn new(place: String, findings: &[treelock::engine::Finding]) -> Report {
        let findings = findings.iter().map(|finding| Finding {
            severity: finding.severity.to_string(),
            what: finding.what.clone(),
            advice: Some(finding.advice.clone()).filter(|advice| !advice.is_empty()),
        });
        Report { place, findings: findings.collect() }
    }
}

/// Returns seconds, rounded to milliseconds: more digits would be noise.
pub(crate) fn seconds(age: Duration) -> f64 {
    age.as_millis() as f64 / 1000.0
}

/// Returns a document on one line.
pub(crate) fn line(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("text and numbers always serialise")
}
