//! Asks the user at the terminal for confirmation.

use std::io::{self, IsTerminal as _, Write as _};

use crate::error::Failure;

/// Asks a yes-or-no question. Returns whether the answer is yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on; use --force to skip the question",
        ));
    }
    let mut answer = String::new();
    eprint!("{question} [y/N] ");
    let read = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format_args!("cannot read your answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
