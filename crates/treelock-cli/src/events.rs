//! One queue of everything that a waiting program waits for: signals to this process, the end of a
//! child, and futures that can proceed. So nothing is polled, and nothing is missed between two
//! waits.

use std::{
    fs, io,
    pin::{Pin, pin},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{SigSet, Signal as Name, kill},
    unistd::{getpid, getsid},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Origin},
};

use crate::watchdog::Watchdog;

/// The signals that a command under the lock gets as if they had been sent to it.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// How long [`Events::until_now`] waits for the signal with which it marks the present.
const MARK_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) enum Event {
    /// A signal asks this process to do something.
    Signal(Signal),
    /// A child has changed.
    Child,
    /// A future can proceed.
    Woken,
}

#[derive(Clone, Copy)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// The kernel sent it to the whole foreground of a terminal, so a child has received it too.
    pub(crate) from_terminal: bool,
}

/// The queue of events.
pub(crate) struct Events {
    queue: Receiver<Event>,
    waker: Waker,
    watchdog: Arc<Watchdog>,
}

/// Queues a wake-up.
struct QueueWaker(Sender<Event>);

impl Wake for QueueWaker {
    fn wake(self: Arc<Self>) {
        // When the program ends, nothing listens any more and nothing has to be woken.
        let _ = self.0.send(Event::Woken);
    }
}

impl Events {
    /// Creates the queue. From now on signals go into it instead of ending the process.
    ///
    /// Signals that were ignored when the program began stay ignored, for a child too: nohup(1) and
    /// shells that start background jobs rely on this. Signals that were blocked stay blocked for a
    /// child, which inherits the mask of the thread that starts it.
    pub(crate) fn start() -> io::Result<Events> {
        let (sender, queue) = mpsc::channel();
        let waker = Waker::from(Arc::new(QueueWaker(sender.clone())));
        let watchdog = Arc::new(Watchdog::default());
        let wanted: Vec<i32> = heeded().into_iter().chain([SIGCHLD]).collect();
        let mut signals = SignalsInfo::<WithOrigin>::new(&wanted)?;
        let unblocked: SigSet = wanted.into_iter().filter_map(|n| Name::try_from(n).ok()).collect();
        let watched = Arc::clone(&watchdog);
        thread::Builder::new().name("signals".into()).spawn(move || {
            // One thread that accepts the signals is enough for the kernel to deliver them.
            let _ = unblocked.thread_unblock();
            for origin in signals.forever() {
                let event = event(&origin);
                let is_signal = matches!(event, Event::Signal(_));
                if sender.send(event).is_err() {
                    return;
                }
                if is_signal {
                    watched.await_taken(origin.signal);
                }
            }
        })?;
        Ok(Events { queue, waker, watchdog })
    }

    /// Waits for the next event. Returns `None` if there is none before `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Event> {
        let event = match until {
            None => self.queue.recv().expect("the waker holds a sender"),
            Some(until) => {
                let limit = until.saturating_duration_since(Instant::now());
                self.queue.recv_timeout(limit).ok()?
            }
        };
        if let Event::Signal(_) = event {
            self.watchdog.taken();
        }
        Some(event)
    }

    /// Lets signals wait from now on, without limit: a command is about to start and must not be
    /// left alone. Returns a signal that has already arrived.
    pub(crate) fn before_command(&self) -> Option<Signal> {
        self.watchdog.turn_off();
        self.queue.try_iter().find_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Child | Event::Woken => None,
        })
    }

    /// Returns all signals that have arrived until now, including those that the thread above has
    /// not seen yet. Look at futures and children only after this call.
    pub(crate) fn until_now(&self) -> Vec<Signal> {
        let mut came = Vec::new();
        // A signal to this process marks the present. The thread looks for SIGCHLD after all other
        // signals, so its second round finds whatever arrived before the first mark.
        for _ in 0..2 {
            if kill(getpid(), Name::SIGCHLD).is_err() {
                break;
            }
            let end = Instant::now() + MARK_TIMEOUT;
            while let Some(event) = self.next(Some(end)) {
                match event {
                    Event::Signal(signal) => came.push(signal),
                    Event::Child => break,
                    Event::Woken => {}
                }
            }
        }
        came
    }

    /// Waits for a future, for at most this long. Only for the end of the program: a signal that
    /// arrives meanwhile could ask for nothing more.
    pub(crate) fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let end = Instant::now() + limit;
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut()) {
                return Some(output);
            }
            self.next(Some(end))?;
        }
    }

    /// Polls a future. Its next wake-up will be an event.
    pub(crate) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }
}

fn event(origin: &Origin) -> Event {
    if origin.signal == SIGCHLD {
        return Event::Child;
    }
    let by_kernel = matches!(origin.cause, Cause::Kernel);
    // When a terminal is gone, the kernel notifies only the leader of the session, and the others
    // when the leader has ended. Ctrl-C goes to all.
    let to_leader = origin.signal == SIGHUP && leads_session();
    Event::Signal(Signal { number: origin.signal, from_terminal: by_kernel && !to_leader })
}

/// Returns whether this process leads its session. Does not use rustix, which panics if the leader
/// is outside this PID namespace and its number is therefore 0.
fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// Returns the signals that are taken: all but those that this process was started to ignore.
pub(crate) fn heeded() -> Vec<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    FORWARDED.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0).collect()
}
