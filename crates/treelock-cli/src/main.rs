//! The command `treelock`.
fn main() {}
