//! What every engine of `treelock` must pass: random operations against a naive model, scenarios with
//! the printed lock table as oracle, threads that watch rule C1 at every moment, and leaving at every
//! point.
//!
//! An engine that has the verbs of [`treelock::engine`] is shown to the suite as a [`Judged`], wherever it
//! lives, in this repository or outside. A test file of an engine is one test for each part of the suite:
//!
//! ```
//! use treelock::TreeLock;
//! use treelock_conformance::{Judged, leaving, random, scenarios, threads, verbs};
//!
//! let engine = || Judged::exact(TreeLock::new());
//! random::holders_are_exactly_the_models(40, 100, engine);
//! scenarios::every_scenario_prints_what_it_says(engine);
//! threads::many_threads_keep_the_rule_at_every_moment(2, 100, engine());
//! leaving::every_way_to_leave_leaves_nothing(100, engine);
//! verbs::every_verb_means_what_it_says(engine);
//! ```
//!
//! All parts but `verbs` take any [`Subject`], which need not be an engine of this process: ask, poll, leave,
//! snapshot. Tickets may count as they like, as long as they tell the order of arrival.
//!
//! The numbers C1.. are those of the contract, CONTRACT.md in the repository. That the suite can fail is
//! shown by `tests/flaws`, with engines that have one flaw at a time.

mod checks;
mod judged;
pub mod leaving;
mod model;
mod polled;
pub mod random;
pub mod scenarios;
mod subject;
pub mod threads;
pub mod verbs;

pub use judged::{Judged, Kept, Polling};
pub use polled::Polled;
pub use subject::{Subject, Task, Wakes, poll_until};
