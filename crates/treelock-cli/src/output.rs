//! Writing to standard output and standard error.

use std::io::Write as _;

use crate::error::Failure;

/// Prints a sentence on standard error. Ignores errors, because its reader may be gone.
pub(crate) fn say(sentence: &str) {
    let _ = writeln!(anstream::stderr(), "treelock: {sentence}");
}

/// Prints text and a newline on standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
