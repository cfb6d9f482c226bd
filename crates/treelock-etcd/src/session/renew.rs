//! Renews the lease of a session.
//!
//! At a quarter of its time. A member that does not answer within [`HEDGE_DELAY`] is not waited
//! for: the next one is asked as well, and the first answer wins. Otherwise a leader that is paused
//! would cost everybody their session.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::Session;
use crate::{clock, cluster::failure::ANSWER_TIMEOUT};

/// How long a member may take to renew a lease before the next one is asked too.
const HEDGE_DELAY: Duration = Duration::from_millis(300);

/// How soon a renewal that failed is tried again.
const RENEW_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// How soon it is noticed that the machine has slept for longer than the lease lasts, because
/// timers sleep with it.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Renews the lease of a session until the session is over, or nobody has it any more.
pub(super) async fn keep_alive(session: Weak<Session>) {
    let (mut pause, mut remaining) = (Duration::ZERO, Duration::MAX);
    loop {
        let nap = pause.min(CLOCK_CHECK_INTERVAL).min(remaining);
        sleep(nap).await;
        pause -= nap;
        let Some(alive) = session.upgrade() else { return };
        remaining = alive.remaining();
        if !alive.is_alive() {
            return;
        }
        if pause.is_zero() {
            pause = match renew(&alive).await {
                Ok(true) => alive.lease.ttl / 4,
                Ok(false) => return alive.end(),
                Err(Silence) => RENEW_RETRY_INTERVAL,
            };
        }
    }
}

/// Nobody answered in time.
struct Silence;

/// Renews the lease once. Returns whether it is still there.
async fn renew(session: &Session) -> Result<bool, Silence> {
    let started = Instant::now();
    let servers = &session.servers;
    let mut asked = JoinSet::new();
    let first = servers.current();
    for next in 0.. {
        if next < servers.count() {
            let (servers, lease, member) = (servers.clone(), session.lease.id, first + next);
            asked.spawn(async move {
                let sent = clock::now();
                let client = servers.client(member).await?;
                client.lease_client().keep_alive(lease).await.map(|_| (sent, member))
            });
        }
        tokio::select! {
            Some(answer) = asked.join_next() => match answer {
                Ok(Ok((sent, member))) => {
                    servers.prefer(member);
                    session.renewed(sent);
                    return Ok(true);
                }
                Ok(Err(error)) if error.to_string().contains("lease not found") => {
                    return Ok(false);
                }
                _ if asked.is_empty() && next + 1 >= servers.count() => return Err(Silence),
                _ => {}
            },
            () = sleep(HEDGE_DELAY.min(session.remaining())) => {}
        }
        // Members that accept everything and answer nothing must not hide the deadline.
        if started.elapsed() >= ANSWER_TIMEOUT || !session.is_alive() {
            return Err(Silence);
        }
    }
    Err(Silence)
}
