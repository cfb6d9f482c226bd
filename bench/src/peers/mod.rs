//! The locks that are compared: treelock, and what people use instead of it.
//!
//! Every peer does the same task: it takes one write (or read) lock on the sub-tree at a path given
//! as text, and releases it. Whatever a peer needs before it can lock (joining a path's prefixes,
//! hashing them to numbers) counts as its cost, since its user pays for that too.

mod bolt;
mod global;
mod lock_db;
mod mem_ls;
mod node_map;
mod peer;
mod treelock;

pub use self::bolt::Bolt;
pub use self::global::Global;
pub use self::lock_db::LockDb;
pub use self::mem_ls::DavMemLs;
pub use self::node_map::{NodeHeld, NodeLocks, Registry, Sharded, Single};
pub use self::peer::Peer;
pub use self::treelock::Treelock;
