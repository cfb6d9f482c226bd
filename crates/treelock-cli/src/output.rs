//! Writing to standard output and standard error.

use std::io::Write as _;

use crate::error::Failure;

/// Says a sentence to the person at standard error. Nobody may be there any more, which is no
/// reason to fail.
pub(crate) fn say(sentence: &str) {
    let _ = writeln!(anstream::stderr(), "treelock: {sentence}");
}

/// Prints text and the end of its line on standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}
