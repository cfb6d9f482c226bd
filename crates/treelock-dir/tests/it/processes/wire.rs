//! What this process and its helpers say to each other.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use treelock::{Access, Blocked, Entry, Node, Request, Root, Snapshot, State, engine::Sighting};

#[derive(Serialize, Deserialize)]
pub(super) enum Order {
    /// Make a future, which has this number from now on.
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
pub(super) enum Answer {
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
pub(super) struct Asked {
    label: Option<String>,
    roots: Vec<(Place, Option<Vec<Name>>)>,
}

pub(super) type Name = Vec<Vec<u8>>;

/// A [`Root`].
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Place {
    write: bool,
    name: Name,
}

/// A [`Blocked`].
#[derive(Serialize, Deserialize)]
pub(super) struct Obstacle {
    pub(super) wanted: Place,
    pub(super) blocker: Place,
    pub(super) label: Option<String>,
    pub(super) ticket: u64,
    pub(super) held: bool,
    pub(super) age: Duration,
    pub(super) ahead: usize,
    pub(super) pid: u32,
}

/// An [`Entry`].
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) ticket: u64,
    pub(super) held: bool,
    pub(super) age: Duration,
    pub(super) label: Option<String>,
    pub(super) roots: Vec<Place>,
    pub(super) waits_for: Option<u64>,
    pub(super) pid: u32,
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
        Asked { label: request.label().map(String::from), roots: roots.collect() }
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
            Some(label) => request.with_label(label.as_str()),
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

/// Returns some live request. Entries and blockers cannot be made by hand, so they are made of it
/// and filled.
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
