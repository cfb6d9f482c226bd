//! `treelock run`: wait for the lock, start the command, look after it, give the lock back.

use std::{
    env,
    ffi::{OsStr, OsString},
    io, mem,
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    path::Path,
    pin::Pin,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::SIGTERM, low_level::signal_name};

use crate::{
    arguments::Run,
    aside::Aside,
    engine::{Engine, Guard},
    events::{Event, Events},
    exit::{self, Failure},
    json, nodes, say,
    wait::{Outcome, wait},
};

/// Where the command finds its fencing token.
pub(crate) const TOKEN: &str = "TREELOCK_TOKEN";
/// A label made of a command line has at most this many characters.
const LABEL_LENGTH: usize = 40;

/// Runs a command under the lock; returns the exit code for it.
pub(crate) fn run(engine: &Engine, arguments: &Run) -> Result<u8, Failure> {
    let naming = arguments.naming.naming();
    let label = arguments.label.clone().unwrap_or_else(|| label_of(engine, &arguments.command));
    let request = nodes::request(naming, &arguments.write, &arguments.read)?.label(label);
    let events = Events::start().map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot listen for signals: {error}"))
    })?;
    let aside = Aside::start().map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot start a thread: {error}"))
    })?;
    let waited = wait(engine, &request, arguments.limit(), &events);
    if !matches!(waited, Ok(Outcome::Granted(_))) {
        engine.settle(&events);
    }
    let guard = match waited? {
        Outcome::Granted(guard) => guard,
        Outcome::Signalled(number) => return Ok(exit::end_by_signal(number)),
        Outcome::Blocked(blocked) => {
            match (arguments.quiet, arguments.json) {
                (true, _) => {}
                (false, true) => eprintln!("{}", json::line(&json::Answer::new(Some(&blocked)))),
                (false, false) => say(&blocked.to_string()),
            }
            return Ok(arguments.conflict_exit_code);
        }
    };
    // A signal that came with the grant need not start anything.
    if let Some(signal) = events.before_command() {
        guard.release(&events, say);
        return Ok(exit::end_by_signal(signal.number));
    }
    let ended = under(&guard, arguments, &events, &aside);
    // Releases it for all who inherited it: what the command left in the background, as build daemons are,
    // must not keep the lock for ever.
    guard.release(&events, |sentence| aside.say(sentence));
    // If it cannot be said, nothing may be said after it either: that would wait for ever.
    let is_said = aside.finish();
    match ended {
        Ok(status) => Ok(end(status)),
        Err(failure) if is_said => Err(failure),
        Err(failure) => Err(Failure { message: String::new(), ..failure }),
    }
}

/// Runs the command to its end. What is done without the lock is no success.
fn under(
    guard: &Guard,
    arguments: &Run,
    events: &Events,
    aside: &Aside,
) -> Result<ExitStatus, Failure> {
    // This process may have stood still since the grant.
    if !guard.is_valid() {
        return Err(Failure::new(
            exit::CANNOT_LOCK,
            format_args!("the lock was lost before the command was started: {}", guard.why_lost()),
        ));
    }
    let mut loss = Loss {
        lost: lost(guard),
        why: guard.why_lost(),
        grace: arguments.grace.unwrap_or_else(|| guard.grace()),
        kill_at: None,
    };
    let mut child = start(guard, &arguments.command)?;
    let ended = look_after(&mut child, &mut loss, events, aside);
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
        aside.say(&lost); // else it was said
    }
    Ok(status)
}

/// The loss of the lock, and what follows from it.
struct Loss {
    /// Until it has happened.
    lost: Option<Pin<Box<dyn Future<Output = ()>>>>,
    why: &'static str,
    /// How long after SIGTERM SIGKILL comes.
    grace: Duration,
    kill_at: Option<Instant>,
}

/// The loss of the lock. Not to hear of it is no reason to do nothing.
fn lost(guard: &Guard) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
    let lost = guard.lost();
    if let Err(error) = &lost {
        say(&format!("should the lock be lost, nobody will say so: {error}"));
    }
    lost.ok()
}

