//! Exit codes, and the failures that carry them. The numbers are those of `sysexits.h`, where flock(1) and
//! mail systems took theirs from; scripts rely on them, so they never change.

use std::{fmt::Display, io};

use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};

use crate::engine;

/// The command line says something that cannot be done.
pub(crate) const USAGE: u8 = 64;
/// The ticket that was named is not live.
pub(crate) const NO_TICKET: u8 = 66;
/// The lock table cannot be used, or the output cannot be written.
pub(crate) const CANNOT_LOCK: u8 = 74;
/// The lock was not granted in time, or would not be granted now.
pub(crate) const NOT_GRANTED: u8 = 75;
/// The system does not let this user do it.
pub(crate) const NOT_PERMITTED: u8 = 77;
/// The command was found and cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// The code for an end by this signal, as shells count.
pub(crate) fn by_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

/// Ends as what this signal ended: by the signal itself if it is SIGINT, since a shell leaves a loop only if it
/// sees that; else returns the exit code for it. Nothing may be held any more.
pub(crate) fn end_by_signal(number: i32) -> u8 {
    if number == SIGINT {
        // If it should fail there is still the code.
        let _ = emulate_default_handler(SIGINT);
    }
    by_signal(number)
}

/// Why a sub-command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What happened, to what, and what to do. Empty if it was said already.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Display) -> Failure {
        Failure { code, message: message.to_string() }
    }

    pub(crate) fn usage(message: impl Display) -> Failure {
        Failure::new(USAGE, message)
    }

    /// Of writing to standard output. A reader that has seen enough (`| head`) is no trouble worth a word;
    /// the code is that of the signal that would have ended another program.
    pub(crate) fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { code: by_signal(13), message: String::new() },
            _ => Failure::new(CANNOT_LOCK, format_args!("cannot write the output: {error}")),
        }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        Failure::new(CANNOT_LOCK, error)
    }
}
