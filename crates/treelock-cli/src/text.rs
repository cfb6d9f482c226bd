//! Text for people, where the lock's own values print none.

use std::{fmt::Write as _, time::Duration};

use treelock::{
    Blocked,
    engine::{Age, Process},
};

/// Returns the line of a waiting `run`: for how long, how many are ahead, and for whom. The last
/// may be long and be cut off.
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

/// Returns the line of a waiting `run` while nobody can say for whom it waits.
pub(crate) fn waiting_unanswered(waited: Duration) -> String {
    format!("waiting {}; the cluster does not answer", rounded_age(waited))
}

/// Returns a duration in full seconds, since the line is written once a second.
fn rounded_age(waited: Duration) -> String {
    let waited = waited.as_secs();
    match waited {
        0..60 => format!("{waited}s"),
        _ => Age(Duration::from_secs(waited)).to_string(),
    }
}

/// Returns who asked: `"agent-7" (pid 4242)`, or what is known of it. A label may hold anything, so
/// it is quoted as [`treelock::Blocked`] quotes it.
pub(crate) fn asker(label: Option<&str>, process: Option<&Process>) -> String {
    let mut who = label.map(|label| format!("{label:?}")).unwrap_or_default();
    if let Some(process) = process {
        let space = if who.is_empty() { "" } else { " " };
        write!(who, "{space}({process})").expect("a string takes everything");
    }
    who
}
