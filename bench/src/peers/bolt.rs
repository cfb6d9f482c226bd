//! The crate `bolt`: a map from path prefix to a tokio `RwLock`.
//!
//! It locks no root, never removes an entry, and its two directions of walking can deadlock with
//! one another; here only the backward one is used, as its own documentation does.

use super::peer::Peer;
use crate::poll::ready;

/// `bolt::Lock` with room for `N` segments, which it asks to be known at compile time.
pub struct Bolt<const N: usize>(bolt::Lock<N>);

impl<const N: usize> Peer for Bolt<N> {
    const NAME: &'static str = "bolt 0.3";
    type Held<'a> = [Option<bolt::Guard>; N];

    fn new() -> Self {
        Bolt(bolt::Lock::default())
    }

    fn write(&self, path: &str) -> Self::Held<'_> {
        // A leading slash would add an empty segment, which bolt's users do not write.
        ready(self.0.write_backward(path.trim_start_matches('/')))
    }
}
