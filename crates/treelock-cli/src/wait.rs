//! Waiting for the grant, with a line on the terminal that says for whom.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use nix::unistd::{getpgrp, tcgetpgrp};
use treelock::{Blocked, Request};

use crate::{
    engine::{Acquire, Engine, Error, Guard},
    events::{Event, Events},
    processes,
    run::TOKEN,
    say,
    screen::{self, CUT_OFF, WRAP},
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
/// How soon it is asked again who is in the way, as long as that is not known and somebody has to be told.
const SOON: Duration = Duration::from_millis(100);
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
        line.refresh(&acquire, events)?;
        let now = Instant::now();
        let mut until = line.next_refresh(now);
        if may_deadlock {
            until = Some(now + SOON);
        }
        if let Some(deadline) = deadline {
            if deadline <= now {
                if let Some(blocked) = acquire.blocked(events)? {
                    return Ok(Outcome::Blocked(Box::new(blocked)));
                }
                acquire.is_late(now - deadline)?;
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

/// Says it if this waits for the run that it is part of. That one waits for its command, hence for this, and
/// somebody who is told nothing would look for the reason for long.
fn warn_of_deadlock(blocked: &Blocked) {
    if blocked.process.as_deref().is_some_and(processes::is_own_or_above) {
        say(&format!(
            "{blocked}; that is the run that this one is part of, and it waits for this one: let the outer \
             one ask for everything"
        ));
    }
}

/// One line on the terminal, if there is one; gone when dropped.
struct WaitingLine {
    started: Instant,
    /// There is a terminal that clears lines.
    is_seen: bool,
    is_drawn: bool,
}

impl WaitingLine {
    fn new(started: Instant) -> WaitingLine {
        let is_seen = io::stderr().is_terminal() && !screen::is_dumb();
        WaitingLine { started, is_seen, is_drawn: false }
    }

    /// When the line has to be written again, if anybody sees it.
    fn next_refresh(&self, now: Instant) -> Option<Instant> {
        self.is_seen.then_some(now + REFRESH)
    }

    fn refresh(&mut self, acquire: &Acquire, events: &Events) -> Result<(), Error> {
        // A line from the background would be written over what the shell's user types.
        self.is_drawn &= in_foreground();
        if !self.is_seen || !in_foreground() {
            return Ok(());
        }
        let line = match acquire.blocked(events) {
            Ok(None) => return Ok(()),
            Ok(Some(blocked)) => text::waiting(&blocked, self.started.elapsed()),
            // The place in the line is kept meanwhile, as long as the lease lives.
            Err(error) if error.is_silence() => text::waiting_unseen(self.started.elapsed()),
            Err(error) => return Err(error),
        };
        self.is_drawn = true;
        draw(&line);
        Ok(())
    }
}

impl Drop for WaitingLine {
    fn drop(&mut self) {
        if self.is_drawn && in_foreground() {
            draw("");
        }
    }
}

/// Whether the terminal is that of this job, and not of the shell that it was started from.
fn in_foreground() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|job| job == getpgrp())
}

/// Writes the line over what was there. The terminal cuts it off at its edge, and the cursor goes back to the beginning, so that a `^C` that the terminal writes stands in the line too and is
/// cleared with it.
fn draw(line: &str) {
    const CLEAR: &str = "\r\x1b[K";
    // In one piece, so that nobody sees half of it.
    let line = format!("{CLEAR}{CUT_OFF}{line}{WRAP}\r");
    // Nobody may look any more, which is no reason to end a wait.
    let _ = io::stderr().write_all(line.as_bytes());
}
