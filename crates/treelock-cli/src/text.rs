//! Text for users that the lock's own types do not print.

use std::{fmt::Write as _, time::Duration};

use treelock::{
    Blocked,
    engine::{Age, Process},
};

/// Returns the line that a waiting `run` shows: how long it has waited, how many requests are
/// ahead, and the blocker. The last part may be long and cut off.
pub(crate) fn waiting(blocked: &Blocked, waited: Duration) -> String {
    let who = asker(blocked.label.as_deref(), blocked.process.as_deref());
    let who = if who.is_empty() { format!("#{}", blocked.ticket) } else { who };
    let waited = rounded_age(waited);
    format!(
        "waiting {waited}, {} ahead, for {who}: {} {} for {}",
        blocked.ahead,
        blocked.blocker,
        blocked.state,
        Age(blocked.age),
    )
}

/// Returns the line that a waiting `run` shows while its blocker is unknown.
pub(crate) fn waiting_unanswered(waited: Duration) -> String {
    format!("waiting {}; the cluster does not answer", rounded_age(waited))
}

/// Returns a duration in full seconds, because the line is written once a second.
fn rounded_age(waited: Duration) -> String {
    let waited = waited.as_secs();
    match waited {
        0..60 => format!("{waited}s"),
        _ => Age(Duration::from_secs(waited)).to_string(),
    }
}

/// Returns the requester: `"agent-7" (pid 4242)`, or as much as is known. A label may contain
/// anything, so it is quoted as [`treelock::Blocked`] quotes it.
pub(crate) fn asker(label: Option<&str>, process: Option<&Process>) -> String {
    let mut who = label.map(|label| format!("{label:?}")).unwrap_or_default();
    if let Some(process) = process {
        let space = if who.is_empty() { "" } else { " " };
        write!(who, "{space}({process})").expect("a string takes everything");
    }
    who
}
