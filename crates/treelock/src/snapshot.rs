//! All live requests at one moment: a [`Snapshot`], a plain value that outlives the moment.

use std::{fmt, sync::Arc, time::Duration};

use hashbrown::HashTable;

use crate::{
    mode::Mode,
    node::Node,
    print::{Age, Print, Printed, printable},
    request::Request,
    root::Root,
    sighting::{Process, Sighting, State},
};

/// A live request in a [`Snapshot`].
///
/// # Examples
///
/// ```
/// use treelock::{Request, State, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let _guard = lock.acquire(&Request::new().write("a")?.with_label("import")).wait();
/// let entry = &lock.snapshot().wait().entries[0];
/// assert_eq!((entry.state, entry.label.as_deref()), (State::Held, Some("import")));
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Entry {
    /// The place in the order of arrival; lower is earlier. Never used twice by one lock.
    pub ticket: u64,
    /// Held or waiting.
    pub state: State,
    /// How long it has been in this state, to a few milliseconds. Serialised as seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::print::as_seconds"))]
    pub age: Duration,
    /// Who asks, if the request says so.
    pub label: Option<Arc<str>>,
    /// The roots as they were given.
    pub roots: Vec<Root>,
    /// The ticket of the earliest request that this one waits for; `None` iff it is held.
    pub waits_for: Option<u64>,
    /// The process it belongs to, where the lock spans several; `None` in a lock of one process.
    pub process: Option<Arc<Process>>,
}

/// All live requests of a lock at one moment, in the order of their tickets.
///
/// [`Display`](fmt::Display) prints a table, one row per request:
///
/// ```text
/// ticket  state         age  waits for  label     roots
///      1  held         3.2s             agent-7   write /photos/2025, read /templates
///      4  waiting      1.1s         #1  agent-9   write /photos
/// ```
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let guard = lock.acquire(&Request::new().write("photos/2025")?.with_label("import")).wait();
/// let snapshot = lock.snapshot().wait();
/// assert_eq!(snapshot.held().count(), 1);
/// println!("{snapshot}");
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The live requests, the earliest first.
    pub entries: Vec<Entry>,
}

impl Snapshot {
    /// Returns a snapshot of these live requests, all of them of one moment, in any order. By the rule, a
    /// request is held iff no earlier one conflicts with it. For those who write an engine.
    ///
    /// # Examples
    ///
    /// See [`Sighting`](crate::engine::Sighting).
    #[must_use]
    pub fn of(sightings: Vec<Sighting>) -> Snapshot {
        Snapshot::assemble(sightings, |_, waits_for| match waits_for {
            None => State::Held,
            Some(_) => State::Waiting,
        })
    }

    /// The snapshot of a table that knows itself who of these is granted.
    pub(crate) fn of_table(sightings: Vec<Sighting>) -> Snapshot {
        Snapshot::assemble(sightings, |sighting, _| match sighting.granted {
            Some(_) => State::Held,
            None => State::Waiting,
        })
    }

    /// Put the sightings of one moment in order and say who waits for whom.
    fn assemble(
        mut sightings: Vec<Sighting>,
        state: impl Fn(&Sighting, Option<u64>) -> State,
    ) -> Snapshot {
        sightings.sort_by_key(|sighting| sighting.ticket);
        let mut earliest = Earliest::default();
        let entries = sightings.into_iter().map(|sighting| {
            let conflicting = earliest.enter(sighting.ticket, &sighting.request);
            let state = state(&sighting, conflicting);
            let Sighting { ticket, request, asked, granted, process } = sighting;
            Entry {
                ticket,
                state,
                age: if state == State::Held { granted.unwrap_or(asked) } else { asked },
                label: request.label().map(Arc::from),
                roots: request.roots().map(Root::new).collect(),
                waits_for: conflicting.filter(|_| state == State::Waiting),
                process,
            }
        });
        Snapshot { entries: entries.collect() }
    }

