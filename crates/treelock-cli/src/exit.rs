//! Exit codes. The numbers are from `sysexits.h`, which flock(1) and mail systems also use. Scripts
//! rely on them, so they never change.

use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};

/// The command line is wrong.
pub(crate) const USAGE: u8 = 64;
/// The named ticket is not live.
pub(crate) const NO_TICKET: u8 = 66;
/// The request would wait for a `run` that it is inside.
pub(crate) const DEADLOCK: u8 = 70;
/// The lock cannot be used, or the output cannot be written.
pub(crate) const CANNOT_LOCK: u8 = 74;
/// The lock was not granted in time, or would not be granted now.
pub(crate) const NOT_GRANTED: u8 = 75;
/// The system does not permit this user to do it.
pub(crate) const NOT_PERMITTED: u8 = 77;
/// The command was found but cannot be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// Returns the exit code that shells use for an end by this signal.
pub(crate) fn by_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

/// Ends this process as if this signal had ended it. SIGINT really ends it, because a shell leaves
/// a loop only if it sees that. For all other signals, returns the exit code. No lock may be held
/// any more.
pub(crate) fn end_by_signal(number: i32) -> u8 {
    if number == SIGINT {
        // If this fails, the exit code still tells.
        let _ = emulate_default_handler(SIGINT);
    }
    by_signal(number)
}
