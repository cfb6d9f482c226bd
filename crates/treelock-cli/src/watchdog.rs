//! A watchdog that ends the process if a signal is not taken in time.

use std::{
    process,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::exit;

/// How long a signal may wait to be taken before a command is started. Asking can block, as behind
/// a stopped process that has the table's latch, and Ctrl-C has to end that too.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Counts the signals that wait to be taken.
#[derive(Default)]
pub(crate) struct Watchdog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How many signals were queued, less those taken; below zero for a moment if one is taken
    /// fast.
    queued: i64,
    /// A command may be running, so no signal is too late any more.
    is_off: bool,
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a signal was taken.
    pub(crate) fn taken(&self) {
        self.lock().queued -= 1;
        self.changed.notify_all();
    }

    /// Lets signals wait from now on, however long.
    pub(crate) fn turn_off(&self) {
        self.lock().is_off = true;
        self.changed.notify_all();
    }

    /// Waits until the signal that was just queued is taken; ends the process if it is not taken in
    /// time. The death of the process gives back all that it asked for.
    pub(crate) fn await_taken(&self, signal: i32) {
        let mut state = self.lock();
        state.queued += 1;
        let waits = |state: &mut State| state.queued > 0 && !state.is_off;
        let waited = self.changed.wait_timeout_while(state, SIGNAL_TIMEOUT, waits);
        let (_state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        // The state stays locked, so no command can be started now.
        if result.timed_out() {
            process::exit(exit::end_by_signal(signal).into());
        }
    }
}
