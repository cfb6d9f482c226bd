//! `treelock run`: wait for the lock, start the command, look after it, give the lock back.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    pin::pin,
    process::{Child, Command, ExitStatus},
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    arguments::Run,
    engine::{Engine, GRACE_WHEN_LOST, Guard},
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
    let label = arguments.label.clone().unwrap_or_else(|| label_of(&arguments.command));
    let request = nodes::request(naming, &arguments.write, &arguments.read)?.label(label);
    let events = Events::start().map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot listen for signals: {error}"))
    })?;
    let guard = match wait(engine, &request, arguments.limit(), &events)? {
        Outcome::Granted(guard) => guard,
        Outcome::Signalled(number) => return Ok(exit::by_signal(number)),
        Outcome::Blocked(blocked) => {
            match arguments.json {
                true => eprintln!("{}", json::line(&json::Answer::new(Some(&blocked)))),
                false => say(&blocked.to_string()),
            }
            return Ok(arguments.conflict_exit_code);
        }
    };
    // A signal that came with the grant would otherwise miss a command that has not begun.
    if let Some(signal) = events.pending_signal() {
        return Ok(exit::by_signal(signal.number));
    }
    let lost = guard.lost()?;
    let mut child = start(&guard, &arguments.command)?;
    let status = look_after(&mut child, lost, &events);
    // Releases it for all who inherited it: what the command left in the background, as build daemons are,
    // must not keep the lock for ever.
    drop(guard);
    let status = status.map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot wait for the command: {error}"))
    })?;
    Ok(code(status))
}

/// Starts the command, which keeps the lock if this process is killed.
fn start(guard: &Guard, command_line: &[OsString]) -> Result<Child, Failure> {
    let (program, rest) = command_line.split_first().expect("clap demands a command");
    let mut command = Command::new(program);
    command.args(rest).env(TOKEN, guard.token().to_string());
    guard.inherit(&mut command)?;
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(exit::NOT_FOUND, format_args!("{program:?}: command not found"))
        }
        _ => Failure::new(
            exit::CANNOT_EXECUTE,
            format_args!("{program:?} cannot be executed: {error}"),
        ),
    })
}

/// Waits until the command has ended, handing signals on. If the lock is lost on the way the command has to
/// end, since it works on what others may have now.
fn look_after(
    child: &mut Child,
    lost: impl Future<Output = ()>,
    events: &Events,
) -> io::Result<ExitStatus> {
    let mut lost = pin!(lost);
    let mut is_lost = false;
    let mut kill_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if !is_lost && events.poll(lost.as_mut()).is_ready() {
            is_lost = true;
            say("the lock is lost: its table was removed or replaced; the command is told to end");
            send(child, Signal::TERM);
            kill_at = Some(Instant::now() + GRACE_WHEN_LOST);
        }
        if kill_at.is_some_and(|at| at <= Instant::now()) {
            kill_at = None;
            say("the command did not end, and is killed");
            send(child, Signal::KILL);
        }
        if let Some(Event::Signal(signal)) = events.next(kill_at)
            && !signal.from_terminal
            && let Some(number) = Signal::from_named_raw(signal.number)
        {
            send(child, number);
        }
    }
}

/// Sends a signal to the command. It is not waited for yet, so nobody else can have its number.
fn send(child: &Child, signal: Signal) {
    // What fails here has ended, or is another user's by now, as what sudo(8) starts is; that one hears of it
    // from sudo.
    let _ = kill_process(Pid::from_child(child), signal);
}

fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8, // a process has no more than these eight bits
        (None, signal) => exit::by_signal(signal.unwrap_or_default()),
    }
}

/// The label of who gives none: the command line, not longer than others care to read.
fn label_of(command_line: &[OsString]) -> String {
    let (program, rest) = command_line.split_first().expect("clap demands a command");
    let name = Path::new(program).file_name().unwrap_or(program);
    let words = [name].into_iter().chain(rest.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LABEL_LENGTH) {
        None => line,
        Some(_) => line.chars().take(LABEL_LENGTH - 1).chain(['…']).collect(),
    }
}
