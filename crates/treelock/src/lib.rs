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
//! Every verb returns a value that can be awaited, in any executor, or waited for by a thread: whatever blocks
//! says [`wait`](Wait::wait). [`acquire`](TreeLock::acquire) is a future that may be dropped at any time, and
//! [`wait_timeout`](Wait::wait_timeout) keeps its place in the line;
//! [`try_acquire`](TreeLock::try_acquire) does not wait. All work on the same lock at the same time. Who
//! does not get the lock gets a [`Blocked`], which names the one in the way; a [`Snapshot`] shows them
//! all. The locks between processes and between machines have the same verbs ([`engine`]).
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
//! - `serde`: [`Snapshot`], [`Blocked`] and what they are made of serialise; [`Node`], [`FencingToken`] and
//!   [`FenceGate`] deserialise too.
//! - `tracing`: events when a request waits, is granted and is released, with the target `treelock`.
//!
//! No feature changes what the lock does.

mod access;
mod acquire;
mod answer;
mod arena;
mod blocked;
mod claimed;
mod claims;
pub mod engine;
mod error;
mod event;
mod fence;
mod finding;
mod guard;
mod lock;
mod memory;
mod mode;
mod name;
mod node;
mod node_error;
mod print;
mod request;
mod root;
mod sighting;
mod snapshot;
mod sync;
mod table;
mod text;
mod tree;
mod turn;
mod wait;
mod wake;

pub use access::Access;
pub use acquire::Acquire;
pub use answer::Answer;
pub use blocked::Blocked;
pub use error::Error;
pub use fence::{FenceGate, FencingToken, Stale};
pub use guard::Guard;
pub use lock::TreeLock;
pub use name::ToNode;
pub use node::Node;
pub use node_error::NodeError;
pub use request::{Conflict, Request};
pub use root::Root;
pub use sighting::State;
pub use snapshot::{Entry, Snapshot};
pub use wait::Wait;

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
