//! `treelock break`: end the processes that keep a request alive; on a cluster, take the request away.
//!
//! The kernel's lock cannot be taken from a process that lives, and that is good: nobody ever works without
//! the lock that he believes to have. So this sends signals, and never to a process that does not keep the
//! ticket: each is held by a handler first, then looked up once more, then signalled by its handler.

use std::{
    collections::BTreeSet,
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

#[cfg(feature = "etcd")]
use crate::cluster::Cluster;
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
    #[cfg(feature = "etcd")]
    if let Engine::Etcd(cluster) = engine {
        return take_away(engine, cluster, arguments, &entry);
    }
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
        if !agreed(&format!("End these processes, so that #{ticket} is free?"))? {
            say("nothing was done");
            return Ok(1);
        }
    }
    let sent = end(engine, arguments, entry.process.as_deref().map(|process| process.pid))?;
    let outcome = outcome(engine, ticket, &sent)?;
    if arguments.json {
        let broken = json::Broken {
            request: json::Request::from(&entry),
            processes: kept_by,
            terminated: sent.terminated,
            killed: sent.killed,
            refused: sent.refused.into_iter().collect(),
            free: matches!(outcome, Outcome::Free),
        };
        print(&json::line(&broken))?;
    } else {
        print(&did(ticket, &sent, &outcome))?;
    }
    Ok(match outcome {
        Outcome::Free => 0,
        Outcome::Stays | Outcome::Own => 1,
        Outcome::Refused(_) | Outcome::Unseen => exit::NOT_PERMITTED,
    })
}

/// Takes a request away on a cluster: no process that keeps it can be known for sure, and none is signalled.
#[cfg(feature = "etcd")]
fn take_away(
    engine: &Engine,
    cluster: &Cluster,
    arguments: &Break,
    entry: &Entry,
) -> Result<u8, Failure> {
    const WARNING: &str = "  its owner is told, and goes on until he has heard of it; only his fencing token \
                           keeps him from what others hold by then";
    let ticket = arguments.ticket;
    let described = format!("{}\n{WARNING}", describe(entry, &[]));
    match (arguments.json, arguments.force) {
        (false, _) => print(&described)?,
        (true, false) => say(&described),
        (true, true) => {}
    }
    if !arguments.force {
        if entry.process.as_deref().is_some_and(processes::is_own_or_above) {
            return Err(Failure::usage(
                "this command runs under that ticket; say --force to take it away all the same",
            ));
        }
        if !agreed(&format!("Take #{ticket} away, so that others get it?"))? {
            say("nothing was done");
            return Ok(1);
        }
    }
    let was_taken = cluster.lock().revoke(ticket).map_err(crate::engine::Error::from)?;
    // It may be gone, or stand there in a way that cannot be taken away.
    let free = was_taken || live(engine, ticket)?.is_none();
    if arguments.json {
        let broken = json::Broken {
            request: json::Request::from(entry),
            processes: Vec::new(),
            terminated: Vec::new(),
            killed: Vec::new(),
            refused: Vec::new(),
            free,
        };
        print(&json::line(&broken))?;
    } else {
        print(&match (was_taken, free) {
            (true, _) => format!("taken away; #{ticket} is free now"),
            (false, true) => format!("given back by its owner; #{ticket} is free now"),
            (false, false) => format!(
                "#{ticket} is NOT free: etcd did not take it away; try again, and see `treelock doctor`"
            ),
        })?;
    }
    Ok(u8::from(!free))
}

/// Who got which signal.
#[derive(Default)]
struct Sent {
    terminated: Vec<u32>,
    killed: Vec<u32>,
    /// Those that this user may not signal.
    refused: BTreeSet<u32>,
}

/// What has become of the ticket.
enum Outcome {
    Free,
    /// Somebody does not end.
    Stays,
    /// This process keeps it.
    Own,
    /// Somebody must not be signalled.
    Refused(Vec<u32>),
    /// Whoever keeps it cannot be seen.
    Unseen,
}

