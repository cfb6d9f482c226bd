//! The integration tests of `treelock-dir`, in one binary.

mod calls;
mod conformance;
mod cut;
mod damage;
mod deaths;
mod directory;
mod disks;
mod fork;
mod give_up;
mod helper;
mod inherited;
mod killed;
mod latch;
mod limits;
mod lost;
mod numbers;
mod parts;
mod processes;
mod raw;
mod scratch;
mod size;
mod steps;
mod types;
mod users;
mod waiting;
mod wakers;
