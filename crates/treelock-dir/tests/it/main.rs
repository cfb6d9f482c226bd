//! The integration tests of `treelock-dir`, in one binary.

mod conformance;
mod neighbours;
