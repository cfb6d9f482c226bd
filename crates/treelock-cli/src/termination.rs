//! Ends the processes of this host that keep a ticket alive.
//!
//! Signals never reach a process that does not keep the ticket: each process is first pinned by a
//! handle, then looked up once more, then signalled through its handle.

use std::{
    collections::BTreeSet,
    os::fd::OwnedFd,
    process, thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use treelock::{Entry, Wait as _};

use crate::{error::Failure, lock::Lock, processes};

/// The interval between checks whether the ticket is gone.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a killed process may take to disappear: it may be waiting for a slow disk.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Which processes got which signal.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) terminated: Vec<u32>,
    pub(crate) killed: Vec<u32>,
    /// The processes that this user may not signal.
    pub(crate) refused: BTreeSet<u32>,
}

/// Returns the live request with this ticket.
pub(crate) fn live(lock: &Lock, ticket: u64) -> Result<Option<Entry>, Failure> {
    let entries = lock.any.snapshot().wait()?.entries;
    Ok(entries.into_iter().find(|entry| entry.ticket == ticket))
}

/// Sends SIGTERM to all processes that keep a ticket, continues those that are stopped, and after
/// `grace` sends SIGKILL to those that are left.
pub(crate) fn end(
    lock: &Lock,
    ticket: u64,
    grace: Duration,
    asker: Option<u32>,
) -> Result<Sent, Failure> {
    let mut sent = Sent::default();
    terminate(lock, ticket, asker, &mut sent)?;
    // If this user may signal none of them, there is nothing to wait for.
    let waits = !sent.terminated.is_empty() || sent.refused.is_empty();
    if waits && !gone(lock, ticket, grace)? {
        for handle in handles(lock, ticket)? {
            handle.send(Signal::KILL, &mut sent.killed, &mut sent.refused);
        }
        gone(lock, ticket, KILL_TIMEOUT)?;
    }
    Ok(sent)
}

/// Sends SIGTERM to all but the command of the process that made the request: that process forwards
/// it, and a second one might do harm.
fn terminate(lock: &Lock, ticket: u64, asker: Option<u32>, sent: &mut Sent) -> Result<(), Failure> {
    let is_asker = |handle: &Handle| Some(handle.pid()) == asker;
    let (askers, others): (Vec<_>, Vec<_>) = handles(lock, ticket)?.into_iter().partition(is_asker);
    // The requesting process may forward at once, and its command may end at once, so look for
    // parents first.
    let others: Vec<_> =
        others.into_iter().map(|other| (processes::parent(other.pid()), other)).collect();
    for handle in &askers {
        handle.send(Signal::TERM, &mut sent.terminated, &mut sent.refused);
    }
    let forwards = asker.filter(|asker| sent.terminated.contains(asker));
    for (parent, handle) in &others {
        if forwards.is_none() || *parent != forwards {
            handle.send(Signal::TERM, &mut sent.terminated, &mut sent.refused);
        }
    }
    // What is stopped does nothing before it continues: neither end nor forward.
    for handle in askers.iter().chain(others.iter().map(|(_, handle)| handle)) {
        handle.resume();
    }
    Ok(())
}

/// A process that keeps a ticket.
struct Handle {
    number: Pid,
    /// Refers to this very process, never to a later one with the same pid. Not available before
    /// Linux 5.3, nor in some sandboxes.
    descriptor: Option<OwnedFd>,
}

impl Handle {
    fn of(pid: u32) -> Option<Handle> {
        let number = Pid::from_raw(pid as i32)?;
        match pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => None,
            result => Some(Handle { number, descriptor: result.ok() }),
        }
    }

    fn pid(&self) -> u32 {
        self.number.as_raw_nonzero().get() as u32
    }

    /// Continues the process if it is stopped. Whether it may be signalled is known already.
    fn resume(&self) {
        let _ = self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        match &self.descriptor {
            Some(descriptor) => pidfd_send_signal(descriptor, signal),
            None => kill_process(self.number, signal),
        }
    }

    /// Records whether the process was signalled or may not be. A process that has ended is
    /// neither.
    fn send(&self, signal: Signal, reached: &mut Vec<u32>, refused: &mut BTreeSet<u32>) {
        match self.signal(signal) {
            Ok(()) => reached.push(self.pid()),
            Err(Errno::SRCH) => {}
            Err(_) => {
                refused.insert(self.pid());
            }
        }
    }
}

/// Returns the processes that keep the ticket, except this one.
fn handles(lock: &Lock, ticket: u64) -> Result<Vec<Handle>, Failure> {
    let all = lock.processes(ticket)?.into_iter().filter(|pid| *pid != process::id());
    let mut handles: Vec<_> = all.filter_map(Handle::of).collect();
    // No other process can take the place of one that has a handle, so this list refers to the same
    // processes.
    let still = lock.processes(ticket)?;
    handles.retain(|handle| still.contains(&handle.pid()));
    Ok(handles)
}

/// Waits until the ticket is gone. Returns whether it is.
fn gone(lock: &Lock, ticket: u64, within: Duration) -> Result<bool, Failure> {
    let until = Instant::now().checked_add(within);
    loop {
        if live(lock, ticket)?.is_none() {
            return Ok(true);
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Ok(false);
        }
        thread::sleep(CHECK_INTERVAL);
    }
}
