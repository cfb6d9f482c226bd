//! What a context manager holds.

use std::collections::HashMap;

use treelock::Guard;

use crate::intern::NodesInUse;

/// The locks that are held: one for each time that the context manager was entered and not yet
/// exited.
#[derive(Default)]
pub(crate) struct Holds {
    /// The hold of a caller that entered when no other hold existed. Which caller that was is not
    /// recorded: asking for the running task each time would cost every pair something for the
    /// benefit of a few.
    first: Option<Hold>,
    /// All other holds, by caller, the latest last. Each caller must exit with its own, since their
    /// roots may differ.
    others: Option<Box<Others>>,
}

type Others = HashMap<usize, Vec<Hold>>;

impl Holds {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_none()
    }

    /// Returns whether there is at most one hold, so that it does not matter which caller exits.
    pub(crate) fn is_one_at_most(&self) -> bool {
        self.others.is_none()
    }

    /// Keeps a hold if there is no other; otherwise returns it.
    pub(crate) fn put_first(&mut self, hold: Hold) -> Option<Hold> {
        if !self.is_empty() {
            return Some(hold);
        }
        self.first = Some(hold);
        None
    }

    /// Keeps the hold of a caller.
    pub(crate) fn put(&mut self, caller: usize, hold: Hold) {
        self.others.get_or_insert_default().entry(caller).or_default().push(hold);
    }

    /// Takes the hold of a caller that exits, or any hold if the caller is not known.
    pub(crate) fn take(&mut self, caller: Option<usize>) -> Option<Hold> {
        let others = self.others.as_deref_mut();
        let known =
            caller.filter(|caller| others.as_ref().is_some_and(|it| it.contains_key(caller)));
        let (Some(others), true) = (others, known.is_some() || self.first.is_none()) else {
            return self.first.take();
        };
        let owner = known.or_else(|| others.keys().next().copied())?;
        let own = others.get_mut(&owner)?;
        let hold = own.pop();
        if own.is_empty() {
            others.remove(&owner);
            if others.is_empty() {
                self.others = None;
            }
        }
        hold
    }

    pub(crate) fn into_all(self) -> impl Iterator<Item = Hold> {
        let others = self.others.map(|others| *others).unwrap_or_default();
        self.first.into_iter().chain(others.into_values().flatten())
    }
}

/// A lock that is held. The guard is dropped first, since its nodes are in use until then.
pub(crate) struct Hold {
    pub(crate) guard: Guard,
    _in_use: NodesInUse,
}

impl Hold {
    pub(crate) fn new(guard: Guard, in_use: NodesInUse) -> Hold {
        Hold { guard, _in_use: in_use }
    }
}
