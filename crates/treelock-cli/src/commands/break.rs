//! `treelock break`: ends the processes that keep a request alive. On a cluster, takes the request
//! away.

use crate::{
    arguments::Break,
    breaking::propose,
    confirm::confirm,
    error::Failure,
    json,
    lock::Lock,
    output::{print, say},
};

/// Ends a request. Returns the exit code.
pub(crate) fn break_ticket(lock: &Lock, arguments: &Break) -> Result<u8, Failure> {
    let proposal = propose(lock, arguments.ticket)?;
    show(arguments, &proposal.description())?;
    proposal.is_possible(lock)?;
    if !arguments.force {
        proposal.spare_own()?;
        if !confirm(&proposal.question())? {
            say("nothing was changed");
            return Ok(1);
        }
    }
    let broken = proposal.carry_out(lock, arguments.grace)?;
    match arguments.json {
        true => print(&json::line(&broken.report)),
        false => print(&broken.sentence),
    }?;
    Ok(broken.code)
}

/// Shows what is about to end.
fn show(arguments: &Break, description: &str) -> Result<(), Failure> {
    match (arguments.json, arguments.force) {
        (false, _) => print(description)?,
        // Standard output is for the document, but the user must see what to confirm.
        (true, false) => say(description),
        (true, true) => {}
    }
    Ok(())
}
