//! `treelock release`: ends the keepers of `treelock hold`, and nothing else.

use std::time::Duration;

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use treelock::{Entry, Wait as _, engine::Process};

use crate::{
    arguments::Release, background, error::Failure, exit, lock::Lock, processes, purpose,
    termination::live,
};

/// How long a keeper may take to end. It gives a lock on a cluster back, which may take seconds.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Releases holds. Returns the exit code.
pub(crate) fn release(lock: &Lock, arguments: &Release) -> Result<u8, Failure> {
    let entries = lock.any.snapshot().wait()?.entries;
    let wanted = |entry: &Entry| match (arguments.ticket, arguments.pid) {
        (Some(ticket), _) => entry.ticket == ticket,
        (None, pid) => {
            let named = entry.label.as_deref().and_then(purpose::pid);
            let is_here = entry.process.as_deref().is_some_and(processes::is_of_this_host);
            named.is_some() && named == pid && is_here
        }
    };
    let wanted: Vec<Entry> = entries.into_iter().filter(wanted).collect();
    if wanted.is_empty() {
        return Err(nothing(arguments));
    }
    // One that cannot be released does not keep the others held.
    let failures: Vec<_> =
        wanted.iter().filter_map(|entry| release_one(lock, entry).err()).collect();
    failures.into_iter().next().map_or(Ok(0), Err)
}

fn nothing(arguments: &Release) -> Failure {
    let what = match (arguments.ticket, arguments.pid) {
        (None, Some(pid)) => format!("nothing is held for process {pid} on this host"),
        (ticket, _) => format!("no request has ticket #{}", ticket.unwrap_or_default()),
    };
    Failure::new(
        exit::NO_TICKET,
        format_args!(
            "{what}; if it was held before, the lock was lost meanwhile, or its time was over"
        ),
    )
}

/// Asks the keeper of a ticket to end, and waits until the ticket is gone.
fn release_one(lock: &Lock, entry: &Entry) -> Result<(), Failure> {
    let ticket = entry.ticket;
    let Some(process) = entry.process.as_deref() else { return Err(no_hold(ticket)) };
    if !processes::is_of_this_host(process) {
        return Err(Failure::new(
            exit::NOT_PERMITTED,
            format_args!(
                "#{ticket} belongs to {process}, so this host cannot release it; do it there, or \
                 take it away with `treelock break {ticket}`"
            ),
        ));
    }
    let ended = end(process, ticket);
    // Whatever ended it, it is released.
    if live(lock, ticket)?.is_none() { Ok(()) } else { ended }
}

/// Ends a keeper. Returns why the ticket may still be there.
fn end(process: &Process, ticket: u64) -> Result<(), Failure> {
    let pid = process.pid;
    // From here on the number means this process or none.
    let keeper = Pid::from_raw(pid as i32).ok_or(Errno::SRCH);
    let keeper = keeper.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let keeper = match keeper {
        Ok(keeper) if background::is_of(pid, ticket) => keeper,
        Err(Errno::SRCH) => {
            return Err(Failure::new(
                exit::NOT_RELEASED,
                format_args!(
                    "#{ticket} is NOT free: its process has ended, but on a cluster the lock stays \
                     until the lease ends; `treelock break {ticket}` takes it away now"
                ),
            ));
        }
        Ok(_) => return Err(no_hold(ticket)),
        Err(error) => {
            return Err(Failure::new(
                exit::CANNOT_LOCK,
                format_args!("cannot signal process {pid}: {error}; `treelock break {ticket}` can"),
            ));
        }
    };
    match pidfd_send_signal(&keeper, Signal::TERM) {
        // A process that is stopped gets it when it goes on.
        Ok(()) => drop(pidfd_send_signal(&keeper, Signal::CONT)),
        Err(Errno::SRCH) => {}
        Err(error) => {
            return Err(Failure::new(
                exit::NOT_PERMITTED,
                format_args!(
                    "you may not signal process {pid}, which holds #{ticket} ({error}); ask its \
                     owner, or run this as root"
                ),
            ));
        }
    }
    let limit = Timespec { tv_sec: END_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    let _ = poll(&mut [PollFd::new(&keeper, PollFlags::IN)], Some(&limit));
    Err(Failure::new(
        exit::NOT_RELEASED,
        format_args!(
            "#{ticket} is NOT free: process {pid} was told to end; see `treelock ls`, and use \
             `treelock break {ticket}` if it stays"
        ),
    ))
}

fn no_hold(ticket: u64) -> Failure {
    Failure::usage(format_args!(
        "#{ticket} is not held by a `treelock hold`; to end what has it, use `treelock break \
         {ticket}`"
    ))
}
