//! What a waiting program waits for, in one line: signals to this process, the end of a child, and futures
//! that can go on. So nothing is polled for, and nothing is missed between two waits.

use std::{
    collections::HashSet,
    fs, io,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Instant,
};

use rustix::process::{getpid, getsid};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};

/// The signals that a command under the lock gets as if they had been sent to it.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

pub(crate) enum Event {
    /// Somebody wants something of this process.
    Signal(Signal),
    /// A future can go on, or a child has changed.
    Woken,
}

#[derive(Clone, Copy)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// The kernel sent it, which it does to the whole foreground of a terminal: a child has it too.
    pub(crate) from_terminal: bool,
}

/// The line of events.
pub(crate) struct Events {
    line: Receiver<Event>,
    waker: Waker,
}

/// Puts a wake-up in line.
struct Doorbell(Sender<Event>);

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the program ends, and then nobody has to be woken.
        let _ = self.0.send(Event::Woken);
    }
}

impl Events {
    /// Returns the line, into which signals go from now on instead of ending the process.
    ///
    /// What was ignored when the program began stays so, for a child too: nohup(1) and shells that start
    /// something in the background mean it.
    pub(crate) fn start() -> io::Result<Events> {
        let (sender, line) = mpsc::channel();
        let waker = Waker::from(Arc::new(Doorbell(sender.clone())));
        let ignored = ignored();
        let wanted = FORWARDED.into_iter().filter(|signal| !ignored.contains(signal));
        let mut signals = SignalsInfo::<WithOrigin>::new(wanted.chain([SIGCHLD]))?;
        // Of a terminal that is gone the kernel tells the leader of the session only, and the others when
        // that one has ended; what comes from Ctrl-C goes to all.
        let leads_session = getsid(None).is_ok_and(|session| session == getpid());
        thread::Builder::new().name("signals".into()).spawn(move || {
            for origin in signals.forever() {
                let event = match origin.signal {
                    SIGCHLD => Event::Woken,
                    number => Event::Signal(Signal {
                        number,
                        from_terminal: matches!(origin.cause, Cause::Kernel)
                            && !(number == SIGHUP && leads_session),
                    }),
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        })?;
        Ok(Events { line, waker })
    }

    /// Waits for the next event; returns `None` when it is `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Event> {
        match until {
            None => Some(self.line.recv().expect("the waker holds a sender")),
            Some(until) => {
                self.line.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
            }
        }
    }

    /// Returns a signal that came already.
    pub(crate) fn pending_signal(&self) -> Option<Signal> {
        self.line.try_iter().find_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Woken => None,
        })
    }

    /// Polls a future, whose next step will be an event.
    pub(crate) fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }
}

/// The signals that whoever started this process told it to ignore.
fn ignored() -> HashSet<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    FORWARDED.into_iter().filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}
