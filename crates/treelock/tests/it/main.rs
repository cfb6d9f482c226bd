//! The integration tests of `treelock`, in one binary.

mod bad_input;
mod bounds;
mod conformance;
mod spike;
mod verbs;
mod waking;
