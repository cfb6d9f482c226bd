//! What the lock shows of itself: [`Snapshot`], all live requests at one moment, and [`Blocked`], the
//! answer to somebody who did not get the lock. Both are plain values that outlive the moment.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use hashbrown::HashTable;

use crate::{
    mode::Mode,
    node::Node,
    request::{Access, Placed, Request},
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

/// The process that a live request belongs to, where the lock spans several.
///
/// # Examples
///
/// ```
/// use treelock::Process;
///
/// let process = Process { pid: 4242, host: Some("build-1".into()) };
/// assert_eq!(process.to_string(), "pid 4242 on build-1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Process {
    /// The number of the process, as it sees itself.
    pub pid: u32,
    /// The host it runs on, where the lock spans several.
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

/// A live request as a lock table hands it out: what a [`Snapshot`] is made of. For those who write an
/// engine.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock::{Request, Sighting, Snapshot, State};
///
/// let sighting = |ticket, request| Sighting {
///     ticket,
///     request,
///     asked: Duration::from_secs(5),
///     granted: None,
///     process: None,
/// };
/// let table = vec![
///     sighting(8, Request::new().read("a/b")?.label("second")),
///     sighting(7, Request::new().write("a")?.label("first")),
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
    /// What is asked, with the label.
    pub request: Request,
    /// How long ago it asked.
    pub asked: Duration,
    /// How long ago it was granted, if that is known.
    pub granted: Option<Duration>,
    /// The process it belongs to.
    pub process: Option<Arc<Process>>,
}

impl Snapshot {
    /// Returns a snapshot of these live requests, all of them of one moment, in any order. By the rule, a
    /// request is held iff no earlier one conflicts with it. For those who write an engine.
    ///
    /// # Examples
    ///
    /// See [`Sighting`].
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
                label: request.get_label().map(Arc::from),
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
    /// The blocker's process, where the lock spans several; `None` in a lock of one process.
    pub process: Option<Arc<Process>>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

impl Blocked {
    /// Returns who would be in the way of `request` if it had this ticket, among these live requests of one
    /// moment, in any order; `None` if nobody would. For those who write an engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Blocked, Request, Sighting};
    ///
    /// let sighting = Sighting {
    ///     ticket: 7,
    ///     request: Request::new().write("a")?,
    ///     asked: Duration::ZERO,
    ///     granted: None,
    ///     process: None,
    /// };
    /// let reader = Request::new().read("a/b")?;
    /// let blocked = Blocked::of(&[sighting.clone()], &reader, 8).unwrap();
    /// assert_eq!(blocked.ticket, 7);
    /// assert_eq!(Blocked::of(&[sighting], &reader, 6), None, "7 comes after 6");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn of(sightings: &[Sighting], request: &Request, ticket: u64) -> Option<Blocked> {
        let earlier = |than: u64| sightings.iter().filter(move |other| other.ticket < than);
        let ahead = earlier(ticket).filter(|other| request.conflict(&other.request).is_some());
        let ahead: Vec<&Sighting> = ahead.collect();
        let first = ahead.iter().min_by_key(|other| other.ticket)?;
        let conflicts = |its: &Placed<'_>| request.placed().any(|own| own.conflicts(its));
        let widest = first.request.placed().filter(conflicts).min_by_key(|its| its.node.depth())?;
        let wanted = request.placed().find(|own| own.conflicts(&widest))?;
        let waits = earlier(first.ticket).any(|o| first.request.conflict(&o.request).is_some());
        let (state, age) = match waits {
            true => (State::Waiting, first.asked),
            false => (State::Held, first.granted.unwrap_or(first.asked)),
        };
        Some(Blocked {
            wanted: Root::new((wanted.access, wanted.node)),
            blocker: Root::new((widest.access, widest.node)),
            label: first.request.get_label().map(Arc::from),
            ticket: first.ticket,
            state,
            age,
            ahead: ahead.len(),
            process: first.process.clone(),
        })
    }

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
        if let Some(process) = &self.process {
            write!(f, " ({process})")?;
        }
        f.write_str(": ")?;
        self.blocker.write(f, print)?;
        write!(f, ", {} for {}; {} ahead", self.state, Age(self.age), self.ahead)
    }
}

impl Error for Blocked {}
