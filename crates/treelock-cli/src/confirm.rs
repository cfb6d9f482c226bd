//! Asking the person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::error::Failure;

/// Asks a question that can be answered with yes or no; returns whether the answer is yes.
pub(crate) fn confirm(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on; say --force to do it without asking",
        ));
    }
    let mut answer = String::new();
    eprint!("{question} [y/N] ");
    let read = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format_args!("cannot read your answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
