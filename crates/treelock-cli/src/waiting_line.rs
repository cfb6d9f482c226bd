//! The line on the terminal that says what `run` waits for.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use nix::unistd::{getpgrp, tcgetpgrp};
use treelock::Blocked;

use crate::{
    screen::{self, CUT_OFF, WRAP},
    text,
};

/// How often the line is rewritten, because the times in it grow.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// One line on the terminal, if there is one; cleared when dropped.
pub(crate) struct WaitingLine {
    started: Instant,
    /// Standard error is a terminal that can clear lines.
    is_seen: bool,
    is_drawn: bool,
}

impl WaitingLine {
    pub(crate) fn new(started: Instant) -> WaitingLine {
        let is_seen = io::stderr().is_terminal() && !screen::is_dumb();
        WaitingLine { started, is_seen, is_drawn: false }
    }

    /// Returns when the line has to be rewritten, if it is visible.
    pub(crate) fn next_refresh(&self, now: Instant) -> Option<Instant> {
        self.is_seen.then_some(now + REFRESH_INTERVAL)
    }

    /// Returns whether the line may be drawn now. From the background it would overwrite what the
    /// user types into the shell.
    pub(crate) fn is_visible(&mut self) -> bool {
        self.is_drawn &= in_foreground();
        self.is_seen && in_foreground()
    }

    /// Shows the blocker.
    pub(crate) fn show(&mut self, blocked: &Blocked) {
        self.draw(&text::waiting(blocked, self.started.elapsed()));
    }

    /// Shows that the question for the blocker gets no answer.
    pub(crate) fn show_silence(&mut self) {
        self.draw(&text::waiting_unanswered(self.started.elapsed()));
    }

    fn draw(&mut self, line: &str) {
        self.is_drawn = true;
        draw(line);
    }
}

impl Drop for WaitingLine {
    fn drop(&mut self) {
        if self.is_drawn && in_foreground() {
            draw("");
        }
    }
}

/// Returns whether this job is in the terminal's foreground, rather than the shell that started it.
fn in_foreground() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|job| job == getpgrp())
}

/// Overwrites the previous line. The terminal cuts the line off at its edge. The cursor returns to
/// the beginning, so a `^C` that the terminal prints is within the line and is cleared with it.
fn draw(line: &str) {
    const CLEAR: &str = "\r\x1b[K";
    // In one write, so that no partial line is visible.
    let line = format!("{CLEAR}{CUT_OFF}{line}{WRAP}\r");
    // The terminal may be gone, which is not a reason to stop waiting.
    let _ = io::stderr().write_all(line.as_bytes());
}
