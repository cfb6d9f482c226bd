//! `treelock who`: would anybody be in the way?

use std::slice;

use treelock::Wait as _;

use crate::{arguments::Who, error::Failure, exit, json, lock::Lock, nodes, output::print};

/// Says who would block a request; returns the exit code.
pub(crate) fn who(lock: &Lock, arguments: &Who) -> Result<u8, Failure> {
    let node = slice::from_ref(&arguments.node);
    let (write, read) = if arguments.read { (&[][..], node) } else { (node, &[][..]) };
    let request = nodes::request(arguments.naming.naming(), write, read)?;
    let blocked = lock.any.blocked(&request).wait()?;
    match (&blocked, arguments.json) {
        (blocked, true) => print(&json::line(&json::WhoBlocks::new(blocked.as_ref()))),
        (Some(blocked), false) => print(&blocked.to_string()),
        (None, false) => print(&format!("{request} would be granted at once")),
    }?;
    Ok(if blocked.is_some() { exit::NOT_GRANTED } else { 0 })
}
