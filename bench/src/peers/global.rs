//! One `tokio::sync::RwLock` for the whole tree: the least work, and no concurrency.

use tokio::sync::{RwLock, RwLockWriteGuard};

use super::peer::Peer;
use crate::poll::ready;

/// One lock for everything; the path is ignored.
pub struct Global(RwLock<()>);

impl Peer for Global {
    const NAME: &'static str = "global RwLock";
    type Held<'a> = RwLockWriteGuard<'a, ()>;

    fn new() -> Self {
        Global(RwLock::new(()))
    }

    fn write(&self, _path: &str) -> Self::Held<'_> {
        ready(self.0.write())
    }
}
