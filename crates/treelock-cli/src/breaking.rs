//! `treelock break`: end the processes that keep a request alive.
//!
//! The kernel's lock cannot be taken from a process that lives, and that is good: nobody ever works without
//! the lock that he believes to have. So this sends signals, and never to a process that does not keep the
//! ticket: each is held by a handler first, then looked up once more, then signalled by its handler.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::fd::OwnedFd,
    process, thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};
use treelock::Entry;

use crate::{
    arguments::Break,
    engine::Engine,
    exit::{self, Failure},
    json::{self, KeptBy},
    listing::print,
    processes, say, text,
};

/// How often it looks whether the ticket is gone.
const LOOK: Duration = Duration::from_millis(50);
/// How long a killed process may take to be gone: it may sit in a slow disk.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Ends a request; returns the exit code.
pub(crate) fn break_ticket(engine: &Engine, arguments: &Break) -> Result<u8, Failure> {
    let ticket = arguments.ticket;
    let entry = live(engine, ticket)?.ok_or_else(|| {
        let message =
            format!("no request has ticket #{ticket}; `treelock ls` shows those there are");
        Failure::new(exit::NO_TICKET, message)
    })?;
    let kept_by = kept_by(engine, ticket)?;
    match (arguments.json, arguments.force) {
        (false, _) => print(&describe(&entry, &kept_by))?,
        // Standard output is the document's, but nobody can agree to what is not shown.
        (true, false) => say(&describe(&entry, &kept_by)),
        (true, true) => {}
    }
    if kept_by.is_empty() && live(engine, ticket)?.is_some() {
        return Err(Failure::new(
            exit::NOT_PERMITTED,
            format_args!(
                "no process that keeps #{ticket} can be seen; ask their owner, or be root"
            ),
        ));
    }
    if !arguments.force {
        spare_own(&kept_by)?;
        if !agreed(ticket)? {
            say("nothing was done");
            return Ok(1);
        }
    }
    let (terminated, killed) = end(engine, arguments)?;
    let free = live(engine, ticket)?.is_none();
    if arguments.json {
        let request = json::Request::from(&entry);
        let broken = json::Broken { request, processes: kept_by, terminated, killed, free };
        print(&json::line(&broken))?;
    } else {
        print(&did(ticket, &terminated, &killed, free))?;
    }
    Ok(u8::from(!free))
}

fn live(engine: &Engine, ticket: u64) -> Result<Option<Entry>, Failure> {
    let entries = engine.snapshot()?.entries;
    Ok(entries.into_iter().find(|entry| entry.ticket == ticket))
}

fn kept_by(engine: &Engine, ticket: u64) -> Result<Vec<KeptBy>, Failure> {
    let processes = engine.processes(ticket)?;
    Ok(processes.into_iter().map(|pid| KeptBy { pid, command: command_line(pid) }).collect())
}

/// What `ps` shows of a process, if it is still there.
fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(|word| word.escape_ascii().to_string()).collect();
    Some(words.join(" "))
}

fn describe(entry: &Entry, kept_by: &[KeptBy]) -> String {
    let roots: Vec<_> = entry.roots.iter().map(ToString::to_string).collect();
    let who = text::asker(entry.label.as_deref(), entry.process.as_deref());
    let (ticket, state, age) = (entry.ticket, entry.state, text::age(entry.age));
    let mut lines = vec![format!("#{ticket} {state} for {age} by {who}: {}", roots.join(", "))];
    for KeptBy { pid, command } in kept_by {
        lines.push(format!(
            "  kept by pid {pid}: {}",
            command.as_deref().unwrap_or("ended just now")
        ));
    }
    lines.join("\n")
}

/// Refuses to end this process or those it runs in.
fn spare_own(kept_by: &[KeptBy]) -> Result<(), Failure> {
    let own = processes::own_and_above();
    match kept_by.iter().find(|process| own.contains(&process.pid)) {
        None => Ok(()),
        Some(KeptBy { pid, .. }) => Err(Failure::usage(format_args!(
            "this command runs under that ticket (pid {pid} is it, or started it); say --force to end \
             that too"
        ))),
    }
}

/// Asks the person at the terminal.
fn agreed(ticket: u64) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask on; say --force to do it unasked"));
    }
    let mut answer = String::new();
    eprint!("End these processes, so that #{ticket} is free? [y/N] ");
    let read = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format_args!("cannot read your answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Sends SIGTERM to all, and after a while SIGKILL to those that are left; returns who got which.
fn end(engine: &Engine, arguments: &Break) -> Result<(Vec<u32>, Vec<u32>), Failure> {
    let terminated = send(engine, arguments.ticket, Signal::TERM)?;
    if gone(engine, arguments.ticket, arguments.grace)? {
        return Ok((terminated, Vec::new()));
    }
    let killed = send(engine, arguments.ticket, Signal::KILL)?;
    gone(engine, arguments.ticket, AFTER_KILL)?;
    Ok((terminated, killed))
}

/// Sends a signal to all that keep the ticket, this process excepted; returns them.
fn send(engine: &Engine, ticket: u64, signal: Signal) -> Result<Vec<u32>, Failure> {
    let mut handlers = Vec::new();
    for pid in engine.processes(ticket)?.into_iter().filter(|pid| *pid != process::id()) {
        let Some(number) = Pid::from_raw(pid as i32) else { continue };
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(handler) => handlers.push((number, Some(handler))),
            Err(Errno::SRCH) => {}
            // Before Linux 5.3 there are none; some sandboxes have none either.
            Err(_) => handlers.push((number, None)),
        }
    }
    // What a handler stands for cannot be replaced by another process, so this list is about the same ones.
    let still = engine.processes(ticket)?;
    handlers.retain(|(number, _)| still.contains(&(number.as_raw_nonzero().get() as u32)));
    let mut reached = Vec::new();
    for (number, handler) in handlers {
        let pid = number.as_raw_nonzero().get() as u32;
        match signal_one(number, handler.as_ref(), signal) {
            Ok(()) => reached.push(pid),
            Err(Errno::SRCH) => {}
            Err(error) => {
                return Err(Failure::new(
                    exit::NOT_PERMITTED,
                    format_args!("cannot end pid {pid}: {error}; ask its owner, or be root"),
                ));
            }
        }
    }
    Ok(reached)
}

fn signal_one(pid: Pid, handler: Option<&OwnedFd>, signal: Signal) -> Result<(), Errno> {
    match handler {
        Some(handler) => pidfd_send_signal(handler, signal),
        None => kill_process(pid, signal),
    }
}

/// Waits until the ticket is gone; returns whether it is.
fn gone(engine: &Engine, ticket: u64, within: Duration) -> Result<bool, Failure> {
    let until = Instant::now().checked_add(within);
    loop {
        if live(engine, ticket)?.is_none() {
            return Ok(true);
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            return Ok(false);
        }
        thread::sleep(LOOK);
    }
}

/// What was done, in a sentence.
fn did(ticket: u64, terminated: &[u32], killed: &[u32], free: bool) -> String {
    let list = |pids: &[u32]| pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let mut done = Vec::new();
    if !terminated.is_empty() {
        done.push(format!("sent SIGTERM to {}", list(terminated)));
    }
    if !killed.is_empty() {
        done.push(format!("sent SIGKILL to {}", list(killed)));
    }
    done.push(match free {
        true => format!("#{ticket} is free now"),
        false => format!("#{ticket} is NOT free: a process does not end, or this one keeps it"),
    });
    done.join("; ")
}
