//! Starts the command under the lock, and looks after it until it has ended.

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    pin::Pin,
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use signal_hook::consts::SIGTERM;
use treelock::Answer;
use treelock_any::Guard;

use crate::{
    announcer::Announcer,
    error::Failure,
    events::{Event, Events},
    exit,
    forwarder::Forwarder,
    lock::Lock,
    nested,
    wait::TOKEN,
    witness::Witness,
};

/// How long a command runs before this program listens for the loss of the lock, which may take a
/// thread. Most commands that end sooner need none.
const UNWATCHED: Duration = Duration::from_millis(20);

/// Runs a command to its end under this lock. A success without the lock counts as a failure.
pub(crate) fn run(
    lock: &Lock,
    guard: &Guard,
    command_line: &[OsString],
    grace: Option<Duration>,
    events: &Events,
    announcer: &Announcer,
) -> Result<ExitStatus, Failure> {
    let mut loss = Loss {
        lost: None,
        listen_at: Some(Instant::now() + UNWATCHED),
        is_told: false,
        grace: grace.unwrap_or_else(|| lock.grace()),
        kill_at: None,
    };
    let mut command = prepare(lock, guard, command_line)?;
    // Before the command, which may be heard of before this program goes on.
    let witness = Witness::start();
    // What comes with the grant ends this run as it would have ended the command.
    if let Some(signal) = events.before_command() {
        return Ok(ExitStatus::from_raw(signal.number));
    }
    let (started, taken) = events.starting(|| command.spawn());
    let mut child = started.map_err(|error| Failure::start(command_line, &error))?;
    let mut forwarder = Forwarder::new(&child, witness, announcer);
    forwarder.forward_taken(&taken);
    let ended = look_after(&mut child, forwarder, lock, guard, &mut loss, events);
    let status = ended.map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot wait for the command: {error}"))
    })?;
    if guard.is_valid() {
        return Ok(status);
    }
    let lost = format!("the lock was lost before the command had ended: {}", lock.why_lost());
    if status.success() {
        return Err(Failure::new(exit::CANNOT_LOCK, lost));
    }
    if !loss.is_told {
        announcer.say(&lost);
    }
    Ok(status)
}

/// Becomes the command, which then keeps the lock. Returns only if that fails.
pub(crate) fn exec(
    lock: &Lock,
    guard: &Guard,
    command_line: &[OsString],
    events: &Events,
) -> Failure {
    match prepare(lock, guard, command_line) {
        Ok(mut command) => {
            let error = events.with_inherited_mask(|| command.exec());
            Failure::start(command_line, &error)
        }
        Err(failure) => failure,
    }
}

/// Watches for the loss of the lock, and knows what follows from it.
struct Loss {
    /// From when this program listens until the loss has happened.
    lost: Option<Answer<()>>,
    listen_at: Option<Instant>,
    is_told: bool,
    /// The time between SIGTERM and SIGKILL.
    grace: Duration,
    kill_at: Option<Instant>,
}

/// Returns the command such that it does not outlive the lock if this process is killed.
fn prepare(lock: &Lock, guard: &Guard, command_line: &[OsString]) -> Result<Command, Failure> {
    // This process may have been suspended since the grant.
    if !guard.is_valid() {
        return Err(Failure::new(
            exit::CANNOT_LOCK,
            format_args!("the lock was lost before the command was started: {}", lock.why_lost()),
        ));
    }
    let mut command = lock.command(guard, command_line)?;
    command.env(TOKEN, guard.token().to_string());
    command.env(nested::TICKET, nested::tickets(lock, guard));
    Ok(command)
}

/// Waits until the command has ended, and forwards signals. If the lock is lost meanwhile, the
/// command must end, because others may now hold what it works on.
fn look_after(
    child: &mut Child,
    mut forwarder: Forwarder<'_>,
    lock: &Lock,
    guard: &Guard,
    loss: &mut Loss,
    events: &Events,
) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        loss.look(lock, guard, events, &mut forwarder);
        forwarder.decide();
        let until = [loss.next(), forwarder.next()].into_iter().flatten().min();
        if let Some(Event::Signal(signal)) = events.next(until) {
            forwarder.receive(signal);
        }
    }
}

impl Loss {
    /// Does what is due: begins to listen, tells the command to end, or kills it.
    fn look(&mut self, lock: &Lock, guard: &Guard, events: &Events, forwarder: &mut Forwarder<'_>) {
        let now = Instant::now();
        if self.listen_at.is_some_and(|at| at <= now) {
            self.listen_at = None;
            self.lost = Some(guard.lost());
        }
        if let Some(lost) = &mut self.lost
            && events.poll(Pin::new(lost)).is_ready()
        {
            self.lost = None;
            if guard.is_valid() {
                // The engine cannot listen. The command runs anyway: at its end it is clear whether
                // the lock was lost.
                forwarder
                    .say("a loss of the lock will not be reported: a thread cannot be started");
            } else {
                self.is_told = true;
                // A time too long to represent is as good as no limit.
                self.kill_at = now.checked_add(self.grace);
                let why = lock.why_lost();
                forwarder.say(&format!("the lock is lost: {why}; the command must end"));
                forwarder.forward(SIGTERM);
            }
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            if forwarder.send(Signal::KILL) {
                forwarder.say("the command did not end and is killed");
            }
        }
    }

    /// Returns when something is due.
    fn next(&self) -> Option<Instant> {
        [self.listen_at, self.kill_at].into_iter().flatten().min()
    }
}
