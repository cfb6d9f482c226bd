//! What every engine of `treelock` must pass: random operations against a naive model ([`random`]),
//! texts with the printed lock table as oracle ([`scenarios`]), rule C1 at every moment of four
//! threads ([`threads`]), leaving at every point ([`leaving`]), and what each verb means
//! ([`verbs`]).
//!
//! An engine that implements [`treelock::engine`], in this repository or outside it, is passed to
//! the suite as a [`Judged`]. Its test file has one test for each part:
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
//! All parts except [`verbs`] take any [`Subject`], which does not have to be an engine in this
//! process: its requests can be made, polled and dropped, and it shows its table. Tickets may begin
//! anywhere and skip numbers, as long as they reflect the order of arrival.
//!
//! The numbers C1, C2, … refer to the repository's CONTRACT.md. ENGINES.md there explains how to
//! write an engine; the example `list_lock` is one. The test `flaws` shows that the suite can fail,
//! with engines that have one flaw at a time.

mod checks;
#[cfg(test)]
mod guide;
mod judged;
mod judged_guard;
mod judged_task;
pub mod leaving;
mod model;
mod polled;
mod probe;
pub mod random;
pub mod scenarios;
mod setting;
mod subject;
pub mod threads;
pub mod verbs;

pub use judged::Judged;
pub use judged_guard::JudgedGuard;
pub use judged_task::JudgedTask;
pub use polled::Polled;
pub use subject::{Subject, Task, Wakes, poll_until};
