//! treelock itself, through the asynchronous API that its users call.

use treelock::{Guard, Request, TreeLock};

use super::peer::Peer;
use crate::poll::ready;

/// A [`TreeLock`] that is given a path as text: parsing is part of the cost.
pub struct Treelock(
    /// The lock itself, for operations that the other peers lack.
    pub TreeLock,
);

impl Peer for Treelock {
    const NAME: &'static str = "treelock";
    type Held<'a> = Guard;

    fn new() -> Self {
        Treelock(TreeLock::new())
    }

    fn write(&self, path: &str) -> Guard {
        let request = Request::new().write(path).expect("the paths of the benchmark are valid");
        ready(self.0.acquire(&request))
    }
}
