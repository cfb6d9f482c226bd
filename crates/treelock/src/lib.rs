//! Read/write locks on whole sub-trees.
#![doc = ""]
mod acquire;
mod arena;
mod event;
mod guard;
mod mode;
mod node;
mod request;
mod snapshot;
mod sync;
mod table;

pub use acquire::{Acquire, TreeLock};
pub use guard::Guard;
pub use node::{Node, NodeError, ToNode};
pub use request::{Access, Conflict, Request};
pub use snapshot::{Blocked, Entry, Root, Snapshot, State};
