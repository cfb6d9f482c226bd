//! The answer to a request that was not granted: [`Blocked`].

use std::{error::Error, fmt, sync::Arc, time::Duration};

use crate::{
    node::Node,
    print::{Age, Print, Printed},
    request::Request,
    root::Root,
    root_index::RootIndex,
    sighting::{Process, Sighting, State},
};

/// Says that a request was not granted, and which request was in its way.
///
/// The blocker is the earliest live request that conflicts, so it is the one that has to be
/// released first. The failed request leaves nothing behind in the lock.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock, Wait};
///
/// let lock = TreeLock::new();
/// let guard = lock.acquire(&Request::new().write("photos/2025")?.with_label("import-7")).wait();
/// let blocked = lock.try_acquire(&Request::new().read("photos")?).wait().unwrap_err();
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
    /// The requested root that is in conflict; the first, if there are several.
    pub wanted: Root,
    /// The blocker's conflicting root.
    pub blocker: Root,
    /// The blocker's label.
    pub label: Option<Arc<str>>,
    /// The blocker's ticket, as shown in a [`Snapshot`](crate::Snapshot).
    pub ticket: u64,
    /// Whether the blocker holds its lock or is itself waiting.
    pub state: State,
    /// How long the blocker has been in this state, to a few milliseconds. Serialised as seconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::print::as_seconds"))]
    pub age: Duration,
    /// How many live requests are ahead: the earlier ones that conflict, including the blocker.
    pub ahead: usize,
    /// The blocker's process, where the lock spans several; `None` for an in-process lock.
    pub process: Option<Arc<Process>>,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Node::fmt)
    }
}

impl Blocked {
    /// Returns the request that would be in the way of `request` if it had this ticket, or `None`
    /// if there is none. The live requests must all be of one moment and may be in any order. For
    /// engine authors.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::engine::Sighting;
    /// use treelock::{Blocked, Request};
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
        let own = RootIndex::new(request);
        let ahead = earlier(ticket).filter(|other| own.conflicts_with(&other.request));
        let ahead: Vec<&Sighting> = ahead.collect();
        let first = ahead.iter().min_by_key(|other| other.ticket)?;
        let conflicting = first.request.placed().filter(|its| own.conflicts(its));
        let widest = conflicting.min_by_key(|its| its.node.depth())?;
        let wanted = request.placed().find(|own| own.conflicts(&widest))?;
        let its = RootIndex::new(&first.request);
        let waits = earlier(first.ticket).any(|other| its.conflicts_with(&other.request));
        let (state, age) = match waits {
            true => (State::Waiting, first.asked),
            false => (State::Held, first.granted.unwrap_or(first.asked)),
        };
        Some(Blocked {
            wanted: Root::new((wanted.access, wanted.node)),
            blocker: Root::new((widest.access, widest.node)),
            label: first.request.label().map(Arc::from),
            ticket: first.ticket,
            state,
            age,
            ahead: ahead.len(),
            process: first.process.clone(),
        })
    }

    /// Returns a value that prints the same sentence, but prints nodes with `print`: for a program
    /// whose nodes stand for something else.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let inode = Request::new().write("7")?;
    /// let _guard = lock.acquire(&inode).wait();
    /// let blocked = lock.try_acquire(&inode).wait().unwrap_err();
    /// let told = blocked.display_with(|node, f| write!(f, "inode {}", &node.to_string()[1..]));
    /// assert!(told.to_string().starts_with("write inode 7 is blocked by request #1"));
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
