//! Takes over the calls that callers' runtimes do not bring to an end.

use std::{sync::Weak, time::Duration};

use tokio::time::sleep;

use super::Session;

/// How often the calls are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Takes calls over until nobody has the session any more.
pub(super) async fn take_over_overdue_calls(session: Weak<Session>) {
    loop {
        sleep(CHECK_INTERVAL).await;
        let Some(alive) = session.upgrade() else { return };
        for call in alive.overdue_calls() {
            // Each in a task of its own: it wakes others, and what they do is not ours.
            tokio::spawn(async move { call.take_over() });
        }
    }
}
