//! What a terminal can do.

use std::env;

/// From here on the terminal cuts lines off at its edge, however wide it is, instead of wrapping
/// them.
pub(crate) const CUT_OFF: &str = "\x1b[?7l";
/// From here on the terminal wraps lines again.
pub(crate) const WRAP: &str = "\x1b[?7h";

/// Returns whether the terminal would show escape sequences as text.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}
