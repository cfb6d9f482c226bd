//! What a waiting program waits for, in one line: signals to this process, the end of a child, and futures
//! that can go on. So nothing is polled for, and nothing is missed between two waits.

use std::{
    collections::HashSet,
    fs, io,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
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

use crate::exit;

/// The signals that a command under the lock gets as if they had been sent to it.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];
/// How long a signal may lie in line before a command is started. Asking can block, as behind a stopped
/// process that has the table's latch, and Ctrl-C has to end that too.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) enum Event {
    /// Somebody wants something of this process.
    Signal(Signal),
    /// A child has changed.
    Child,
    /// A future can go on.
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
    watchdog: Arc<Watchdog>,
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
    /// something in the background mean it. What was blocked stays so for a child, which has the mask of the
    /// thread that starts it.
    pub(crate) fn start() -> io::Result<Events> {
        let (sender, line) = mpsc::channel();
        let waker = Waker::from(Arc::new(Doorbell(sender.clone())));
        let watchdog = Arc::new(Watchdog::default());
        let ignored = ignored();
        let wanted = FORWARDED.into_iter().filter(|signal| !ignored.contains(signal));
        let wanted: Vec<i32> = wanted.chain([SIGCHLD]).collect();
        let mut signals = SignalsInfo::<WithOrigin>::new(&wanted)?;
        let unblocked: SigSet = wanted.into_iter().filter_map(|n| Name::try_from(n).ok()).collect();
        let watched = Arc::clone(&watchdog);
        thread::Builder::new().name("signals".into()).spawn(move || {
            // One thread that takes them is enough for the kernel to deliver them.
            let _ = unblocked.thread_unblock();
            for origin in signals.forever() {
                let event = event(&origin);
                let is_signal = matches!(event, Event::Signal(_));
                if sender.send(event).is_err() {
                    return;
                }
                if is_signal {
                    watched.see_taken(origin.signal);
                }
            }
        })?;
        Ok(Events { line, waker, watchdog })
    }

    /// Waits for the next event; returns `None` when it is `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Event> {
        let event = match until {
            None => self.line.recv().expect("the waker holds a sender"),
            Some(until) => {
                let limit = until.saturating_duration_since(Instant::now());
                self.line.recv_timeout(limit).ok()?
            }
        };
        if let Event::Signal(_) = event {
            self.watchdog.taken();
        }
        Some(event)
    }

    /// Lets signals wait from now on, however long: a command is about to start, and must not be left alone.
    /// Returns one that came already.
    pub(crate) fn before_command(&self) -> Option<Signal> {
        self.watchdog.rest();
        self.line.try_iter().find_map(|event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Child | Event::Woken => None,
        })
    }

    /// Returns all signals that came until now, also those that the thread above has not seen yet. Futures
    /// and children have to be looked at after it.
    pub(crate) fn until_now(&self) -> Vec<Signal> {
        let mut came = Vec::new();
        // Its end is marked by a signal to this process. The thread looks for SIGCHLD after all others, so it
        // finds in its second round whatever came before the first mark.
        for _ in 0..2 {
            if kill(getpid(), Name::SIGCHLD).is_err() {
                break;
            }
            let end = Instant::now() + PATIENCE;
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

    /// Waits for a future, for so long at most. For the end of the program: whatever signal comes meanwhile asks
    /// for no more than that.
    #[cfg(feature = "etcd")]
    pub(crate) fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        let end = Instant::now() + limit;
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut()) {
                return Some(output);
            }
            self.next(Some(end))?;
        }
    }

    /// Polls a future, whose next step will be an event.
    pub(crate) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }
}

fn event(origin: &Origin) -> Event {
    if origin.signal == SIGCHLD {
        return Event::Child;
    }
    let by_kernel = matches!(origin.cause, Cause::Kernel);
    // Of a terminal that is gone the kernel tells the leader of the session only, and the others when that
    // one has ended; what comes from Ctrl-C goes to all.
    let to_leader = origin.signal == SIGHUP && leads_session();
    Event::Signal(Signal { number: origin.signal, from_terminal: by_kernel && !to_leader })
}

/// Whether this process leads its session. Not by rustix, to which a leader outside of this PID namespace,
/// whose number is 0 here, must not happen.
fn leads_session() -> bool {
    getsid(None) == Ok(getpid())
}

/// Ends the process if a signal is not taken in time.
#[derive(Default)]
struct Watchdog {
    state: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Default)]
struct Watch {
    /// How many signals were put in line, less those taken out; below zero for a moment if it was fast.
    in_line: i64,
    /// The command may be there, so nothing is too late any more.
    rests: bool,
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) {
        self.lock().in_line -= 1;
        self.changed.notify_all();
    }

    fn rest(&self) {
        self.lock().rests = true;
        self.changed.notify_all();
    }

    /// Waits until the signal that was put in line is taken; ends the process if it is not. Its death gives
    /// back all that it asked for.
    fn see_taken(&self, signal: i32) {
        let mut watch = self.lock();
        watch.in_line += 1;
        let waits = |watch: &mut Watch| watch.in_line > 0 && !watch.rests;
        let waited = self.changed.wait_timeout_while(watch, PATIENCE, waits);
        let (_watch, result) = waited.unwrap_or_else(PoisonError::into_inner);
        // The state stays locked, so that no command is started now.
        if result.timed_out() {
            std::process::exit(exit::end_by_signal(signal).into());
        }
    }
}

/// The signals that whoever started this process told it to ignore.
fn ignored() -> HashSet<i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    FORWARDED.into_iter().filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}
