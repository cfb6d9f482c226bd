//! What a terminal can do.

use std::env;

/// From here on the terminal cuts lines off at its edge, however wide it is, instead of going on below.
pub(crate) const CUT_OFF: &str = "\x1b[?7l";
/// The end of that.
pub(crate) const WRAP: &str = "\x1b[?7h";

/// Whether escapes would be shown as what they are.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
}
