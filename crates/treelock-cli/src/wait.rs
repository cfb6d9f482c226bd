//! Waiting for the grant.

use std::{
    env,
    future::Future,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request};
use treelock_any::{Acquire, Error, Guard};

use crate::{
    blocker::{ANSWER_TIMEOUT, Blocker, Sight},
    error::Failure,
    events::{Event, Events},
    exit,
    lock::Lock,
    output::say,
    processes,
    waiting_line::WaitingLine,
};

/// The variable in which a command finds its fencing token.
pub(crate) const TOKEN: &str = "TREELOCK_TOKEN";
/// How often it is asked who is in the way, as long as that is not known and somebody has to be
/// told.
const BLOCKER_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often a cluster is asked who is in the way.
const CLUSTER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How a wait ended.
pub(crate) enum Outcome {
    Granted(Guard),
    /// The time was over.
    Blocked(Box<Blocked>),
    /// Somebody wants this process to end.
    Signalled(i32),
}

/// Waits until the request is granted, the time is over, or a signal comes. Whatever was asked for
/// is given back unless it is granted.
pub(crate) fn wait(
    lock: &Lock,
    request: &Request,
    limit: Option<Duration>,
    events: &Events,
) -> Result<Outcome, Failure> {
    let started = Instant::now();
    if limit == Some(Duration::ZERO) {
        return answered(lock.any.try_acquire(request), None, events);
    }
    // A time too long to be counted is as good as none.
    let deadline = limit.and_then(|limit| started.checked_add(limit));
    let mut acquire = lock.any.acquire(request);
    let is_of_this_host = lock.is_of_this_host();
    let mut waiting = Waiting {
        blocker: Blocker::new(if is_of_this_host {
            Duration::ZERO
        } else {
            CLUSTER_CHECK_INTERVAL
        }),
        line: WaitingLine::new(started),
        // Only a command of a `run` can wait for that run.
        may_deadlock: env::var_os(TOKEN).is_some(),
    };
    loop {
        if let Poll::Ready(result) = events.poll(Pin::new(&mut acquire)) {
            return outcome(result);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            break;
        }
        let until = [waiting.look(&acquire, events)?, deadline].into_iter().flatten().min();
        if let Some(Event::Signal(signal)) = events.next(until) {
            return Ok(Outcome::Signalled(signal.number));
        }
    }
    drop(waiting);
    answered(acquire.give_up(), Instant::now().checked_add(ANSWER_TIMEOUT), events)
}

/// What is told while the request waits.
struct Waiting {
    blocker: Blocker,
    line: WaitingLine,
    may_deadlock: bool,
}

impl Waiting {
    /// Tells who is in the way, if anybody wants to know; returns when to look again.
    fn look(&mut self, acquire: &Acquire, events: &Events) -> Result<Option<Instant>, Error> {
        let is_visible = self.line.is_visible();
        if is_visible || self.may_deadlock {
            match self.blocker.look(acquire, events)? {
                Sight::Nobody => {}
                Sight::Blocked(blocked) => {
                    if std::mem::take(&mut self.may_deadlock) {
                        warn_of_deadlock(blocked);
                    }
                    if is_visible {
                        self.line.show(blocked);
                    }
                }
                // The place in the line is kept meanwhile, as long as the lease lives.
                Sight::Silence if is_visible => self.line.show_silence(),
                Sight::Silence => {}
            }
        }
        let now = Instant::now();
        Ok(match self.may_deadlock {
            true => Some(now + BLOCKER_CHECK_INTERVAL),
            false => self.line.next_refresh(now),
        })
    }
}

/// Waits for the last answer, for so long at most.
fn answered(
    mut answer: impl Future<Output = Result<Guard, Error>> + Unpin,
    until: Option<Instant>,
    events: &Events,
) -> Result<Outcome, Failure> {
    loop {
        match events.poll(Pin::new(&mut answer)) {
            Poll::Ready(Err(error)) if until.is_some() && error.is_unavailable() => {
                return Err(silence());
            }
            Poll::Ready(result) => return outcome(result),
            Poll::Pending => {}
        }
        match events.next(until) {
            Some(Event::Signal(signal)) => return Ok(Outcome::Signalled(signal.number)),
            Some(Event::Child | Event::Woken) => {}
            None => return Err(silence()),
        }
    }
}

fn outcome(result: Result<Guard, Error>) -> Result<Outcome, Failure> {
    match result {
        Ok(guard) => Ok(Outcome::Granted(guard)),
        Err(Error::Blocked(blocked)) => Ok(Outcome::Blocked(blocked)),
        Err(error) => Err(error.into()),
    }
}

fn silence() -> Failure {
    Failure::new(
        exit::CANNOT_LOCK,
        "the time is over, and etcd does not say who is in the way; check that it runs",
    )
}

/// Says so if this process waits for the run that it is part of. That run waits for its command,
/// hence for this process, and without a word the reason would be hard to find.
fn warn_of_deadlock(blocked: &Blocked) {
    if blocked.process.as_deref().is_some_and(processes::is_own_or_above) {
        say(&format!(
            "{blocked}; that is the run that this one is part of, and it waits for this one: let \
             the outer one ask for everything"
        ));
    }
}
