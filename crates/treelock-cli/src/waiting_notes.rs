//! The sentences that say what `run` waits for where no line can be redrawn, as in the log of a CI
//! job: one after some seconds, then more and more rarely.

use std::time::{Duration, Instant};

use treelock::Blocked;

use crate::{announcer::Announcer, text};

/// How long to wait before the first sentence. Most waits are shorter.
const FIRST_NOTE_AFTER: Duration = Duration::from_secs(5);
/// The maximum time between two sentences. Many CI systems end a job that prints nothing for ten
/// minutes.
const NOTE_INTERVAL_MAX: Duration = Duration::from_secs(300);

/// When to say what is waited for.
pub(crate) struct WaitingNotes<'a> {
    announcer: &'a Announcer,
    started: Instant,
    /// How long this has waited when the next sentence is due.
    next: Duration,
}

impl WaitingNotes<'_> {
    /// Returns the notes of a wait. The first is said at once, or after some seconds.
    pub(crate) fn new(
        announcer: &Announcer,
        started: Instant,
        is_said_at_once: bool,
    ) -> WaitingNotes<'_> {
        let next = if is_said_at_once { Duration::ZERO } else { FIRST_NOTE_AFTER };
        WaitingNotes { announcer, started, next }
    }

    /// Returns whether a sentence is due.
    pub(crate) fn is_due(&self) -> bool {
        self.next <= self.started.elapsed()
    }

    /// Returns when a sentence is due.
    pub(crate) fn next(&self) -> Instant {
        self.started + self.next
    }

    /// Says what is waited for.
    pub(crate) fn say(&mut self, blocked: &Blocked) {
        self.print(&text::waiting(blocked, self.started.elapsed()));
    }

    /// Says that the question for the blocker gets no answer.
    pub(crate) fn say_silence(&mut self) {
        self.print(&text::waiting_unanswered(self.started.elapsed()));
    }

    fn print(&mut self, sentence: &str) {
        self.announcer.say(sentence);
        self.next = after(self.started.elapsed());
    }
}

/// Returns how long a wait has lasted when the sentence after this moment is due: after 5, 10, 20
/// seconds and so on, and then every five minutes.
fn after(waited: Duration) -> Duration {
    let mut next = FIRST_NOTE_AFTER;
    while next <= waited {
        next += next.min(NOTE_INTERVAL_MAX);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_it_waits_the_rarer() {
        let mut waited = Duration::ZERO;
        let mut said = Vec::new();
        while said.len() < 9 {
            waited = after(waited);
            said.push(waited.as_secs());
        }
        assert_eq!(said, [5, 10, 20, 40, 80, 160, 320, 620, 920]);
        // A sentence that comes late does not bring the next one earlier.
        assert_eq!(after(Duration::from_secs(11)), Duration::from_secs(20));
    }
}
