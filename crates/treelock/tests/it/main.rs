//! The integration tests of `treelock`, in one binary.

mod bad_input;
mod bounds;
mod cancel;
mod model;
mod random;
mod scenarios;
mod threads;
mod verbs;
mod waking;
