//! How much of a row is run on one cluster: a [`Plan`].

use std::sync::Arc;

use crate::report::Line;

/// A part of a row that is run on a cluster of its own.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// The number of the first fault, so that kinds take turns.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) seed: u64,
    /// Called with how much more is done.
    pub(crate) tick: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Plan {
    /// Returns the line of a run that could not begin.
    pub(crate) fn failed(&self, error: String) -> Line {
        Line { name: self.name.into(), wrong: vec![error], ..Line::default() }
    }
}
