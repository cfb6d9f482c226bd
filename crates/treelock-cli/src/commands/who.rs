//! `treelock who`: shows what would be in the way of a request.

use std::slice;

use treelock::Wait as _;

use crate::{arguments::Who, error::Failure, exit, json, keeper, lock::Lock, nodes, output::print};

/// Prints what would block a request. Returns the exit code.
pub(crate) fn who(lock: &Lock, arguments: &Who) -> Result<u8, Failure> {
    let node = slice::from_ref(&arguments.node);
    let (write, read) = if arguments.read { (&[][..], node) } else { (node, &[][..]) };
    let request = nodes::request(arguments.naming.naming(), write, read)?;
    let mut blocked = lock.any.blocked(&request).wait()?;
    blocked.iter_mut().for_each(|blocked| keeper::name_in(lock, blocked));
    match (&blocked, arguments.json) {
        (blocked, true) => print(&json::line(&json::WhoBlocks::new(blocked.as_ref()))),
        (Some(blocked), false) => print(&blocked.to_string()),
        (None, false) => print(&format!("{request} would be granted at once")),
    }?;
    Ok(if blocked.is_some() { exit::NOT_GRANTED } else { 0 })
}
