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

/// How often the line is written again, since its times go on.
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

    /// Returns when the line has to be written again, if anybody sees it.
    pub(crate) fn next_refresh(&self, now: Instant) -> Option<Instant> {
        self.is_seen.then_some(now + REFRESH_INTERVAL)
    }

    /// Returns whether it would be seen if it were drawn now. A line from the background would be
    /// written over what the shell's user types.
    pub(crate) fn is_visible(&mut self) -> bool {
        self.is_drawn &= in_foreground();
        self.is_seen && in_foreground()
    }

    /// Says who is in the way.
    pub(crate) fn show(&mut self, blocked: &Blocked) {
        self.draw(&text::waiting(blocked, self.started.elapsed()));
    }

    /// Says that nobody answers who is in the way.
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

/// Returns whether the terminal is that of this job, and not of the shell that started it.
fn in_foreground() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|job| job == getpgrp())
}

/// Writes the line over the one before. The terminal cuts it off at its edge, and the cursor goes
/// back to the beginning, so that a `^C` that the terminal writes is in the line too and is cleared
/// with it.
fn draw(line: &str) {
    const CLEAR: &str = "\r\x1b[K";
    // In one piece, so that nobody sees half of it.
    let line = format!("{CLEAR}{CUT_OFF}{line}{WRAP}\r");
    // Nobody may look any more, which is no reason to end a wait.
    let _ = io::stderr().write_all(line.as_bytes());
}
