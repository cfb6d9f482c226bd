//! Terminal escape sequences, and whether a terminal understands them.

use std::env;

/// Makes the terminal cut lines off at its edge, whatever its width, instead of wrapping them.
pub(crate) const CUT_OFF: &str = "\x1b[?7l";
/// Makes the terminal wrap lines again.
pub(crate) const WRAP: &str = "\x1b[?7h";

/// Returns whether the terminal would show escape sequences as text.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}
