//! A helper process that is traced from one instruction to the next.
//!
//! Its thread [marks](mark) the beginning and the end of what is of interest by a signal, which
//! only the tracer sees. In between it runs as far as it is told, by instructions or by changes of
//! the table.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    helper::{Helper, Part},
    scratch::{LONG, Scratch},
};
use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    sys::{
        ptrace,
        signal::{Signal, raise},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// How much of the table is compared: the header, and all of the first two chunks.
const COMPARED_BYTES: usize = 1 << 17;

/// Marks, in a traced process, the beginning or the end of what is of interest.
pub(crate) fn mark() {
    raise(Signal::SIGUSR1).expect("a signal that exists");
}

/// How far it shall run, counted from its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Instructions(usize),
    /// Changes of the table. A death between two of them leaves the same as one right behind the
    /// first, except for what system calls do.
    Changes(usize),
    End,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    Stopped,
    /// It has not come so far, and sleeps.
    Asleep,
    Ended,
}

/// How far it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) instructions: usize,
    /// After which instructions the table had changed. Unknown for what ran to an instruction.
    pub(crate) changed: Vec<usize>,
    ended: bool,
}

/// A process that runs as far as it is told.
pub(crate) struct Stepper {
    helper: Helper,
    /// What the kernel says about its thread.
    stat: PathBuf,
    orders: Option<Sender<Until>>,
    stops: Receiver<()>,
    progress: Arc<Mutex<Progress>>,
    tracer: Option<JoinHandle<()>>,
}

impl Stepper {
    /// Starts a process that plays a part. It has reached its first mark when this returns. Returns
    /// `None`, and says so, if this process may not trace its children.
    pub(crate) fn start(scratch: &Scratch, part: &str, what: &str) -> Option<Stepper> {
        let mut helper = Part::new(part, scratch.lock.path(), what).start();
        let thread: i32 = helper.value("thread");
        let stat = format!("/proc/{}/task/{thread}/stat", helper.pid()).into();
        let (orders, told) = channel();
        let (say, stops) = channel();
        let (seized, is_seized) = channel();
        let table = scratch.table();
        let progress = Arc::<Mutex<Progress>>::default();
        let noted = progress.clone();
        let tracer = thread::spawn(move || {
            let tracee = Tracee { thread: Pid::from_raw(thread), table, progress: noted };
            let begun = tracee.seize();
            seized.send(begun).expect("the one who started it listens");
            if begun.is_ok() {
                tracee.obey(&told, &say);
            }
        });
        if let Err(error) = is_seized.recv().expect("it does not panic") {
            println!("not tested here: tracing a child: {error}");
            return None;
        }
        helper.tell("go");
        let (orders, tracer) = (Some(orders), Some(tracer));
        let mut stepper = Stepper { helper, stat, orders, stops, progress, tracer };
        stepper.go(Until::Instructions(0));
        while stepper.wait() == Now::Asleep {}
        Some(stepper)
    }

    /// Returns how far it has come.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.lock().expect("no panic").clone()
    }

    /// Lets it run, and does not wait.
    pub(crate) fn go(&mut self, until: Until) {
        let orders = self.orders.as_ref().expect("it is not killed yet");
        orders.send(until).expect("it lives");
    }

    /// Waits until it has come as far as it was told, or sleeps. In the latter case, wait again.
    pub(crate) fn wait(&mut self) -> Now {
        let start = Instant::now();
        loop {
            match self.stops.recv_timeout(Duration::from_millis(1)) {
                Ok(()) if self.progress().ended => return Now::Ended,
                Ok(()) => return Now::Stopped,
                Err(RecvTimeoutError::Timeout) if self.sleeps() => return Now::Asleep,
                Err(error) => assert!(
                    error == RecvTimeoutError::Timeout && start.elapsed() < 4 * LONG,
                    "the traced process has failed or is stuck: {error}"
                ),
            }
        }
    }

    /// Lets it run to a stop or to its end, and calls `asleep` again and again while it sleeps.
    pub(crate) fn run(&mut self, until: Until, mut asleep: impl FnMut()) -> Now {
        self.go(until);
        self.rest(&mut asleep)
    }

    /// Waits for its stop or its end, as [`run`](Stepper::run) does.
    pub(crate) fn rest(&mut self, mut asleep: impl FnMut()) -> Now {
        let start = Instant::now();
        loop {
            match self.wait() {
                Now::Asleep => asleep(),
                now => return now,
            }
            assert!(start.elapsed() < LONG, "nothing wakes the traced process");
        }
    }

    fn sleeps(&self) -> bool {
        let stat = fs::read_to_string(&self.stat).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    }

    /// Kills it. It is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.helper.strike();
        self.orders = None;
        // A traced process stays until the tracer has seen its end.
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
        self.helper.kill();
    }
}