    /// Returns the requests that have their lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{TreeLock, Wait};
    ///
    /// assert_eq!(TreeLock::new().snapshot().wait().held().count(), 0);
    /// ```
    pub fn held(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state == State::Held)
    }

    /// Returns a value that prints as the snapshot does, with nodes as `print` prints them: for a program
    /// whose nodes stand for something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.acquire(&Request::new().write("7")?).wait();
    /// let table = lock.snapshot().wait();
    /// let table = table.display_with(|node, f| write!(f, "inode {}", &node.to_string()[1..]));
    /// assert!(table.to_string().ends_with("write inode 7"));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn display_with<F>(&self, print: F) -> impl fmt::Display
    where
        F: Fn(&Node, &mut fmt::Formatter<'_>) -> fmt::Result,
    {
        Printed(move |f: &mut fmt::Formatter<'_>| self.write(f, &print))
    }

    /// Returns the requests in line, the earliest first.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{TreeLock, Wait};
    ///
    /// assert_eq!(TreeLock::new().snapshot().wait().waiting().count(), 0);
    /// ```
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state == State::Waiting)
    }
}

/// The first ticket of each mode at each node, of the requests entered so far. Finds the earliest
/// conflicting request at the cost of the claims, where comparing all pairs would be quadratic.
#[derive(Default)]
struct Earliest(HashTable<First>);

/// At the first `depth` components of a node.
struct First {
    node: Node,
    depth: usize,
    tickets: [Option<u64>; Mode::COUNT],
}

impl First {
    fn hash(&self) -> u64 {
        hash(&self.node, self.depth)
    }
}

fn hash(node: &Node, depth: usize) -> u64 {
    if depth == 0 { 0 } else { node.hash(depth) }
}

impl Earliest {
    /// Enter a request; returns the ticket of the earliest one that conflicts with it.
    fn enter(&mut self, ticket: u64, request: &Request) -> Option<u64> {
        let mut found: Option<u64> = None;
        for chain in request.claims().chains() {
            let (node, mut depth) = (chain.node, chain.node.depth());
            for (_, mode) in chain.upwards() {
                let tickets = self.at(node, depth);
                let rivals = mode.conflicts().iter().filter_map(|rival| tickets[rival as usize]);
                found = found.into_iter().chain(rivals).min();
                tickets[mode as usize].get_or_insert(ticket);
                depth = depth.saturating_sub(1);
            }
        }
        found
    }

    fn at(&mut self, node: &Node, depth: usize) -> &mut [Option<u64>; Mode::COUNT] {
        let same = |first: &First| first.depth == depth && first.node.shares(node, depth);
        let new = || First { node: node.clone(), depth, tickets: Default::default() };
        let entry = self.0.entry(hash(node, depth), same, First::hash);
        &mut entry.or_insert_with(new).into_mut().tickets
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

impl Snapshot {
    fn write(&self, f: &mut fmt::Formatter<'_>, print: Print<'_>) -> fmt::Result {
        let label = |entry: &Entry| entry.label.as_deref().map(printable).unwrap_or_default();
        let width = self.entries.iter().map(|entry| label(entry).chars().count()).max();
        let width = width.unwrap_or(0).max("label".len());
        let process = |entry: &Entry| entry.process.as_ref().map(ToString::to_string);
        let widths = self.entries.iter().filter_map(process).map(|text| text.chars().count());
        let process_width = widths.max().map(|width| width.max("process".len()));
        write!(f, "ticket  state         age  waits for  {:width$}  ", "label")?;
        if let Some(width) = process_width {
            write!(f, "{:width$}  ", "process")?;
        }
        f.write_str("roots")?;
        for entry in &self.entries {
            let waits_for = entry.waits_for.map(|ticket| format!("#{ticket}")).unwrap_or_default();
            write!(
                f,
                "\n{:>6}  {:7}  {:>8}  {:>9}  {:width$}  ",
                entry.ticket,
                entry.state,
                Age(entry.age).to_string(),
                waits_for,
                label(entry),
            )?;
            if let Some(width) = process_width {
                write!(f, "{:width$}  ", process(entry).unwrap_or_default())?;
            }
            for (number, root) in entry.roots.iter().enumerate() {
                f.write_str(if number == 0 { "" } else { ", " })?;
                root.write(f, print)?;
            }
            if entry.roots.is_empty() {
                f.write_str("nothing")?;
            }
        }
        Ok(())
    }
}
