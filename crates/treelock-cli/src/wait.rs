//! Waits for the grant.

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

/// The variable that holds the fencing token for the command.
pub(crate) const TOKEN: &str = "TREELOCK_TOKEN";
/// How often to ask for the blocker while it is unknown and has to be shown.
const BLOCKER_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often to ask a cluster for the blocker.
const CLUSTER_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How a wait ended.
pub(crate) enum Outcome {
    Granted(Guard),
    /// The time was up.
    Blocked(Box<Blocked>),
    /// A signal asks this process to end.
    Signalled(i32),
}

/// Waits until the request is granted, the time is up, or a signal arrives. Gives the request back
/// unless it is granted.
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
    // A time too long to represent is as good as no limit.
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
        // Only a command inside a `run` can wait for that run.
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

/// What is shown while the request waits.
struct Waiting {
    blocker: Blocker,
    line: WaitingLine,
    may_deadlock: bool,
}

impl Waiting {
    /// Shows the blocker, if that is wanted. Returns when to look again.
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
                // The place in line is kept meanwhile, as long as the lease lives.
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

/// Waits for the last answer, for at most this long.
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
        "the time is up, but etcd does not say who is in the way; check that it is running",
    )
}

/// Prints a warning if this process waits for the run that it is part of. That run waits for its
/// command, hence for this process, and without a warning the reason would be hard to find.
fn warn_of_deadlock(blocked: &Blocked) {
    if blocked.process.as_deref().is_some_and(processes::is_own_or_above) {
        say(&format!(
            "{blocked}; that is the run that this one is part of, and it waits for this one: \
             request everything in the outer run"
        ));
    }
}
