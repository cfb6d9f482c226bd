//! A live request as a lock table reports it: a [`Sighting`].

use std::{fmt, sync::Arc, time::Duration};

use crate::{print::printable, request::Request};

/// Whether a live request holds its lock or is in line for it.
///
/// # Examples
///
/// ```
/// assert_eq!(treelock::State::Held.to_string(), "held");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum State {
    /// Granted.
    Held,
    /// In line. A waiting request holds nothing, but later ones that conflict with it wait for it.
    Waiting,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Held => "held",
            State::Waiting => "waiting",
        })
    }
}

/// The process that a live request belongs to, for locks that span several processes.
///
/// # Examples
///
/// ```
/// use treelock::engine::Process;
///
/// let process = Process { pid: 4242, host: Some("build-1".into()) };
/// assert_eq!(process.to_string(), "pid 4242 on build-1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Process {
    /// The process ID, as the process itself sees it.
    pub pid: u32,
    /// The host that it runs on, for locks that span several hosts.
    pub host: Option<Arc<str>>,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        match &self.host {
            Some(host) => write!(f, " on {}", printable(host)),
            None => Ok(()),
        }
    }
}

/// A live request as a lock table reports it. A [`Snapshot`](crate::Snapshot) is built from these.
/// For engine authors.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock::engine::Sighting;
/// use treelock::{Request, Snapshot, State};
///
/// let sighting = |ticket, request| Sighting {
///     ticket,
///     request,
///     asked: Duration::from_secs(5),
///     granted: None,
///     process: None,
/// };
/// let table = vec![
///     sighting(8, Request::new().read("a/b")?.with_label("second")),
///     sighting(7, Request::new().write("a")?.with_label("first")),
/// ];
/// let snapshot = Snapshot::of(table);
/// assert_eq!(snapshot.entries[0].state, State::Held);
/// assert_eq!(snapshot.entries[1].waits_for, Some(7));
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The place in the order of arrival.
    pub ticket: u64,
    /// What is requested, with its label.
    pub request: Request,
    /// How long ago the request was made.
    pub asked: Duration,
    /// How long ago it was granted, if that is known.
    pub granted: Option<Duration>,
    /// The process that it belongs to, if the lock spans several.
    pub process: Option<Arc<Process>>,
}
