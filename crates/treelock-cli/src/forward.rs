//! Signals to the command that waits for its keeper. The keeper is asked to end, and this command
//! ends after it: so nothing is left in line, or on the terminal, when the shell goes on.

use std::{
    io,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering::SeqCst},
    },
    thread,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::{iterator::Signals, low_level::emulate_default_handler};

use crate::events;

/// Forwards signals to the keeper until it holds the lock.
#[derive(Default)]
pub(crate) struct Forwarder {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// The first signal that came; 0 before.
    came: AtomicI32,
    /// From now on a signal just ends this process, which also tells the keeper.
    is_off: AtomicBool,
}

impl Forwarder {
    pub(crate) fn start(keeper: &Child) -> io::Result<Forwarder> {
        let forwarder = Forwarder::default();
        let Ok(keeper) = pidfd_open(Pid::from_child(keeper), PidfdFlags::empty()) else {
            // Then signals end this process, and the keeper notices.
            return Ok(forwarder);
        };
        let mut signals = Signals::new(events::heeded())?;
        let shared = Arc::clone(&forwarder.shared);
        thread::Builder::new().name("signals".into()).spawn(move || {
            for number in signals.forever() {
                let _ = shared.came.compare_exchange(0, number, SeqCst, SeqCst);
                if shared.is_off.load(SeqCst) {
                    let _ = emulate_default_handler(number);
                } else if let Some(signal) = Signal::from_named_raw(number) {
                    let _ = pidfd_send_signal(&keeper, signal);
                }
            }
        })?;
        Ok(forwarder)
    }

    /// Lets signals end this process from now on. Returns the signal that has come before, which
    /// ends the keeper.
    pub(crate) fn turn_off(&self) -> Option<i32> {
        self.shared.is_off.store(true, SeqCst);
        match self.shared.came.load(SeqCst) {
            0 => None,
            number => Some(number),
        }
    }
}
