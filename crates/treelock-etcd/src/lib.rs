//! Read/write locks on whole sub-trees between machines, on etcd.

mod clock;
mod error;
mod guard;
mod key;
mod lock;
mod servers;
mod session;
mod table;

pub use error::Error;
pub use guard::Guard;
pub use lock::{Acquire, EtcdLock, Options};
