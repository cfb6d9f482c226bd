//! Read/write locks on whole sub-trees.
//!
//! One request locks "everything below `photos/2025` exclusively and everything below `templates`
//! shared"; nothing else has to wait. For services that treat an object store as a filesystem,
//! virtual filesystems, build and CI tools, and anything else that guards a hierarchy of names.
//!
//! ```
//! use treelock::{Request, TreeLock};
//!
//! # async fn example() -> Result<(), treelock::NodeError> {
//! let lock = TreeLock::new();
//!
//! let request = Request::new().write("photos/2025")?.read("templates")?;
//! let guard = lock.acquire(&request).await;
//! // No one else is anywhere below photos/2025, and no one writes below templates.
//! drop(guard);
//! # Ok(())
//! # }
//! ```
//!
//! # The rule
//!
//! **A request waits exactly for the earlier live requests that conflict with it, and is granted as
//! soon as there are none.** Two requests conflict iff some root of one equals, contains or lies
//! within some root of the other, and at least one of these two is a write. It follows from the
//! rule that there is
//!
//! - *exclusion*: conflicting requests are never held at the same time;
//! - *no false wait*: requests that do not conflict never wait for each other, whatever else is
//!   held or waiting;
//! - *fairness*: nothing overtakes an earlier request that conflicts with it, so no request
//!   starves;
//! - *no deadlock* among requests that are made as a whole: a waiting request holds nothing.
//!
//! # Ways to acquire
//!
//! Every verb returns a value that can be awaited, in any executor, or that a thread can
//! [`wait`](Wait::wait) for; nothing else blocks a thread. [`acquire`](TreeLock::acquire) returns a
//! future that may be dropped at any time, and [`wait_timeout`](Wait::wait_timeout) keeps its place
//! in line. [`try_acquire`](TreeLock::try_acquire) does not wait. All of them work on the same lock
//! at the same time. A request that does not get the lock gets a [`Blocked`], which names the
//! request in its way; a [`Snapshot`] shows all live requests. The locks between processes and
//! between machines have the same verbs (see [`engine`]).
//!
//! # Cost
//!
//! The time to lock and unlock depends on the roots of the request and their ancestors. It does not
//! depend on what lies below them, on the locks held, or on the requests waiting. The tree itself
//! is never in memory: a node is defined by its name, and any node may have others below it.
//!
//! # When not to use it
//!
//! - For one thing to guard, or a fixed few: one `RwLock` each is simpler and faster.
//! - For keys without a hierarchy: a map of locks, such as the crate `lockable`, says what you
//!   mean.
//! - For several processes or machines: this lock lives in one process. The crate `treelock-dir`
//!   provides the same lock for the processes of one host.
//! - For a holder that must request more while it holds: this lock is not re-entrant (see
//!   [`TreeLock`](TreeLock#deadlock)). Request everything at once.
//! - For very short critical sections: when the work takes less than a microsecond and never waits,
//!   one global lock wins.
//!
//! How it differs from locks you may know: it guards *names*, not data, so there is no `T` and no
//! `Deref`. It has a single guard type for reads and writes, which is owned and `'static`, like the
//! owned guards of `tokio`. It is strictly fair, where `parking_lot` is eventually fair. Unlike a
//! map of locks, it takes several sub-trees in one step.
//!
//! # Features
//!
//! - `serde`: [`Snapshot`], [`Blocked`] and the types in them can be serialised; [`Node`],
//!   [`FencingToken`] and [`FenceGate`] can also be deserialised.
//! - `tracing`: events when a request waits, is granted and is released, with the target
//!   `treelock`.
//!
//! No feature changes what the lock does.
//!
//! Numbers such as C7 in comments refer to the repository's CONTRACT.md.

mod access;
mod acquire;
mod answer;
mod arena;
mod blocked;
mod changes;
mod claimed;
mod claims;
#[cfg(test)]
mod conflicts;
pub mod engine;
mod error;
mod event;
mod events;
mod fence;
mod finding;
mod guard;
mod lock;
mod looking;
mod memory;
mod mode;
mod name;
mod node;
mod node_error;
mod print;
mod request;
mod root;
mod root_index;
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

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
