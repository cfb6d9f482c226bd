//! The locks that are compared: treelock, and what people use instead of it.
//!
//! Every peer does the same task: one write (or read) lock on the sub-tree at a path given as
//! text, and its release. What a peer needs before it can lock (joining a path's prefixes, hashing
//! them to numbers) counts as its cost, since its user pays it too.

mod bolt;
mod global;
mod lock_db;
mod mem_ls;
mod node_map;
mod treelock;

pub use self::bolt::Bolt;
pub use self::global::Global;
pub use self::lock_db::LockDb;
pub use self::mem_ls::DavMemLs;
pub use self::node_map::{NodeHeld, NodeLocks, Registry, Sharded, Single};
pub use self::treelock::Treelock;

/// A lock manager as the single-threaded comparisons see it.
pub trait Peer: Send + Sync {
    /// The name in tables and plots.
    const NAME: &'static str;

    /// What is held; dropping it releases.
    type Held<'a>: Send
    where
        Self: 'a;

    /// An instance that holds nothing.
    fn new() -> Self;

    /// Takes the write lock on `path`, which must be free.
    fn write(&self, path: &str) -> Self::Held<'_>;
}
