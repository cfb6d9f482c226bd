//! Starts a command so that it is killed when this program dies. A cluster's lock lives by its
//! lease, which this program renews. A command that outlived this program would go on without the
//! lock.
//!
//! The kernel sends a signal to a process whose parent has died, if the process asked for it. A
//! program that the process executes inherits this, unless it gains privileges. So this program
//! starts itself once more, asks for the signal, and becomes the command.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, Command},
};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::{error::Failure, exit};

/// The `argv[0]` that tells this program to become a command. No user starts it under such a name.
const NAME: &str = "treelock: start";
const SELF: &str = "/proc/self/exe";

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
    Ok(command)
}

/// Returns whether this process was started to become such a command.
pub(crate) fn is_asked() -> bool {
    env::args_os().next().is_some_and(|name| name == OsStr::new(NAME))
}

/// Becomes the command. Returns only if that fails.
pub(crate) fn start() -> Failure {
    let mut arguments = env::args_os().skip(1);
    let parent = arguments.next().and_then(|pid| pid.to_str()?.parse::<i32>().ok());
    let command_line: Vec<OsString> = arguments.collect();
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        let message =
            format_args!("cannot ask the kernel to end the command with treelock: {error}");
        return Failure::new(exit::CANNOT_EXECUTE, message);
    }
    // The parent may have died before that, in which case the kernel sends nothing.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != parent {
        return Failure::new(exit::CANNOT_EXECUTE, "treelock died before the command was started");
    }
    let Some((program, arguments)) = command_line.split_first() else {
        return Failure::new(exit::USAGE, "no command was given");
    };
    let error = Command::new(program).args(arguments).exec();
    Failure::start(&command_line, &error)
}