fn outcome(engine: &Engine, ticket: u64, sent: &Sent) -> Result<Outcome, Failure> {
    // In this order: who ends in between has been seen, and does not look like one who cannot be.
    let kept_by = engine.processes(ticket)?;
    if live(engine, ticket)?.is_none() {
        return Ok(Outcome::Free);
    }
    let refused: Vec<u32> =
        kept_by.iter().copied().filter(|pid| sent.refused.contains(pid)).collect();
    let own = process::id();
    Ok(match refused.is_empty() {
        false => Outcome::Refused(refused),
        true if kept_by.iter().any(|pid| *pid != own) => Outcome::Stays,
        true if kept_by.contains(&own) => Outcome::Own,
        true => Outcome::Unseen,
    })
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
pub(crate) fn agreed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask on; say --force to do it unasked"));
    }
    let mut answer = String::new();
    eprint!("{question} [y/N] ");
    let read = io::stderr().flush().and_then(|()| io::stdin().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format_args!("cannot read your answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// Sends SIGTERM to all, and after a while SIGKILL to those that are left.
fn end(engine: &Engine, arguments: &Break, asker: Option<u32>) -> Result<Sent, Failure> {
    let mut sent = Sent::default();
    terminate(engine, arguments.ticket, asker, &mut sent)?;
    // Where nobody may be signalled there is nothing to wait for.
    let waits = !sent.terminated.is_empty() || sent.refused.is_empty();
    if waits && !gone(engine, arguments.ticket, arguments.grace)? {
        for handler in handlers(engine, arguments.ticket)? {
            handler.send(Signal::KILL, &mut sent.killed, &mut sent.refused);
        }
        gone(engine, arguments.ticket, AFTER_KILL)?;
    }
    Ok(sent)
}

/// Sends SIGTERM to all, but for the command of the one who asked: that one hands it on, and twice might be
/// once too often.
fn terminate(
    engine: &Engine,
    ticket: u64,
    asker: Option<u32>,
    sent: &mut Sent,
) -> Result<(), Failure> {
    let is_asker = |handler: &Handler| Some(handler.pid()) == asker;
    let (askers, others): (Vec<_>, Vec<_>) =
        handlers(engine, ticket)?.into_iter().partition(is_asker);
    // It may forward at once, and a command that it started may end at once: so their parents first.
    let others: Vec<_> =
        others.into_iter().map(|other| (processes::parent(other.pid()), other)).collect();
    for handler in askers {
        handler.send(Signal::TERM, &mut sent.terminated, &mut sent.refused);
    }
    let forwards = asker.filter(|asker| sent.terminated.contains(asker));
    for (parent, handler) in others {
        if forwards.is_none() || parent != forwards {
            handler.send(Signal::TERM, &mut sent.terminated, &mut sent.refused);
        }
    }
    Ok(())
}

/// A process that keeps a ticket.
struct Handler {
    number: Pid,
    /// What stands for it, and for no other process that gets its number. Before Linux 5.3 there are none, and
    /// some sandboxes have none either.
    descriptor: Option<OwnedFd>,
}

impl Handler {
    fn of(pid: u32) -> Option<Handler> {
        let number = Pid::from_raw(pid as i32)?;
        match pidfd_open(number, PidfdFlags::empty()) {
            Err(Errno::SRCH) => None,
            result => Some(Handler { number, descriptor: result.ok() }),
        }
    }

    fn pid(&self) -> u32 {
        self.number.as_raw_nonzero().get() as u32
    }

    /// Notes whether it is reached or may not be; one that has ended is neither.
    fn send(&self, signal: Signal, reached: &mut Vec<u32>, refused: &mut BTreeSet<u32>) {
        let sent = match &self.descriptor {
            Some(descriptor) => pidfd_send_signal(descriptor, signal),
            None => kill_process(self.number, signal),
        };
        match sent {
            Ok(()) => reached.push(self.pid()),
            Err(Errno::SRCH) => {}
            Err(_) => {
                refused.insert(self.pid());
            }
        }
    }
}

/// The processes that keep the ticket, this one excepted.
fn handlers(engine: &Engine, ticket: u64) -> Result<Vec<Handler>, Failure> {
    let all = engine.processes(ticket)?.into_iter().filter(|pid| *pid != process::id());
    let mut handlers: Vec<_> = all.filter_map(Handler::of).collect();
    // What a handler stands for cannot be replaced by another process, so this list is about the same ones.
    let still = engine.processes(ticket)?;
    handlers.retain(|handler| still.contains(&handler.pid()));
    Ok(handlers)
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
fn did(ticket: u64, sent: &Sent, outcome: &Outcome) -> String {
    let list = |pids: &[u32]| pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let mut done = Vec::new();
    if !sent.terminated.is_empty() {
        done.push(format!("sent SIGTERM to {}", list(&sent.terminated)));
    }
    if !sent.killed.is_empty() {
        done.push(format!("sent SIGKILL to {}", list(&sent.killed)));
    }
    done.push(match outcome {
        Outcome::Free => format!("#{ticket} is free now"),
        Outcome::Stays => format!("#{ticket} is NOT free: a process does not end"),
        Outcome::Own => format!("#{ticket} is NOT free: this process keeps it"),
        Outcome::Refused(pids) => format!(
            "#{ticket} is NOT free: you may not signal {}; ask its owner, or be root",
            list(pids)
        ),
        Outcome::Unseen => format!(
            "#{ticket} is NOT free: a process that you cannot see keeps it; ask its owner, or be root"
        ),
    });
    done.join("; ")
}
