//! `treelock hold`: holds the lock between commands. This command starts a keeper and returns when
//! the keeper holds the lock.

use std::{
    os::fd::OwnedFd,
    pin::Pin,
    process,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use signal_hook::consts::SIGTERM;
use treelock_any::Guard;

use crate::{
    announcer::Announcer,
    arguments::Hold,
    background::{self, Keeper},
    blocker,
    error::Failure,
    events::{Event, Events},
    exit, json,
    keeping::{self, Starter},
    kept_process::{self, has_ended},
    leave,
    lock::Lock,
    output::{print, say},
    purpose::Purpose,
    wait::{Outcome, Speech, wait},
};

/// Holds the lock. Returns the exit code.
pub(crate) fn hold(
    lock: impl FnOnce() -> Result<Lock, Failure>,
    arguments: &Hold,
) -> Result<u8, Failure> {
    if background::is_asked() {
        keeping::close_inherited();
        return keep(&lock()?, arguments);
    }
    if arguments.pid.is_none() && arguments.ttl.is_none() {
        return Err(Failure::usage(
            "say how long to hold: --pid $$ for as long as this script runs, --pid PID for another \
             process, or --ttl 10m for a time. It cannot be guessed: the process that started this \
             command may be a sub-shell that ends at once",
        ));
    }
    if arguments.asking.conflict_exit_code == 0 {
        return Err(Failure::usage(
            "-E 0 would say that the lock is held when it is not; choose another code",
        ));
    }
    let kept_for = arguments.pid.map(kept_process::open).transpose()?;
    let (keeper, held) = match Keeper::start(kept_for.as_ref())?.held()? {
        Ok(held) => held,
        Err(code) => {
            // The keeper gets the same signal from others.
            let is_asked_to_end = code == exit::by_signal(SIGTERM);
            return match (arguments.pid, kept_for) {
                (Some(pid), Some(process)) if is_asked_to_end && has_ended(&process) => {
                    Err(kept_process::ended(pid))
                }
                _ => Ok(code),
            };
        }
    };
    match (arguments.quiet, arguments.json) {
        (true, _) => {}
        (false, true) => print(&json::line(&held))?,
        (false, false) => {
            print(&format!("TREELOCK_HOLD={} TREELOCK_TOKEN={}", held.ticket, held.token))?;
        }
    }
    keeper.let_go()?;
    Ok(0)
}

/// Is the keeper. Returns the exit code, which somebody sees only if the lock is not granted.
fn keep(lock: &Lock, arguments: &Hold) -> Result<u8, Failure> {
    let cannot = |doing: &'static str| {
        move |error: std::io::Error| {
            Failure::new(exit::CANNOT_LOCK, format_args!("cannot {doing}: {error}"))
        }
    };
    keeping::rename("treelock hold");
    let (starter, kept_for) = Starter::take().map_err(cannot("take its place"))?;
    let kept_for = arguments.pid.map(|pid| (pid, kept_for));
    let label = label(arguments, kept_for.as_ref());
    let request = arguments.asking.request()?.with_label(label);
    let asked_to_end = keeping::accept_sigterm().map_err(cannot("listen for signals"))?;
    let events = Events::start().map_err(cannot("listen for signals"))?;
    if asked_to_end.load(SeqCst) {
        return Ok(exit::by_signal(SIGTERM));
    }
    let kept_for = kept_for.map(|(_, process)| process);
    keeping::watch(&starter, kept_for).map_err(cannot("start a thread"))?;
    let announcer = Announcer::default();
    let speech = if arguments.quiet { Speech::Nothing } else { Speech::Waiting };
    let waited = wait(lock, &request, arguments.asking.limit(), &events, (speech, &announcer));
    if !matches!(waited, Ok(Outcome::Granted(_))) {
        leave::settle(lock, &events);
    }
    // Nothing may be written when the command that started this has ended.
    announcer.finish();
    let guard = match waited? {
        Outcome::Granted(guard) => guard,
        Outcome::Signalled(number) => return Ok(exit::end_by_signal(number)),
        Outcome::Blocked(blocked) => {
            blocker::tell(&blocked, arguments.json, arguments.quiet);
            return Ok(arguments.asking.conflict_exit_code);
        }
    };
    keeping::rename(&background::comm(guard.ticket()));
    if let Err(error) = keeping::detach() {
        leave::release(lock, guard, &events, say);
        return Err(cannot("leave the terminal")(error));
    }
    starter.tell(&json::Held {
        ticket: guard.ticket(),
        token: guard.token().to_string(),
        pid: process::id(),
        for_pid: arguments.pid,
    });
    until_it_ends(&guard, arguments.ttl, &events);
    // Nobody can be told any more; on a cluster the lease ends by itself.
    leave::release(lock, guard, &events, |_| {});
    Ok(0)
}

/// Returns the label that others see.
fn label(arguments: &Hold, kept_for: Option<&(i32, OwnedFd)>) -> String {
    let purpose = Purpose {
        pid: arguments.pid,
        command: kept_for.and_then(|(pid, process)| kept_process::name(*pid, process)),
        at_most: arguments.ttl,
    };
    format!("{}{purpose}", arguments.label)
}

/// Waits until the time is over, the lock is lost, or a signal asks the keeper to end.
fn until_it_ends(guard: &Guard, at_most: Option<Duration>, events: &Events) {
    // A time too long to represent is as good as no limit.
    let end = at_most.and_then(|time| Instant::now().checked_add(time));
    let mut lost = Some(guard.lost());
    loop {
        if let Some(loss) = &mut lost
            && events.poll(Pin::new(loss)).is_ready()
        {
            // If it is valid, the engine cannot listen: a thread cannot be started.
            lost = None;
            if !guard.is_valid() {
                return;
            }
        }
        match events.next(end) {
            None | Some(Event::Signal(_)) => return,
            Some(Event::Child | Event::Woken) => {}
        }
    }
}
