//! The command under the lock: starting it, and looking after it until it has ended.

use std::{
    ffi::OsString,
    io, mem,
    pin::Pin,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::SIGTERM, low_level::signal_name};
use treelock::Answer;
use treelock_any::Guard;

use crate::{
    announcer::Announcer,
    error::Failure,
    events::{Event, Events},
    exit,
    lock::Lock,
    wait::TOKEN,
};

/// Runs a command to its end under this lock. Success without the lock is a failure.
pub(crate) fn run(
    lock: &Lock,
    guard: &Guard,
    command_line: &[OsString],
    grace: Option<Duration>,
    events: &Events,
    announcer: &Announcer,
) -> Result<ExitStatus, Failure> {
    // This process may have been stopped since the grant.
    if !guard.is_valid() {
        return Err(Failure::new(
            exit::CANNOT_LOCK,
            format_args!("the lock was lost before the command was started: {}", lock.why_lost()),
        ));
    }
    let mut loss = Loss {
        lost: Some(guard.lost()),
        why: lock.why_lost(),
        grace: grace.unwrap_or_else(|| lock.grace()),
        kill_at: None,
    };
    let mut child = start(lock, guard, command_line)?;
    let ended = look_after(&mut child, guard, &mut loss, events, announcer);
    let status = ended.map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot wait for the command: {error}"))
    })?;
    if guard.is_valid() {
        return Ok(status);
    }
    let lost = format!("the lock was lost before the command had ended: {}", loss.why);
    if status.success() {
        return Err(Failure::new(exit::CANNOT_LOCK, lost));
    }
    if loss.lost.is_some() {
        announcer.say(&lost); // otherwise it has been said
    }
    Ok(status)
}

/// The loss of the lock, and what follows from it.
struct Loss {
    /// Until it has happened.
    lost: Option<Answer<()>>,
    why: &'static str,
    /// How long after SIGTERM SIGKILL comes.
    grace: Duration,
    kill_at: Option<Instant>,
}

/// Starts the command, which does not outlive the lock if this process is killed.
fn start(lock: &Lock, guard: &Guard, command_line: &[OsString]) -> Result<Child, Failure> {
    let program = command_line.first().expect("clap demands a command");
    let mut command = lock.command(guard, command_line)?;
    command.env(TOKEN, guard.token().to_string());
    command.spawn().map_err(|error| Failure::start(program, &error))
}

/// Waits until the command has ended, forwarding signals. If the lock is lost meanwhile the command
/// has to end, since it works on what others may have now.
fn look_after(
    child: &mut Child,
    guard: &Guard,
    loss: &mut Loss,
    events: &Events,
    announcer: &Announcer,
) -> io::Result<ExitStatus> {
    let mut command = Sender::new(child, announcer);
    // Those of a terminal too: what reaches a child that is not yet the command does nothing there.
    events.until_now().iter().for_each(|signal| command.forward(signal.number));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Some(lost) = &mut loss.lost
            && events.poll(Pin::new(lost)).is_ready()
        {
            loss.lost = None;
            if guard.is_valid() {
                // The engine cannot listen. The command runs even so: its end tells whether it was
                // lost.
                announcer
                    .say("nothing will say so if the lock is lost: a thread cannot be started");
            } else {
                // A time too long to be counted is as good as none.
                loss.kill_at = Instant::now().checked_add(loss.grace);
                announcer.say(&format!("the lock is lost: {}; the command has to end", loss.why));
                command.forward(SIGTERM);
            }
        }
        if loss.kill_at.is_some_and(|at| at <= Instant::now()) {
            loss.kill_at = None;
            if command.send(Signal::KILL) {
                announcer.say("the command did not end, and is killed");
            }
        }
        if let Some(Event::Signal(signal)) = events.next(loss.kill_at)
            && !signal.from_terminal
        {
            command.forward(signal.number);
        }
    }
}

/// Sends signals to the command. Its end has not been awaited yet, so no other process can have its
/// number.
struct Sender<'a> {
    command: Pid,
    has_complained: bool,
    announcer: &'a Announcer,
}

impl Sender<'_> {
    fn new<'a>(child: &Child, announcer: &'a Announcer) -> Sender<'a> {
        Sender { command: Pid::from_child(child), has_complained: false, announcer }
    }

    fn forward(&mut self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            self.send(signal);
        }
    }

    /// Returns whether it was sent. If it cannot be, says so once: a command that became another
    /// user, as what sudo(8) starts, gets no signal from here.
    fn send(&mut self, signal: Signal) -> bool {
        let sent = kill_process(self.command, signal);
        if let Err(error) = sent
            && !mem::replace(&mut self.has_complained, true)
        {
            let (pid, name) = (self.command.as_raw_nonzero(), signal_name(signal.as_raw()));
            let name = name.unwrap_or("a signal");
            self.announcer.say(&format!("cannot send {name} to the command (pid {pid}): {error}"));
        }
        sent.is_ok()
    }
}
