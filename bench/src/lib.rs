//! What the benchmark binaries share: the peers, the paths, and one poll of a future.
//!
//! See `bench/README.md` for what is measured and how to read it. Numbers such as C7 refer to
//! CONTRACT.md, in the root of the repository.

#![expect(
    missing_debug_implementations,
    reason = "peers are measured, never printed, and some of their types cannot be"
)]

pub mod host;
pub mod paths;
pub mod peers;
pub mod poll;
