//! `treelock break`: ends the processes that keep a request alive. On a cluster, takes the request
//! away.
//!
//! The kernel's lock cannot be taken from a living process, which is good: no process works without
//! the lock that it believes it has. So on one host this command sends signals.

use std::{fs, process};

use treelock::{Entry, engine::Age};

use crate::{
    arguments::Break,
    confirm::confirm,
    error::Failure,
    exit,
    json::{self, KeptBy},
    keeper,
    lock::Lock,
    output::{print, say},
    processes,
    termination::{self, Sent, live},
    text,
};

/// Ends a request. Returns the exit code.
pub(crate) fn break_ticket(lock: &Lock, arguments: &Break) -> Result<u8, Failure> {
    let ticket = arguments.ticket;
    let entry = live(lock, ticket)?.ok_or_else(|| {
        let message = format!(
            "no request has ticket #{ticket}; `treelock ls` shows all live \
            requests"
        );
        Failure::new(exit::NO_TICKET, message)
    })?;
    match lock.is_of_this_host() {
        true => end_processes(lock, arguments, &entry),
        false => take_away(lock, arguments, &entry),
    }
}

/// Ends the processes of this host that keep a request.
fn end_processes(lock: &Lock, arguments: &Break, entry: &Entry) -> Result<u8, Failure> {
    let ticket = arguments.ticket;
    let kept_by = kept_by(lock, ticket)?;
    let asker = entry.process.as_deref().map(|process| process.pid);
    let mut entry = entry.clone();
    keeper::name_of(lock, &mut entry);
    show(arguments, &describe(&entry, &kept_by))?;
    if kept_by.is_empty() && live(lock, ticket)?.is_some() {
        return Err(Failure::new(
            exit::NOT_PERMITTED,
            format_args!(
                "a process that you cannot see keeps #{ticket}; ask its owner, or run this as root"
            ),
        ));
    }
    if !arguments.force {
        spare_own(&kept_by)?;
        if !confirm(&format!("End these processes to free #{ticket}?"))? {
            say("nothing was changed");
            return Ok(1);
        }
    }
    let sent = termination::end(lock, ticket, arguments.grace, asker)?;
    let outcome = outcome(lock, ticket, &sent)?;
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
        print(&sentence(ticket, &sent, &outcome))?;
    }
    Ok(match outcome {
        Outcome::Free => 0,
        Outcome::Stays | Outcome::Own => 1,
        Outcome::Refused(_) | Outcome::Unseen => exit::NOT_PERMITTED,
    })
}

/// Takes a request away on a cluster. It cannot be known for sure which processes keep it, so none
/// is signalled.
fn take_away(lock: &Lock, arguments: &Break, entry: &Entry) -> Result<u8, Failure> {
    const WARNING: &str = "  its owner is told, and goes on until it has heard of it; only its \
                           fencing token keeps it from what others hold by then";
    let ticket = arguments.ticket;
    show(arguments, &format!("{}\n{WARNING}", describe(entry, &[])))?;
    if !arguments.force {
        if entry.process.as_deref().is_some_and(processes::is_own_or_above) {
            return Err(Failure::usage(
                "this command runs under that ticket; use --force to take it away anyway",
            ));
        }
        if !confirm(&format!("Take #{ticket} away, so that others can get the lock?"))? {
            say("nothing was changed");
            return Ok(1);
        }
    }
    let was_taken = lock.revoke(ticket)?;
    // It may have been released meanwhile, or it may be an entry that cannot be taken away.
    let free = was_taken || live(lock, ticket)?.is_none();
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
            (false, true) => format!("released by its owner; #{ticket} is free now"),
            (false, false) => format!(
                "#{ticket} is NOT free: etcd did not remove it; try again, and run \
                 `treelock doctor`"
            ),
        })?;
    }
    Ok(u8::from(!free))
}

/// What has happened to the ticket.
enum Outcome {
    Free,
    /// A process does not end.
    Stays,
    /// This process keeps it.
    Own,
    /// These processes keep it, and this user may not signal them.
    Refused(Vec<u32>),
    /// The process that keeps it cannot be seen.
    Unseen,
}

fn outcome(lock: &Lock, ticket: u64, sent: &Sent) -> Result<Outcome, Failure> {
    // The order matters: a process that ends in between has been seen, so it does not count as
    // unseen.
    let kept_by = lock.processes(ticket)?;
    if live(lock, ticket)?.is_none() {
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

fn kept_by(lock: &Lock, ticket: u64) -> Result<Vec<KeptBy>, Failure> {
    let processes = lock.processes(ticket)?;
    Ok(processes.into_iter().map(|pid| KeptBy { pid, command: command_line(pid) }).collect())
}

/// Returns what `ps` shows for a process, if it still exists.
fn command_line(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(|word| word.escape_ascii().to_string()).collect();
    Some(words.join(" "))
}

/// Shows what is about to end.
fn show(arguments: &Break, description: &str) -> Result<(), Failure> {
    match (arguments.json, arguments.force) {
        (false, _) => print(description)?,
        // Standard output is for the document, but the user must see what to confirm.
        (true, false) => say(description),
        (true, true) => {}
    }
    Ok(())
}

fn describe(entry: &Entry, kept_by: &[KeptBy]) -> String {
    let roots: Vec<_> = entry.roots.iter().map(ToString::to_string).collect();
    let who = text::asker(entry.label.as_deref(), entry.process.as_deref());
    let (ticket, state, age) = (entry.ticket, entry.state, Age(entry.age));
    let mut lines = vec![format!("#{ticket} {state} for {age} by {who}: {}", roots.join(", "))];
    for KeptBy { pid, command } in kept_by {
        let command = command.as_deref().unwrap_or("ended just now");
        lines.push(format!("  kept by pid {pid}: {command}"));
    }
    lines.join("\n")
}

/// Refuses to end this process or the processes that it runs in.
fn spare_own(kept_by: &[KeptBy]) -> Result<(), Failure> {
    let own = processes::own_and_above();
    match kept_by.iter().find(|process| own.contains(&process.pid)) {
        None => Ok(()),
        Some(KeptBy { pid, .. }) => Err(Failure::usage(format_args!(
            "this command runs under that ticket (pid {pid} is this command, or started it); use \
             --force to end it too"
        ))),
    }
}

/// Returns what was done, in a sentence.
fn sentence(ticket: u64, sent: &Sent, outcome: &Outcome) -> String {
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
        Outcome::Stays => format!("#{ticket} is NOT free: a process has not ended"),
        Outcome::Own => format!("#{ticket} is NOT free: this process keeps it"),
        Outcome::Refused(pids) => format!(
            "#{ticket} is NOT free: you may not signal {}; ask its owner, or run this as root",
            list(pids)
        ),
        Outcome::Unseen => format!(
            "#{ticket} is NOT free: a process that you cannot see keeps it; ask its owner, or run \
             this as root"
        ),
    });
    done.join("; ")
}
