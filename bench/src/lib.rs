//! What the benchmark binaries share: the peers, the paths, and one poll of a future.
//!
//! See `bench/README.md` for what is measured and how to read it.

pub mod host;
pub mod paths;
pub mod peers;
pub mod poll;
