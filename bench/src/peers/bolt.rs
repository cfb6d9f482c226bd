//! The crate `bolt`: a map from path prefix to a tokio `RwLock`.
//!
//! It does not lock the root, and never removes an entry. Its two walking directions can deadlock
//! with one another; here only the backward one is used, as in its own documentation.

use super::peer::Peer;
use crate::poll::ready;

/// `bolt::Lock` with room for `N` segments, which must be known at compile time.
pub struct Bolt<const N: usize>(bolt::Lock<N>);

impl<const N: usize> Peer for Bolt<N> {
    const NAME: &'static str = "bolt 0.3";
    type Held<'a> = [Option<bolt::Guard>; N];

    fn new() -> Self {
        Bolt(bolt::Lock::default())
    }

    fn write(&self, path: &str) -> Self::Held<'_> {
        // A leading slash would add an empty segment, which users of bolt do not write.
        ready(self.0.write_backward(path.trim_start_matches('/')))
    }
}