/// Starts the command, which does not outlive the lock if this process is killed.
fn start(guard: &Guard, command_line: &[OsString]) -> Result<Child, Failure> {
    let program = command_line.first().expect("clap demands a command");
    let mut command = guard.command(command_line)?;
    command.env(TOKEN, guard.token().to_string());
    command.spawn().map_err(|error| cannot_start(program, &error))
}

/// Why a program was not started.
pub(crate) fn cannot_start(program: &OsStr, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound if is_there(program) => Failure::new(
            exit::NOT_FOUND,
            format_args!("{program:?} is there, but not the interpreter that it names"),
        ),
        io::ErrorKind::NotFound => {
            Failure::new(exit::NOT_FOUND, format_args!("{program:?}: command not found"))
        }
        _ => Failure::new(
            exit::CANNOT_EXECUTE,
            format_args!("{program:?} cannot be executed: {error}"),
        ),
    }
}

/// Whether there is a program of this name, which may start nevertheless with a line that names none.
fn is_there(program: &OsStr) -> bool {
    if program.as_bytes().contains(&b'/') {
        return Path::new(program).is_file();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Waits until the command has ended, handing signals on. If the lock is lost on the way the command has to
/// end, since it works on what others may have now.
fn look_after(
    child: &mut Child,
    loss: &mut Loss,
    events: &Events,
    aside: &Aside,
) -> io::Result<ExitStatus> {
    let mut command = Sender::new(child, aside);
    // Those of a terminal too: what comes to a child that is not yet the command does nothing there.
    events.until_now().iter().for_each(|signal| command.forward(signal.number));
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Some(lost) = &mut loss.lost
            && events.poll(lost.as_mut()).is_ready()
        {
            loss.lost = None;
            // A time too long to be counted is as good as none.
            loss.kill_at = Instant::now().checked_add(loss.grace);
            aside.say(&format!("the lock is lost: {}; the command has to end", loss.why));
            command.forward(SIGTERM);
        }
        if loss.kill_at.is_some_and(|at| at <= Instant::now()) {
            loss.kill_at = None;
            if command.send(Signal::KILL) {
                aside.say("the command did not end, and is killed");
            }
        }
        if let Some(Event::Signal(signal)) = events.next(loss.kill_at)
            && !signal.from_terminal
        {
            command.forward(signal.number);
        }
    }
}

/// Sends signals to the command. It is not waited for yet, so nobody else can have its number.
struct Sender<'a> {
    command: Pid,
    has_complained: bool,
    aside: &'a Aside,
}

impl Sender<'_> {
    fn new<'a>(child: &Child, aside: &'a Aside) -> Sender<'a> {
        Sender { command: Pid::from_child(child), has_complained: false, aside }
    }

    fn forward(&mut self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            self.send(signal);
        }
    }

    /// Returns whether it was sent. If it cannot be, says so once: a command that became another user, as what
    /// sudo(8) starts, gets no signal from here.
    fn send(&mut self, signal: Signal) -> bool {
        let sent = kill_process(self.command, signal);
        if let Err(error) = sent
            && !mem::replace(&mut self.has_complained, true)
        {
            let (pid, name) = (self.command.as_raw_nonzero(), signal_name(signal.as_raw()));
            let name = name.unwrap_or("a signal");
            self.aside.say(&format!("cannot send {name} to the command (pid {pid}): {error}"));
        }
        sent.is_ok()
    }
}

/// Ends as the command did.
fn end(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8, // a process has no more than these eight bits
        (None, signal) => exit::end_by_signal(signal.unwrap_or_default()),
    }
}

/// The label of who gives none: the command line, not longer than others care to read; or only the program's
/// name where it would be shown to those who cannot see this host's command lines anyway.
fn label_of(engine: &Engine, command_line: &[OsString]) -> String {
    let (program, rest) = command_line.split_first().expect("clap demands a command");
    let name = Path::new(program).file_name().unwrap_or(program);
    let rest = if engine.is_of_this_host() { rest } else { &[] };
    let words = [name].into_iter().chain(rest.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LABEL_LENGTH) {
        None => line,
        Some(_) => line.chars().take(LABEL_LENGTH - 1).chain(['…']).collect(),
    }
}
