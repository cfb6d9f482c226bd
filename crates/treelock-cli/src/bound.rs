//! A command that dies with this program. On a cluster a lock lives by its lease, which this program renews: a
//! command that outlives it would go on without the lock.
//!
//! The kernel sends a signal to a process whose parent has died, if the process asked for it, and a program
//! that takes its place inherits that, unless it gains rights by it. So this program is started once more, asks
//! for it, and becomes the command.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::{self, Command},
};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::{
    exit::{self, Failure},
    run::cannot_start,
};

/// The name by which this program knows that it is started for this. No person gives it such a name.
const NAME: &str = "treelock: start";
const SELF: &str = "/proc/self/exe";
/// Where this program may have found a password.
const PASSWORD: &str = "ETCDCTL_PASSWORD";
const USER: &str = "ETCDCTL_USER";

/// Returns a command that is killed when this process dies.
pub(crate) fn command(command_line: &[OsString]) -> Result<Command, Failure> {
    if !Path::new(SELF).exists() {
        return Err(Failure::new(
            exit::CANNOT_EXECUTE,
            format_args!("a command under a cluster's lock is started by {SELF}; mount /proc"),
        ));
    }
    let mut command = Command::new(SELF);
    command.arg0(NAME).arg(process::id().to_string()).args(command_line);
    // Who works under a lock need not be able to break all locks.
    command.env_remove(PASSWORD);
    if env::var_os(USER).is_some_and(|user| user.as_bytes().contains(&b':')) {
        command.env_remove(USER);
    }
    Ok(command)
}

/// Whether this process was started to become such a command.
pub(crate) fn is_asked() -> bool {
    env::args_os().next().is_some_and(|name| name == OsStr::new(NAME))
}

/// Becomes the command; returns why it cannot.
pub(crate) fn start() -> Failure {
    let mut arguments = env::args_os().skip(1);
    let parent = arguments.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let program = arguments.next().unwrap_or_default();
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        let message = format_args!("cannot ask for the command's end with treelock's: {error}");
        return Failure::new(exit::CANNOT_EXECUTE, message);
    }
    // It may have died before, and then nobody tells of it.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
        return Failure::new(exit::CANNOT_EXECUTE, "treelock died before the command was started");
    }
    let error = Command::new(&program).args(arguments).exec();
    cannot_start(&program, &error)
}
