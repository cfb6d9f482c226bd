//! One queue of everything that a waiting program waits for: signals to this process, the end of a
//! child, and futures that can proceed. So nothing is polled, and nothing is missed between two
//! waits.
//!
//! It needs no thread: a handler writes a byte to a socket, and so does a future's waker. The
//! program sleeps until there is something to read.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{SigSet, Signal as Name},
    unistd::{getpid, getsid},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    time::Timespec,
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    flag::{register_conditional_default, register_conditional_shutdown},
    iterator::{backend::SignalDelivery, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Origin},
};

use crate::exit;

/// The signals that a command under the lock gets as if they had been sent to it.
pub(crate) const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// How long to wait before another try if the kernel cannot wait for events.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// The maximum size of `/proc/self/status`, which the kernel gives out in one piece of a page.
const STATUS_BYTES_MAX: usize = 4096;

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
    signals: RefCell<SignalDelivery<UnixStream, WithOrigin>>,
    arrived: RefCell<VecDeque<Event>>,
    waker: Waker,
    /// Whether a future can proceed.
    is_woken: Arc<AtomicBool>,
    /// While this is set, a signal ends the process at once.
    ends_at_once: Arc<AtomicBool>,
    mask: Mask,
}

/// The signals that this thread blocks.
struct Mask {
    /// At the start of the program, and so for a command.
    inherited: SigSet,
    wanted: SigSet,
}

/// Queues a wake-up.
struct QueueWaker {
    is_due: Arc<AtomicBool>,
    socket: UnixStream,
}

impl Wake for QueueWaker {
    fn wake(self: Arc<Self>) {
        self.is_due.store(true, SeqCst);
        // If the socket is full, there is enough to wake up for.
        let _ = (&self.socket).write(&[0]);
    }
}

impl Events {
    /// Creates the queue. From now on signals go into it instead of ending the process.
    ///
    /// Signals that were ignored when the program began stay ignored, for a child too: nohup(1) and
    /// shells that start background jobs rely on this.
    pub(crate) fn start() -> io::Result<Events> {
        let ignored = ignored();
        let wanted = FORWARDED.into_iter().filter(|signal| !ignored.contains(signal));
        let wanted: Vec<i32> = wanted.collect();
        // Until there is a queue, a signal ends the process, as it would without a handler.
        let ends_at_once = Arc::new(AtomicBool::new(true));
        for signal in &wanted {
            let condition = Arc::clone(&ends_at_once);
            match *signal {
                SIGINT => register_conditional_default(SIGINT, condition)?,
                signal => {
                    let code = exit::by_signal(signal).into();
                    register_conditional_shutdown(signal, code, condition)?
                }
            };
        }
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let is_woken = Arc::new(AtomicBool::new(false));
        let socket = write.try_clone()?;
        let waker = Waker::from(Arc::new(QueueWaker { is_due: Arc::clone(&is_woken), socket }));
        let all: Vec<i32> = wanted.into_iter().chain([SIGCHLD]).collect();
        let signals = SignalDelivery::with_pipe(read, write, WithOrigin::default(), &all)?;
        ends_at_once.store(false, SeqCst);
        let wanted: SigSet = all.into_iter().filter_map(|n| Name::try_from(n).ok()).collect();
        let mask = Mask { inherited: SigSet::thread_get_mask()?, wanted };
        wanted.thread_unblock()?;
        Ok(Events {
            signals: RefCell::new(signals),
            arrived: RefCell::default(),
            waker,
            is_woken,
            ends_at_once,
            mask,
        })
    }

    /// Waits for the next event. Returns `None` if there is none before `until`.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Event> {
        loop {
            self.collect();
            if let Some(event) = self.arrived.borrow_mut().pop_front() {
                return Some(event);
            }
            if self.is_woken.swap(false, SeqCst) {
                return Some(Event::Woken);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // A time too long to represent is as good as no limit.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let signals = self.signals.borrow();
            let mut sources = [PollFd::new(signals.get_read(), PollFlags::IN)];
            match poll(&mut sources, left.as_ref()) {
                Ok(0) => return None,
                Ok(_) | Err(Errno::INTR) => {}
                // The kernel is short of memory.
                Err(_) => thread::sleep(RETRY_INTERVAL),
            }
        }
    }

    /// Queues the signals that have arrived.
    fn collect(&self) {
        let mut signals = self.signals.borrow_mut();
        self.arrived.borrow_mut().extend(signals.pending().map(|origin| event(&origin)));
    }

    /// Returns all signals that have arrived until now. Look at futures and children only after
    /// this call.
    pub(crate) fn until_now(&self) -> Vec<Signal> {
        self.collect();
        let signal = |event| match event {
            Event::Signal(signal) => Some(signal),
            Event::Child | Event::Woken => None,
        };
        self.arrived.borrow_mut().drain(..).filter_map(signal).collect()
    }

    /// Returns a signal that has already arrived, before a command is started.
    pub(crate) fn before_command(&self) -> Option<Signal> {
        self.until_now().first().copied()
    }

    /// Does what may block this process without a limit, for example behind a stopped process that
    /// has the table's latch. A signal ends the process meanwhile, which also gives back everything
    /// that it requested. Does nothing if a signal has arrived already, and returns it.
    pub(crate) fn interruptibly<T>(&self, action: impl FnOnce() -> T) -> Result<T, Signal> {
        self.ends_at_once.store(true, SeqCst);
        let done = match self.before_command() {
            None => Ok(action()),
            Some(signal) => Err(signal),
        };
        self.ends_at_once.store(false, SeqCst);
        done
    }

    /// Starts a command. Also returns the signals that did not reach it although they were sent to
    /// it: until it has become another program, it is a fork of this one, whose handlers take them.
    pub(crate) fn starting<T>(&self, start: impl FnOnce() -> T) -> (T, Vec<Signal>) {
        let started = self.with_inherited_mask(start);
        // Each run of a handler writes a byte, in the fork too.
        let handled = self.handled();
        let queued = self.arrived.borrow().len();
        self.collect();
        let own = self.arrived.borrow().len() - queued;
        (started, if handled > own { self.until_now() } else { Vec::new() })
    }

    /// Does something with the signals blocked that were blocked when the program began. A command
    /// inherits the mask of the thread that starts it.
    pub(crate) fn with_inherited_mask<T>(&self, action: impl FnOnce() -> T) -> T {
        let Mask { inherited, wanted } = &self.mask;
        let differs = wanted.iter().any(|signal| inherited.contains(signal));
        if differs {
            // Fails only for a wrong number of the operation.
            let _ = inherited.thread_set_mask();
        }
        let done = action();
        if differs {
            let _ = wanted.thread_unblock();
        }
        done
    }

    /// Returns how many handlers have run since the last look, and forgets it.
    fn handled(&self) -> usize {
        let signals = self.signals.borrow();
        let mut socket = signals.get_read();
        let mut bytes = [0; 64];
        let mut handled = 0;
        while let Ok(read @ 1..) = socket.read(&mut bytes) {
            handled += read;
        }
        handled
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

/// Returns the signals that this process was started to ignore.
fn ignored() -> HashSet<i32> {
    // One read is enough, and whoever starts a command waits for it.
    let mut status = vec![0; STATUS_BYTES_MAX];
    let read = File::open("/proc/self/status").and_then(|mut file| file.read(&mut status));
    let status = String::from_utf8_lossy(&status[..read.unwrap_or(0)]);
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    FORWARDED.into_iter().filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}
