//! Waiting for the grant, with a line on the terminal that says for whom.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use treelock::{Blocked, Request};

use crate::{
    engine::{Acquire, Engine, Error, Guard},
    events::{Event, Events},
    text,
};

/// How a wait ended.
pub(crate) enum Outcome {
    Granted(Guard),
    /// The time was over.
    Blocked(Box<Blocked>),
    /// Somebody wants this process to end.
    Signalled(i32),
}

/// The line on the terminal is written again this often, since its times go on.
const REFRESH: Duration = Duration::from_secs(1);
/// The time is over and nobody is in the way: the grant is there and only has to be seen.
const NEARLY_GRANTED: Duration = Duration::from_millis(5);

/// Waits until the request is granted, the time is over, or a signal comes. Whatever was asked for is given
/// back unless it is granted.
pub(crate) fn wait(
    engine: &Engine,
    request: &Request,
    limit: Option<Duration>,
    events: &Events,
) -> Result<Outcome, Error> {
    if limit == Some(Duration::ZERO) {
        return outcome(engine.try_acquire(request));
    }
    let started = Instant::now();
    // A time too long to be counted is as good as none.
    let deadline = limit.and_then(|limit| started.checked_add(limit));
    let mut acquire = pin!(engine.acquire(request));
    let line = WaitingLine::new(started);
    loop {
        if let Poll::Ready(result) = events.poll(acquire.as_mut()) {
            return outcome(result);
        }
        line.refresh(&acquire)?;
        let now = Instant::now();
        let mut until = line.next_refresh(now);
        if let Some(deadline) = deadline {
            if deadline <= now
                && let Some(blocked) = acquire.blocked()?
            {
                return Ok(Outcome::Blocked(Box::new(blocked)));
            }
            let end = deadline.max(now + NEARLY_GRANTED);
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

/// One line on the terminal, if there is one; gone when dropped.
struct WaitingLine {
    started: Instant,
    bar: ProgressBar,
}

impl WaitingLine {
    fn new(started: Instant) -> WaitingLine {
        // It draws on standard error, and only if that is a terminal.
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {wide_msg}");
        WaitingLine { started, bar: bar.with_style(style.expect("the template is good")) }
    }

    /// When the line has to be written again, if anybody sees it.
    fn next_refresh(&self, now: Instant) -> Option<Instant> {
        (!self.bar.is_hidden()).then_some(now + REFRESH)
    }

    fn refresh(&self, acquire: &Acquire) -> Result<(), Error> {
        if self.bar.is_hidden() {
            return Ok(());
        }
        if let Some(blocked) = acquire.blocked()? {
            self.bar.set_message(text::waiting(&blocked, self.started.elapsed()));
            self.bar.tick();
        }
        Ok(())
    }
}

impl Drop for WaitingLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
