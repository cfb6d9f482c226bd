//! `treelock run`: waits for the lock, starts the command, looks after it, and releases the lock.

use std::{
    ffi::OsString, os::unix::process::ExitStatusExt as _, path::Path, process::ExitStatus,
    time::Instant,
};

use treelock::engine::Age;

use crate::{
    announcer::Announcer,
    arguments::Run,
    child,
    error::Failure,
    events::Events,
    exit, json, leave,
    lock::Lock,
    nodes,
    output::say,
    wait::{Outcome, Speech, wait},
};

/// The maximum number of characters of a label that is made from a command line.
const LABEL_CHARS_MAX: usize = 40;

/// Runs a command under the lock. Returns the exit code.
pub(crate) fn run(lock: &Lock, arguments: &Run) -> Result<u8, Failure> {
    if arguments.exec && !lock.is_of_this_host() {
        return Err(Failure::usage(
            "--exec is for the lock of one host; on a cluster a lock lives by a lease, which \
             treelock must renew while the command runs",
        ));
    }
    let naming = arguments.naming.naming();
    let label = arguments.label.clone().unwrap_or_else(|| label_of(lock, &arguments.command));
    let request = nodes::request(naming, &arguments.write, &arguments.read)?.with_label(label);
    let events = Events::start().map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot listen for signals: {error}"))
    })?;
    let announcer = Announcer::default();
    let started = Instant::now();
    let speech = arguments.speech();
    let waited = wait(lock, &request, arguments.limit(), &events, (speech, &announcer));
    let guard = match waited {
        Ok(Outcome::Granted(guard)) => guard,
        refused => {
            leave::settle(lock, &events);
            announcer.finish();
            return not_granted(refused, arguments);
        }
    };
    let is_told = speech == Speech::Everything;
    let what = format!("#{}, {request}", guard.ticket());
    if is_told {
        announcer.say(&format!("granted after {}: {what}", Age(started.elapsed())));
    }
    if arguments.exec {
        announcer.finish();
        let failed = lock.call(&events, || child::exec(lock, &guard, &arguments.command, &events));
        leave::release(lock, guard, &events, say);
        return match failed {
            Ok(failure) => Err(failure),
            Err(signal) => Ok(exit::end_by_signal(signal.number)),
        };
    }
    let granted = Instant::now();
    let ended = child::run(lock, &guard, &arguments.command, arguments.grace, &events, &announcer);
    // Releases the lock for all processes that inherited it: what the command left in the
    // background, such as build daemons, must not keep it forever.
    leave::release(lock, guard, &events, |sentence| announcer.say(sentence));
    if is_told {
        announcer.say(&format!("released after {}: {what}", Age(granted.elapsed())));
    }
    // If one sentence cannot be written, do not try another: that would wait forever.
    let is_said = announcer.finish();
    match ended {
        Ok(status) => Ok(end(status)),
        Err(failure) if is_said => Err(failure),
        Err(failure) => Err(Failure { message: String::new(), ..failure }),
    }
}

/// Says why the lock was not granted. Returns the exit code.
fn not_granted(waited: Result<Outcome, Failure>, arguments: &Run) -> Result<u8, Failure> {
    match waited? {
        Outcome::Granted(_) => unreachable!("a grant is no refusal"),
        Outcome::Signalled(number) => Ok(exit::end_by_signal(number)),
        Outcome::Blocked(blocked) => {
            match (arguments.quiet, arguments.json) {
                (true, _) => {}
                (false, true) => eprintln!("{}", json::line(&json::WhoBlocks::new(Some(&blocked)))),
                (false, false) => say(&blocked.to_string()),
            }
            Ok(arguments.conflict_exit_code)
        }
    }
}

/// Ends the way the command ended.
fn end(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8, // a process has no more than these eight bits
        (None, signal) => exit::end_by_signal(signal.unwrap_or_default()),
    }
}

/// Returns the label of a `run` without `--label`: the command line, cut to a readable length. It
/// is only the program's name where it would be shown to users who cannot see this host's command
/// lines.
fn label_of(lock: &Lock, command_line: &[OsString]) -> String {
    let (program, rest) = command_line.split_first().expect("clap demands a command");
    let name = Path::new(program).file_name().unwrap_or(program);
    let rest = if lock.is_of_this_host() { rest } else { &[] };
    let words = [name].into_iter().chain(rest.iter().map(OsString::as_os_str));
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LABEL_CHARS_MAX) {
        None => line,
        Some(_) => line.chars().take(LABEL_CHARS_MAX - 1).chain(['…']).collect(),
    }
}
