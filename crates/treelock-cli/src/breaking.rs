//! What breaking a ticket means: a [`Proposal`] that people can read, and carrying it out.
//!
//! The kernel's lock cannot be taken from a living process, which is good: no process works without
//! the lock that it believes it has. So on one host breaking sends signals. On a cluster it takes
//! the request away, and signals nobody, because it cannot be known which processes keep it.

use std::{fs, process, time::Duration};

use treelock::{Entry, engine::Age};

use crate::{
    error::Failure,
    exit,
    json::{self, KeptBy},
    lock::Lock,
    processes, survivor,
    termination::{self, Sent, live},
    text,
};

/// A request that may be broken, and who keeps it.
pub(crate) struct Proposal {
    entry: Entry,
    /// Empty on a cluster.
    kept_by: Vec<KeptBy>,
    /// Whether this means ending processes of this host.
    ends_processes: bool,
    /// The process that asked. It may have died, while another one keeps the request.
    asker: Option<u32>,
}

/// What was done.
pub(crate) struct Broken {
    pub(crate) report: json::Broken,
    pub(crate) sentence: String,
    /// The exit code.
    pub(crate) code: u8,
}

/// Returns what breaking a ticket would mean.
pub(crate) fn propose(lock: &Lock, ticket: u64) -> Result<Proposal, Failure> {
    let mut entry = live(lock, ticket)?.ok_or_else(|| {
        let message = format!(
            "no request has ticket #{ticket}; `treelock ls` shows all live \
            requests"
        );
        Failure::new(exit::NO_TICKET, message)
    })?;
    let ends_processes = lock.is_of_this_host();
    let kept_by = if ends_processes { kept_by(lock, ticket)? } else { Vec::new() };
    let asker = entry.process.as_deref().map(|process| process.pid);
    if ends_processes {
        survivor::name_of(lock, &mut entry);
    }
    Ok(Proposal { entry, kept_by, ends_processes, asker })
}

impl Proposal {
    /// Returns the request and what keeps it, one thing a line.
    pub(crate) fn description(&self) -> String {
        const WARNING: &str = "  its owner is told, and goes on until it has heard of it; only its \
                               fencing token keeps it from what others hold by then";
        let described = describe(&self.entry, &self.kept_by);
        if self.ends_processes { described } else { format!("{described}\n{WARNING}") }
    }

    pub(crate) fn question(&self) -> String {
        let ticket = self.entry.ticket;
        match self.ends_processes {
            true => format!("End these processes to free #{ticket}?"),
            false => format!("Take #{ticket} away, so that others can get the lock?"),
        }
    }

    /// Fails if nothing can be done.
    pub(crate) fn is_possible(&self, lock: &Lock) -> Result<(), Failure> {
        let ticket = self.entry.ticket;
        if self.ends_processes && self.kept_by.is_empty() && live(lock, ticket)?.is_some() {
            return Err(Failure::new(
                exit::NOT_PERMITTED,
                format_args!(
                    "a process that you cannot see keeps #{ticket}; ask its owner, or run this as \
                     root"
                ),
            ));
        }
        Ok(())
    }

    /// Refuses to end this process or the processes that it runs in.
    pub(crate) fn spare_own(&self) -> Result<(), Failure> {
        if !self.ends_processes {
            let asker = self.entry.process.as_deref();
            return match asker.is_some_and(processes::is_own_or_above) {
                false => Ok(()),
                true => Err(Failure::usage(
                    "this command runs under that ticket; use --force to take it away anyway",
                )),
            };
        }
        let own = processes::own_and_above();
        match self.kept_by.iter().find(|process| own.contains(&process.pid)) {
            None => Ok(()),
            Some(KeptBy { pid, .. }) => Err(Failure::usage(format_args!(
                "this command runs under that ticket (pid {pid} is this command, or started it); \
                 use --force to end it too"
            ))),
        }
    }

    /// Does it. Waits for `grace` between SIGTERM and SIGKILL.
    pub(crate) fn carry_out(self, lock: &Lock, grace: Duration) -> Result<Broken, Failure> {
        match self.ends_processes {
            true => self.end_processes(lock, grace),
            false => self.take_away(lock),
        }
    }

    fn end_processes(self, lock: &Lock, grace: Duration) -> Result<Broken, Failure> {
        let ticket = self.entry.ticket;
        let sent = termination::end(lock, ticket, grace, self.asker)?;
        let outcome = outcome(lock, ticket, &sent)?;
        Ok(Broken {
            sentence: sentence(ticket, &sent, &outcome),
            code: match outcome {
                Outcome::Free => 0,
                Outcome::Stays | Outcome::Own => 1,
                Outcome::Refused(_) | Outcome::Unseen => exit::NOT_PERMITTED,
            },
            report: self.report(sent, matches!(outcome, Outcome::Free)),
        })
    }

    fn take_away(self, lock: &Lock) -> Result<Broken, Failure> {
        let ticket = self.entry.ticket;
        let was_taken = lock.revoke(ticket)?;
        // It may have been released meanwhile, or it may be an entry that cannot be taken away.
        let free = was_taken || live(lock, ticket)?.is_none();
        let sentence = match (was_taken, free) {
            (true, _) => format!("taken away; #{ticket} is free now"),
            (false, true) => format!("released by its owner; #{ticket} is free now"),
            (false, false) => format!(
                "#{ticket} is NOT free: etcd did not remove it; try again, and run \
                 `treelock doctor`"
            ),
        };
        let report = self.report(Sent::default(), free);
        Ok(Broken { report, sentence, code: u8::from(!free) })
    }

    fn report(self, sent: Sent, free: bool) -> json::Broken {
        json::Broken {
            request: json::Request::from(&self.entry),
            processes: self.kept_by,
            terminated: sent.terminated,
            killed: sent.killed,
            refused: sent.refused.into_iter().collect(),
            free,
        }
    }
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
