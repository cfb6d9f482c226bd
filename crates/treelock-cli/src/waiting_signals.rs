//! Signals to the command that waits for its keeper. The keeper is asked to end, and this command
//! ends after it: so nothing is left in line, or on the terminal, when the shell goes on.

use std::{
    io,
    os::fd::OwnedFd,
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::{iterator::Signals, low_level::emulate_default_handler};

use crate::events;

/// Forwards signals to the keeper until it holds the lock.
pub(crate) struct Forwarder {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    keeper: Option<OwnedFd>,
    /// The first signal that came.
    came: Option<i32>,
    /// From now on a signal just ends this process, which also tells the keeper.
    is_off: bool,
}

impl Shared {
    fn handle(&self, number: i32) {
        if self.is_off {
            // Returns only if it fails, and then the process goes on as if no signal had come.
            let _ = emulate_default_handler(number);
        } else if let (Some(keeper), Some(signal)) = (&self.keeper, Signal::from_named_raw(number))
        {
            // One that has ended needs no signal.
            let _ = pidfd_send_signal(keeper, signal);
        }
    }
}

impl Forwarder {
    /// Takes signals from now on. One that comes before there is a keeper is forwarded later.
    pub(crate) fn start() -> io::Result<Forwarder> {
        let mut signals = Signals::new(events::heeded())?;
        let forwarder = Forwarder { shared: Arc::default() };
        let shared = Arc::clone(&forwarder.shared);
        thread::Builder::new().name("signals".into()).spawn(move || {
            for number in signals.forever() {
                let mut shared = lock(&shared);
                shared.came.get_or_insert(number);
                shared.handle(number);
            }
        })?;
        Ok(forwarder)
    }

    pub(crate) fn forward_to(&self, keeper: &Child) {
        let mut shared = lock(&self.shared);
        shared.keeper = pidfd_open(Pid::from_child(keeper), PidfdFlags::empty()).ok();
        // Without a descriptor a signal ends this process, and the keeper notices.
        shared.is_off = shared.keeper.is_none();
        if let Some(number) = shared.came {
            shared.handle(number);
        }
    }

    /// Lets signals end this process from now on. Returns the signal that has come before, which
    /// ends the keeper.
    pub(crate) fn turn_off(&self) -> Option<i32> {
        let mut shared = lock(&self.shared);
        shared.is_off = true;
        shared.came
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
