//! The integration tests of `treelock-dir`, in one binary.

mod conformance;
mod damage;
mod disks;
mod fork;
mod helper;
mod killed;
mod limits;
mod lost;
mod neighbours;
mod processes;
mod scratch;
mod steps;
mod types;
mod users;
