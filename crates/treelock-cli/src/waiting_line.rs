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

/// One line on the terminal; cleared when dropped.
pub(crate) struct WaitingLine {
    started: Instant,
    is_drawn: bool,
}

impl WaitingLine {
    /// Returns the line; `None` if standard error is no terminal that can clear lines.
    pub(crate) fn new(started: Instant) -> Option<WaitingLine> {
        let is_seen = io::stderr().is_terminal() && !screen::is_dumb();
        is_seen.then_some(WaitingLine { started, is_drawn: false })
    }

    /// Returns when the line has to be rewritten.
    pub(crate) fn next_refresh(&self, now: Instant) -> Instant {
        now + REFRESH_INTERVAL
    }

    /// Returns the line if it may be drawn now. From the background it would overwrite what the
    /// user types into the shell.
    pub(crate) fn if_visible(&mut self) -> Option<&mut WaitingLine> {
        let is_visible = in_foreground();
        self.is_drawn &= is_visible;
        is_visible.then_some(self)
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
