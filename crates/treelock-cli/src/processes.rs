//! The ancestors of this process: its parent, the parent's parent, and so on.

use std::{collections::BTreeSet, fs, process};

use treelock::engine::Process;

/// Returns whether a process is this one or one of its ancestors. A process of another host never
/// is, even if it has such a pid.
pub(crate) fn is_own_or_above(other: &Process) -> bool {
    let host = rustix::system::uname();
    let is_here =
        other.host.as_deref().is_none_or(|name| name.as_bytes() == host.nodename().to_bytes());
    is_here && own_and_above().contains(&other.pid)
}

/// Returns this process, its parent, the parent's parent, and so on.
pub(crate) fn own_and_above() -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    let mut next = Some(process::id());
    while let Some(pid) = next
        && pid > 1
        && all.insert(pid)
    {
        next = parent(pid);
    }
    all
}

/// Returns the parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns whether a process runs, or could. One that has ended and that nobody has waited for does
/// not.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.trim_start().starts_with(['Z', 'X']))
}

/// Returns what the kernel says of a process, from its state on; see `proc_pid_stat(5)`.
fn stat(pid: u32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, so the last parenthesis marks its end.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    String::from_utf8(stat[name_end + 1..].to_vec()).ok()
}
