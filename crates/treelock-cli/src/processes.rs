//! Which processes this one runs in: its parent, the parent of that, and so on.

use std::{collections::BTreeSet, fs, process};

/// This process, its parent, and so on.
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

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, so it is found by its last parenthesis.
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}
