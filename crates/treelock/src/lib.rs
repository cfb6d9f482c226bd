//! Read/write locks on whole sub-trees.
//!
//! Lock "everything below `photos/2025` exclusively and everything below `templates` shared" in one
//! request, and nothing else in the world waits. For services that treat an object store as a
//! filesystem, virtual filesystems, build and CI tools, and whoever else guards a hierarchy of names.
//!
//! ```
//! use treelock::{Request, TreeLock};
//!
//! # async fn example() -> Result<(), treelock::NodeError> {
//! let lock = TreeLock::new();
//!
//! let request = Request::new().write("photos/2025")?.read("templates")?;
//! let guard = lock.acquire(&request).await;
//! // Nobody else is anywhere below photos/2025, and nobody writes below templates.
//! drop(guard);
//! # Ok(())
//! # }
//! ```
//!
//! # The rule
//!
//! **A request waits exactly for the earlier live requests that conflict with it, and is granted as
//! soon as there are none.** Two requests conflict iff some root of one is, or lies above or below, some
//! root of the other, and at least one of these two is a write. From the rule follow
//!
//! - *exclusion*: what conflicts is never held together;
//! - *no false wait*: what does not conflict never waits, whatever else is held or waits;
//! - *fairness*: nobody overtakes an earlier request that conflicts, so nobody starves;
//! - *no deadlock* among requests that are given whole: a waiting request holds nothing.
//!
//! # Ways to ask
//!
//! [`acquire`](TreeLock::acquire) is a future for any executor and may be dropped at any time;
//! [`acquire_blocking`](TreeLock::acquire_blocking),
//! [`acquire_timeout`](TreeLock::acquire_timeout) and
//! [`acquire_deadline`](TreeLock::acquire_deadline) block the thread;
//! [`try_acquire`](TreeLock::try_acquire) does neither. All work on the same lock at the same time. Who
//! does not get the lock gets a [`Blocked`], which names the one in the way; a [`Snapshot`] shows them
//! all.
//!
//! # Cost
//!
//! Locking and unlocking take time for the roots of the request and their ancestors; not for what lies
//! below them, not for the locks held, not for those waiting. The tree itself is never in memory: a node
//! is where its name says, and any name may have others below it.
//!
//! # When not to use it
//!
//! - One thing to guard, or a fixed few: an `RwLock` each is simpler and faster.
//! - Keys without a hierarchy: a map of locks, as the crate `lockable` has, says what you mean.
//! - Several processes or machines: this lock lives in one process. The crate `treelock-dir` has the same
//!   lock for the processes of one host.
//! - A holder that must ask for more while it holds: this lock is not re-entrant (see
//!   [`TreeLock`](TreeLock#deadlock)). Ask for everything at once.
//! - Nothing but the lock inside: when the work takes less than a microsecond and never waits, one
//!   global lock wins.
//!
//! How it differs from what you may know: it guards *names*, not data, so there is no `T` and no
//! `Deref`; it has one guard type for reads and writes, owned and `'static` as `tokio`'s owned guards
//! are; it is strictly fair, where `parking_lot` is fair eventually; and, unlike a map of locks, it takes
//! several sub-trees in one step.
//!
//! # Features
//!
//! - `serde`: [`Snapshot`], [`Blocked`] and what they are made of serialise.
//! - `tracing`: events when a request waits, is granted and is released, with the target `treelock`.
//! - `object-store`: paths of the crate `object_store` name nodes.
//!
//! No feature changes what the lock does.

mod acquire;
mod arena;
mod engine;
mod event;
mod fence;
mod finding;
mod guard;
mod mode;
mod node;
mod place;
mod request;
mod snapshot;
mod sync;
mod table;
mod tree;

pub use acquire::{Acquire, TreeLock};
pub use engine::Engine;
pub use fence::{FenceGate, FencingToken, Stale};
pub use finding::{Finding, Severity};
pub use guard::Guard;
pub use node::{Node, NodeError, ToNode};
pub use request::{Access, Conflict, Request};
pub use snapshot::{Blocked, Entry, Process, Root, Sighting, Snapshot, State};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