/// Kills it even if the test fails.
impl Drop for Stepper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the thread that traces has. Only the thread that seized a process may control it.
struct Tracee {
    thread: Pid,
    table: PathBuf,
    progress: Arc<Mutex<Progress>>,
}

impl Tracee {
    fn seize(&self) -> Result<(), Errno> {
        self.share_processor();
        ptrace::seize(self.thread, ptrace::Options::PTRACE_O_EXITKILL)?;
        ptrace::interrupt(self.thread)?;
        self.next().map(drop)
    }

    /// Binds the two to one processor. They take turns, and to wake another processor each time
    /// would take ten times as long.
    fn share_processor(&self) {
        let mut here = CpuSet::new();
        let is_set = sched_getcpu().and_then(|number| here.set(number));
        for thread in [Pid::from_raw(0), self.thread] {
            // If that is not possible, it only takes longer.
            let _ = is_set.and_then(|()| sched_setaffinity(thread, &here));
        }
    }

    fn next(&self) -> Result<WaitStatus, Errno> {
        waitpid(self.thread, Some(WaitPidFlag::__WALL))
    }

    /// Returns whether it has stopped at a mark, and not for another reason. `None` if it is dead.
    fn is_at_mark(&self) -> Option<bool> {
        match self.next() {
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal == Signal::SIGUSR1),
            Ok(WaitStatus::PtraceEvent(..)) => Some(false),
            _ => None,
        }
    }

    /// Does what it is told until nobody tells anything any more, and the process is dead.
    fn obey(&self, told: &Receiver<Until>, say: &Sender<()>) {
        if self.steps(told, say).is_none() {
            return;
        }
        while !matches!(self.next(), Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(_))
        {
        }
    }

    /// Returns `None` when it is dead.
    fn steps(&self, told: &Receiver<Until>, say: &Sender<()>) -> Option<()> {
        loop {
            ptrace::cont(self.thread, None).ok()?;
            if self.is_at_mark()? {
                break;
            }
        }
        while let Ok(until) = told.recv() {
            // What happens before it is told to go on is not its doing.
            let watches = !matches!(until, Until::Instructions(_));
            let mut compared = watches.then(|| Compared::new(&self.table));
            while !self.progress().has_reached(until) {
                ptrace::step(self.thread, None).ok()?;
                let ended = self.is_at_mark()?;
                let changed = compared.as_mut().is_some_and(Compared::has_changed);
                let mut progress = self.progress();
                progress.instructions += 1;
                progress.ended = ended;
                if changed {
                    let at = progress.instructions;
                    progress.changed.push(at);
                }
            }
            if say.send(()).is_err() {
                break;
            }
        }
        Some(())
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no panic")
    }
}

impl Progress {
    fn has_reached(&self, until: Until) -> bool {
        self.ended
            || match until {
                Until::Instructions(count) => self.instructions >= count,
                Until::Changes(count) => self.changed.len() >= count,
                Until::End => false,
            }
    }
}

/// The table as it was last seen.
struct Compared {
    table: Option<File>,
    seen: Vec<u8>,
    now: Vec<u8>,
}

impl Compared {
    fn new(table: &PathBuf) -> Compared {
        let table = File::open(table).ok();
        let [seen, now] = [(); 2].map(|()| vec![0; COMPARED_BYTES]);
        let mut compared = Compared { table, seen, now };
        compared.has_changed();
        compared
    }

    /// Returns whether it has changed since the last call. A table that did not exist at the
    /// beginning never does.
    fn has_changed(&mut self) -> bool {
        let Some(table) = &self.table else { return false };
        let count = table.read_at(&mut self.now, 0).expect("a table that can be read");
        let changed = self.now[..count] != self.seen[..count];
        if changed {
            std::mem::swap(&mut self.now, &mut self.seen);
        }
        changed
    }
}
