//! Finds out what is in the way of a waiting request.

use std::{
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Answer, Blocked};
use treelock_any::{Acquire, Error};

use crate::{events::Events, json, output::say};

/// How long to wait for the answer to what is in the way.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Tells the person, or the program that reads JSON, what is in the way of a request that was not
/// granted.
pub(crate) fn tell(blocked: &Blocked, as_json: bool, is_quiet: bool) {
    match (is_quiet, as_json) {
        (true, _) => {}
        (false, true) => eprintln!("{}", json::line(&json::WhoBlocks::new(Some(blocked)))),
        (false, false) => say(&blocked.to_string()),
    }
}

/// What is known about the blocker. Asking may take a round trip to the cluster, so it runs while
/// other things happen.
pub(crate) struct Blocker {
    /// The maximum age of an answer, and so the interval between questions.
    age_max: Duration,
    asked: Option<Instant>,
    pending: Option<Answer<Result<Option<Blocked>, Error>>>,
    seen: Option<Blocked>,
}

/// What is known at this moment.
pub(crate) enum Sight<'a> {
    Blocked(&'a Blocked),
    /// Nothing is in the way, or the answer is not known yet and an event comes when it is.
    Nobody,
    /// There is no answer, which may be temporary.
    Silence,
}

impl Blocker {
    pub(crate) fn new(age_max: Duration) -> Blocker {
        Blocker { age_max, asked: None, pending: None, seen: None }
    }

    /// Asks again if the last answer is too old, and returns what is known.
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
