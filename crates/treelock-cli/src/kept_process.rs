//! The process that a lock is held for, by a descriptor that never means a later process of the
//! same number.

use std::{
    fs,
    os::fd::{AsFd, OwnedFd},
    process,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{error::Failure, exit};

/// Returns a descriptor of a process, which becomes readable when the process ends.
pub(crate) fn open(pid: i32) -> Result<OwnedFd, Failure> {
    if u32::try_from(pid) == Ok(process::id()) {
        return Err(Failure::usage(format_args!(
            "pid {pid} is this command itself, which ends at once; name the process to hold for"
        )));
    }
    let number = Pid::from_raw(pid).ok_or_else(|| ended(pid))?;
    match pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) if has_ended(&process) => Err(ended(pid)),
        Ok(process) => Ok(process),
        Err(Errno::SRCH) => Err(ended(pid)),
        // Which of them depends on the version of Linux.
        Err(Errno::INVAL | Errno::NOENT) => {
            Err(Failure::usage(format_args!("{pid} is the number of a thread; name its process")))
        }
        Err(error) => Err(Failure::new(
            exit::CANNOT_LOCK,
            format_args!(
                "cannot watch process {pid}: {error}; this needs Linux 5.3, and a sandbox that \
                 permits pidfd_open(2)"
            ),
        )),
    }
}

/// Returns the failure if there is nothing to hold for.
pub(crate) fn ended(pid: i32) -> Failure {
    Failure::new(
        exit::NO_TICKET,
        format_args!("process {pid} does not exist or has ended, so nothing is held for it"),
    )
}

/// Returns whether a process has ended, even if its parent has not waited for it yet.
pub(crate) fn has_ended(process: impl AsFd) -> bool {
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&AT_ONCE)) == Ok(1)
}

/// Returns the name that `ps` shows for a process, if that can be seen and is the name of this very
/// process.
pub(crate) fn name(pid: i32, process: impl AsFd) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&name).trim_end_matches('\n').replace(['(', ')'], "_");
    (!has_ended(process)).then_some(name)
}
