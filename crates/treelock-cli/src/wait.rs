//! Waiting for the grant.

use std::{
    env,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use treelock::{Blocked, Request};

use crate::{
    engine::{Acquire, Engine, Error, Guard},
    events::{Event, Events},
    output::say,
    processes,
    waiting_line::WaitingLine,
};

/// The variable in which a command finds its fencing token.
pub(crate) const TOKEN: &str = "TREELOCK_TOKEN";
/// How often it is asked who is in the way, as long as that is not known and somebody has to be told.
const BLOCKER_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is looked for the grant when the time is over and nobody is in the way: the grant has
/// been made and only has to be seen.
const GRANT_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// How a wait ended.
pub(crate) enum Outcome {
    Granted(Guard),
    /// The time was over.
    Blocked(Box<Blocked>),
    /// Somebody wants this process to end.
    Signalled(i32),
}

/// Waits until the request is granted, the time is over, or a signal comes. Whatever was asked for is
/// given back unless it is granted.
pub(crate) fn wait(
    engine: &Engine,
    request: &Request,
    limit: Option<Duration>,
    events: &Events,
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let is_try = limit == Some(Duration::ZERO);
    // A time too long to be counted is as good as none.
    let deadline = limit.filter(|_| !is_try).and_then(|limit| started.checked_add(limit));
    let mut acquire = pin!(engine.acquire(request, is_try));
    let mut line = WaitingLine::new(started);
    // Only a command of a `run` can wait for that run.
    let mut may_deadlock = env::var_os(TOKEN).is_some() && !is_try;
    loop {
        if let Poll::Ready(result) = events.poll(acquire.as_mut()) {
            return outcome(result);
        }
        if may_deadlock {
            match acquire.blocked(events) {
                Ok(None) => {}
                Err(error) if error.is_silence() => {}
                blocked => {
                    may_deadlock = false;
                    blocked?.iter().for_each(warn_of_deadlock);
                }
            }
        }
        refresh(&mut line, &acquire, events)?;
        let now = Instant::now();
        let mut until = line.next_refresh(now);
        if may_deadlock {
            until = Some(now + BLOCKER_CHECK_INTERVAL);
        }
        if let Some(deadline) = deadline {
            if deadline <= now {
                if let Some(blocked) = acquire.blocked(events)? {
                    return Ok(Outcome::Blocked(Box::new(blocked)));
                }
                acquire.is_late(now - deadline)?;
            }
            let end = deadline.max(now + GRANT_CHECK_INTERVAL);
            until = Some(until.map_or(end, |until| until.min(end)));
        }
        if let Some(Event::Signal(signal)) = events.next(until) {
            return Ok(Outcome::Signalled(signal.number));
        }
    }
}

fn outcome(result: Result<Guard, Error>) -> Result<Outcome, Error> {
    match result {
        Ok(guard) => Ok(Outcome::Granted(guard)),
        Err(Error::Blocked(blocked)) => Ok(Outcome::Blocked(blocked)),
        Err(error) => Err(error),
    }
}

/// Says in the line who is in the way, if that is known.
fn refresh(line: &mut WaitingLine, acquire: &Acquire, events: &Events) -> Result<(), Error> {
    if !line.is_visible() {
        return Ok(());
    }
    match acquire.blocked(events) {
        Ok(None) => {}
        Ok(Some(blocked)) => line.show(&blocked),
        // The place in the line is kept meanwhile, as long as the lease lives.
        Err(error) if error.is_silence() => line.show_silence(),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Says so if this process waits for the run that it is part of. That run waits for its command, hence
/// for this process, and without a word the reason would be hard to find.
fn warn_of_deadlock(blocked: &Blocked) {
    if blocked.process.as_deref().is_some_and(processes::is_own_or_above) {
        say(&format!(
            "{blocked}; that is the run that this one is part of, and it waits for this one: let the \
             outer one ask for everything"
        ));
    }
}
