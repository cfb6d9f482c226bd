//! The failure of a sub-command: an exit code and a sentence.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Display,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use signal_hook::consts::SIGPIPE;

use crate::exit;

/// Why a sub-command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What happened, to what, and what to do. Empty if that has been printed already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Display) -> Failure {
        Failure { code, message: message.to_string() }
    }

    /// Returns the failure for a wrong command line.
    pub(crate) fn usage(message: impl Display) -> Failure {
        Failure::new(exit::USAGE, message)
    }

    /// Returns the failure to write to standard output. A reader that has seen enough (`| head`)
    /// gets no message, and the exit code is that of the signal that would have ended another
    /// program.
    pub(crate) fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => {
                Failure { code: exit::by_signal(SIGPIPE), message: String::new() }
            }
            _ => Failure::new(exit::CANNOT_LOCK, format_args!("cannot write the output: {error}")),
        }
    }

    /// Returns the failure to start a program with its arguments.
    pub(crate) fn start(command_line: &[OsString], error: &io::Error) -> Failure {
        let program = command_line.first().map_or(OsStr::new(""), OsString::as_os_str);
        match error.kind() {
            io::ErrorKind::NotFound if exists(program) => Failure::new(
                exit::NOT_FOUND,
                format_args!("{program:?} exists, but the interpreter that it names does not"),
            ),
            io::ErrorKind::NotFound if command_line.len() == 1 && is_shell_line(program) => {
                Failure::new(
                    exit::NOT_FOUND,
                    format_args!(
                        "{program:?}: command not found; a command and its arguments are separate \
                         words; if this is a line for a shell, write `sh -c` before it"
                    ),
                )
            }
            io::ErrorKind::NotFound => {
                Failure::new(exit::NOT_FOUND, format_args!("{program:?}: command not found"))
            }
            _ => Failure::new(
                exit::CANNOT_EXECUTE,
                format_args!("{program:?} cannot be executed: {error}"),
            ),
        }
    }
}

/// Returns whether this looks like a whole command line in one word.
fn is_shell_line(program: &OsStr) -> bool {
    program.as_bytes().iter().any(u8::is_ascii_whitespace)
}

impl From<treelock_any::Error> for Failure {
    fn from(error: treelock_any::Error) -> Failure {
        Failure::new(exit::CANNOT_LOCK, error)
    }
}

/// Returns whether a program of this name exists. Starting it may still fail, if its first line
/// names an interpreter that does not exist.
fn exists(program: &OsStr) -> bool {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).is_file();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
