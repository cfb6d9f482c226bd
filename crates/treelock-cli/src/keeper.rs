//! Names the process that keeps a ticket, where the one that made the request has died: the command
//! that it started, or what that has left behind.
//!
//! To find it, the files of all processes are read. So it is done only where the recorded process
//! is dead.

use std::sync::Arc;

use treelock::{Blocked, Entry, Snapshot, Wait as _, engine::Process};
use treelock_any::Error;

use crate::{lock::Lock, processes};

/// Corrects the process of a blocker.
pub(crate) fn name_in(lock: &Lock, blocked: &mut Blocked) {
    name(lock, blocked.ticket, &mut blocked.process);
}

/// Returns all live requests.
pub(crate) fn snapshot(lock: &Lock) -> Result<Snapshot, Error> {
    let mut snapshot = lock.any.snapshot().wait()?;
    snapshot.entries.iter_mut().for_each(|entry| name_of(lock, entry));
    Ok(snapshot)
}

/// Corrects the process of a request.
pub(crate) fn name_of(lock: &Lock, entry: &mut Entry) {
    name(lock, entry.ticket, &mut entry.process);
}

fn name(lock: &Lock, ticket: u64, process: &mut Option<Arc<Process>>) {
    let Some(recorded) = process else { return };
    if !lock.is_of_this_host() || processes::is_alive(recorded.pid) {
        return;
    }
    // What cannot be found, such as another user's process, keeps the number that is known.
    let keepers = lock.processes(ticket).unwrap_or_default();
    let is_topmost = |pid: &&u32| processes::parent(**pid).is_none_or(|it| !keepers.contains(&it));
    if let Some(pid) = keepers.iter().find(is_topmost) {
        *process = Some(Process { pid: *pid, host: recorded.host.clone() }.into());
    }
}
