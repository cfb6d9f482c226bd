//! Who is in the way of a request that waits.

use std::{
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Answer, Blocked};
use treelock_any::{Acquire, Error};

use crate::events::Events;

/// How long the answer to who is in the way is waited for.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known of who is in the way. Asking may take a way to the cluster and back, so it goes on
/// while other things happen.
pub(crate) struct Blocker {
    /// How old an answer may be, and so how often the question is asked.
    age_max: Duration,
    asked: Option<Instant>,
    pending: Option<Answer<Result<Option<Blocked>, Error>>>,
    seen: Option<Blocked>,
}

/// What is known at the moment.
pub(crate) enum Sight<'a> {
    Blocked(&'a Blocked),
    /// Nobody is in the way, or it is not known yet, and an event comes when it is.
    Nobody,
    /// Nobody answers, which may pass.
    Silence,
}

impl Blocker {
    pub(crate) fn new(age_max: Duration) -> Blocker {
        Blocker { age_max, asked: None, pending: None, seen: None }
    }

    /// Asks if the last answer is too old, and returns what is known.
    pub(crate) fn look(&mut self, acquire: &Acquire, events: &Events) -> Result<Sight<'_>, Error> {
        if acquire.ticket().is_none() {
            return Ok(Sight::Nobody);
        }
        let age = self.asked.map_or(Duration::MAX, |asked| asked.elapsed());
        if self.pending.is_none() && age >= self.age_max {
            self.pending = Some(acquire.blocked());
            self.asked = Some(Instant::now());
            self.seen = None;
        } else if self.pending.is_some() && age >= ANSWER_TIMEOUT {
            self.pending = None;
            return Ok(Sight::Silence);
        }
        if let Some(pending) = &mut self.pending
            && let Poll::Ready(answer) = events.poll(Pin::new(pending))
        {
            self.pending = None;
            match answer {
                Ok(blocked) => self.seen = blocked,
                Err(error) if error.is_unavailable() => return Ok(Sight::Silence),
                Err(error) => return Err(error),
            }
        }
        Ok(self.seen.as_ref().map_or(Sight::Nobody, Sight::Blocked))
    }
}
