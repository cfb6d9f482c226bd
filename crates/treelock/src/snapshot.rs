//! What the lock shows of itself: [`Snapshot`], all live requests at one moment, and [`Blocked`], the
//! answer to somebody who did not get the lock. Both are plain values that outlive the moment.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use hashbrown::HashTable;

use crate::{
    mode::Mode,
    node::Node,
    request::{Access, Request},
};

/// Whether a live request has its lock or is in line for it.
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

/// One root of a request, as it is shown.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
///
/// let lock = TreeLock::new();
/// let _guard = lock.try_acquire(&Request::new().write("a")?)?;
/// assert_eq!(lock.snapshot().entries[0].roots[0].to_string(), "write /a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Root {
    /// Whether the sub-tree is read or written.
    pub access: Access,
    /// The root of the sub-tree.
    pub node: Node,
}

impl Root {
    pub(crate) fn new((access, node): (Access, &Node)) -> Root {
        Root { access, node: node.clone() }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

/// How nodes are printed.
type Print<'a> = &'a dyn Fn(&Node, &mut fmt::Formatter<'_>) -> fmt::Result;

impl Root {
    fn write(&self, f: &mut fmt::Formatter<'_>, print: Print<'_>) -> fmt::Result {
        write!(f, "{} ", self.access)?;
        print(&self.node, f)
    }
}

/// A value printed by a closure.
struct Printed<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Printed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0(f)
    }
}

/// A live request in a [`Snapshot`].
///
/// # Examples
///
/// ```
/// use treelock::{Request, State, TreeLock};
///
/// let lock = TreeLock::new();
/// let _guard = lock.try_acquire(&Request::new().write("a")?.label("import"))?;
/// let entry = &lock.snapshot().entries[0];
/// assert_eq!((entry.state, entry.label.as_deref()), (State::Held, Some("import")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Entry {
    /// The place in the order of arrival; lower is earlier. Never used twice by one lock.
    pub ticket: u64,
    /// Held or waiting.
    pub state: State,
    /// How long it has been in this state, to a few milliseconds. Serialised as seconds and nanoseconds.
    pub age: Duration,
    /// Who asks, if the request says so.
    pub label: Option<Arc<str>>,
    /// The roots as they were given.
    pub roots: Vec<Root>,
    /// The ticket of the earliest request that this one waits for; `None` iff it is held.
    pub waits_for: Option<u64>,
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
/// use treelock::{Request, TreeLock};
///
/// let lock = TreeLock::new();
/// let guard = lock.try_acquire(&Request::new().write("photos/2025")?.label("import"))?;
/// let snapshot = lock.snapshot();
/// assert_eq!(snapshot.held().count(), 1);
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The live requests, the earliest first.
    pub entries: Vec<Entry>,
}

/// A live request as the lock table hands it out.
pub(crate) struct Sighting {
    pub(crate) ticket: u64,
    pub(crate) state: State,
    pub(crate) age: Duration,
    pub(crate) request: Request,
}

impl Snapshot {
    /// Put the sightings of one moment in order and say who waits for whom.
    pub(crate) fn new(mut sightings: Vec<Sighting>) -> Snapshot {
        sightings.sort_by_key(|sighting| sighting.ticket);
        let mut earliest = Earliest::default();
        let entries = sightings.iter().map(|sighting| {
            let conflicting = earliest.enter(sighting.ticket, &sighting.request);
            Entry {
                ticket: sighting.ticket,
                state: sighting.state,
                age: sighting.age,
                label: sighting.request.get_label().map(Arc::from),
                roots: sighting.request.roots().map(Root::new).collect(),
                waits_for: conflicting.filter(|_| sighting.state == State::Waiting),
            }
        });
        Snapshot { entries: entries.collect() }
    }

    /// Returns the requests that have their lock.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(treelock::TreeLock::new().snapshot().held().count(), 0);
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
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.try_acquire(&Request::new().write("7")?)?;
    /// let table = lock.snapshot();
    /// let table = table.display_with(|node, f| write!(f, "inode {}", &node.to_string()[1..]));
    /// assert!(table.to_string().ends_with("write inode 7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// assert_eq!(treelock::TreeLock::new().snapshot().waiting().count(), 0);
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
        write!(f, "ticket  state         age  waits for  {:width$}  roots", "label")?;
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

/// A label on one line, whatever is in it.
fn printable(label: &str) -> String {
    let mut line = String::new();
    for char in label.chars() {
        match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }
    line
}

/// A duration for people: `0.2s`, `3.2s`, `4m 07s`, `2h 05m`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1}s", (self.0.as_secs_f64() * 10.0).floor() / 10.0),
            60..3600 => write!(f, "{}m {:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// The request was not granted: who is in the way.
///
/// The blocker named is the earliest live request that conflicts, so the one whose release has to come
/// first. Nothing of the failed request is left in the lock.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
///
/// let lock = TreeLock::new();
/// let guard = lock.try_acquire(&Request::new().write("photos/2025")?.label("import-7"))?;
/// let blocked = lock.try_acquire(&Request::new().read("photos")?).unwrap_err();
/// assert_eq!(blocked.label.as_deref(), Some("import-7"));
/// assert_eq!(
///     blocked.to_string(),
///     "read /photos is blocked by \"import-7\": write /photos/2025, held for 0.0s; 1 ahead",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Blocked {
    /// The root that was asked for and is in conflict; of several, the first.
    pub wanted: Root,
    /// The blocker's conflicting root.
    pub blocker: Root,
    /// The blocker's label.
    pub label: Option<Arc<str>>,
    /// The blocker's ticket, as [`Snapshot`] shows it.
    pub ticket: u64,
    /// Whether the blocker holds its lock or waits itself.
    pub state: State,
    /// How long the blocker has been in this state, to a few milliseconds. Serialised as seconds and
    /// nanoseconds.
    pub age: Duration,
    /// How many live requests are ahead: earlier and in conflict, the blocker among them.
    pub ahead: usize,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

impl Blocked {
    /// Returns a value that prints the same sentence, with nodes as `print` prints them: for a program
    /// whose nodes stand for something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let inode = Request::new().write("7")?;
    /// let _guard = lock.try_acquire(&inode)?;
    /// let blocked = lock.try_acquire(&inode).unwrap_err();
    /// let sentence = blocked.display_with(|node, f| write!(f, "inode {}", &node.to_string()[1..]));
    /// assert!(sentence.to_string().starts_with("write inode 7 is blocked by request #1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn display_with<F>(&self, print: F) -> impl fmt::Display
    where
        F: Fn(&Node, &mut fmt::Formatter<'_>) -> fmt::Result,
    {
        Printed(move |f: &mut fmt::Formatter<'_>| self.write(f, &print))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, print: Print<'_>) -> fmt::Result {
        self.wanted.write(f, print)?;
        f.write_str(" is blocked by ")?;
        match &self.label {
            Some(label) => write!(f, "{label:?}")?,
            None => write!(f, "request #{}", self.ticket)?,
        }
        f.write_str(": ")?;
        self.blocker.write(f, print)?;
        write!(f, ", {} for {}; {} ahead", self.state, Age(self.age), self.ahead)
    }
}

impl Error for Blocked {}
