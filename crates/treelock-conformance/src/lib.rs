//! What every engine of `treelock` must pass: random operations against a naive model, scenarios with
//! the printed lock table as oracle, threads that watch rule C1 at every moment, and leaving at every
//! point.
//!
//! An engine is shown to the suite as an [`Engine`]: ask, poll, leave, snapshot. Nothing else is taken
//! for granted: its tasks need not be futures of this process, its guards have no methods, and its
//! tickets may count as they like, as long as they tell the order of arrival. A test file of an engine
//! is its adapter and one test for each entry point:
//!
//! ```
//! use treelock::TreeLock;
//! use treelock_conformance::{leaving, random, scenarios, threads};
//!
//! random::holders_are_exactly_the_models(40, 100, TreeLock::new);
//! scenarios::every_scenario_prints_what_it_says(TreeLock::new);
//! threads::many_threads_keep_the_rule_at_every_moment(2, 100, TreeLock::new());
//! leaving::every_way_to_leave_leaves_nothing(100, TreeLock::new);
//! ```
//!
//! The numbers C1.. are those of the contract. That the suite can fail is shown by `tests/flaws.rs`,
//! with an engine that has one flaw at a time.

mod core;
mod engine;
pub mod leaving;
mod model;
mod polled;
pub mod random;
pub mod scenarios;
pub mod threads;

pub use engine::{Engine, Task, Wakes, poll_until};
pub use polled::Polled;
