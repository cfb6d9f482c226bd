//! Death at every system call (C22): a process that acquires, waits, gives
//! up or releases is traced and killed at its first system call, at its second, and so on, before
//! and after each, until it survives to the end.
//!
//! What happens between two system calls changes the memory of the process and the table, which is
//! memory too: see [`instructions`](crate::instructions).

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, gettid},
};
use treelock::{
    FencingToken, Wait,
    engine::{Finding, Severity},
};
use treelock_dir::{DirLock, Guard};

use crate::{
    audit::{Audit, is_latched},
    helper::{Helper, Part, hear, say, word},
    scenes::{cells, die_with, die_with_the_latch, new_table, one_behind, one_table},
    scratch::{AcquireWithin, LONG, Scratch, eventually, long, write},
};

/// Plays the part of the process that is killed. Does one thing, in a thread that is not the first
/// of its process, since the first is waited for in a different way.
pub(crate) fn step(lock: &DirLock) {
    let lock = lock.clone();
    let steps = thread::spawn(move || {
        say(&format!("thread {}", gettid()));
        hear();
        match word().as_str() {
            "hold" => {
                let guard = lock.acquire(&long("a/b")).wait().expect("a table that works");
                say(&format!("token {}", guard.token()));
            }
            "try" => drop(lock.try_acquire(&long("a/b")).wait().expect_err("it is held")),
            "inherit" => {
                let guard = lock.acquire(&long("a/b")).wait().expect("a table that works");
                guard.inherit(&mut Command::new("true")).expect("a free descriptor");
                say(&format!("token {}", guard.token()));
            }
            "give up" => {
                let given_up = lock.acquire_within(&long("a/b"), Duration::from_millis(2));
                drop(given_up.expect_err("it is held"));
            }
            "look" => drop(lock.blocked(&write("nobody/is/here")).wait().expect("a table")),
            "ask" => drop(lock.try_acquire(&write("nobody/is/here")).wait().expect("a table")),
            other => panic!("no such step: {other}"),
        }
    });
    steps.join().expect("no panic");
}

/// What happens to the request that the traced process waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rival {
    /// There is no such request.
    None,
    /// Holds until the traced process is dead.
    Stays,
    /// Leaves as soon as the traced process is in line.
    LeavesEarly,
    /// Leaves when the traced process sleeps.
    LeavesLate,
    /// Holds something else, which fills the table, until the traced process is dead.
    Fills,
}

/// A process whose thread stops before and after each system call.
pub(crate) struct Traced {
    helper: Helper,
    thread: Pid,
}

impl Traced {
    /// # Errors
    ///
    /// Fails if this process may not trace its children.
    pub(crate) fn new(mut helper: Helper) -> Result<Traced, Errno> {
        let thread = Pid::from_raw(helper.value("thread"));
        let options = ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL;
        ptrace::seize(thread, options)?;
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        helper.tell("go");
        Ok(Traced { helper, thread })
    }

    /// Runs until the next system call begins or returns. Returns false if there are no more. Calls
    /// `asleep` when nothing moves.
    pub(crate) fn next(&self, mut asleep: impl FnMut()) -> bool {
        ptrace::syscall(self.thread, None).expect("it has stopped");
        let moved = Instant::now();
        loop {
            match waitpid(self.thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::PtraceSyscall(_)) => return true,
                Ok(WaitStatus::Exited(..)) => return false,
                Ok(WaitStatus::StillAlive) if moved.elapsed() > Duration::from_millis(3) => {
                    assert!(moved.elapsed() < LONG, "the traced process is stuck");
                    asleep();
                }
                Ok(WaitStatus::StillAlive) => {}
                Ok(WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)) => {
                    ptrace::syscall(self.thread, None).expect("it has stopped");
                }
                other => panic!("it should run or stop: {other:?}"),
            }
            thread::sleep(Duration::from_micros(20));
        }
    }

    /// Returns the token that it was granted, if it printed it before it was killed.
    fn token(&mut self) -> Option<FencingToken> {
        let lines = std::iter::from_fn(|| self.helper.line());
        let mut tokens = lines.filter_map(|line| line.strip_prefix("token ")?.parse().ok());
        tokens.next()
    }

    /// Kills it. It is gone when this returns.
    fn kill(&mut self) {
        self.helper.strike();
        // A traced process stays until the tracer has seen its end.
        while !matches!(
            waitpid(self.thread, Some(WaitPidFlag::__WALL)),
            Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(_)
        ) {}
        self.helper.kill();
    }
}

/// Kills it even if the test fails.
impl Drop for Traced {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns whether a request waits.
fn stands_in_line(scratch: &Scratch) -> bool {
    scratch.lock.snapshot().wait().expect("a table").waiting().count() > 0
}

/// Kills a process that does `what` at each of its stops, and examines what is left.
fn die_at_each_stop(what: &str, plan: Rival, place: impl Fn() -> Scratch) {
    let mut last = FencingToken::new(0);
    let mut stop = 1;
    loop {
        let scratch = place();
        let lock = &scratch.lock;
        let held = if plan == Rival::Fills { cells("c", 61) } else { write("a") };
        let hold = || lock.try_acquire(&held).wait().expect("nothing is in the way");
        let mut rival = (plan != Rival::None).then(hold);
        let helper = Part::new("step", lock.path(), what).start();
        let mut traced = match Traced::new(helper) {
            Ok(traced) => traced,
            Err(error) => return println!("not tested here: tracing a child: {error}"),
        };
        let stopped = (0..stop).all(|_| {
            rival.take_if(|_| plan == Rival::LeavesEarly && stands_in_line(&scratch));
            traced.next(|| drop(rival.take_if(|_| plan == Rival::LeavesLate)))
        });
        let behind = stopped.then(|| one_behind(lock));
        traced.kill();
        let when = format!("{what}, stop {stop}");
        Audit::of(&scratch.table()).assert_whole(&when);
        last = traced.token().unwrap_or_default().max(last);
        drop(rival);
        if let Some(behind) = behind {
            let guard = behind.join().expect("what is left blocks nothing");
            assert!(guard.token() > last, "{} after {last}, stop {stop}", guard.token());
            last = guard.token();
            let snapshot = lock.snapshot().wait().expect("a table");
            let tickets: Vec<u64> = snapshot.entries.iter().map(|entry| entry.ticket).collect();
            assert_eq!(tickets, [guard.ticket()], "a dead request is shown, stop {stop}");
        }
        scratch.assert_at_rest();
        assert_eq!(Audit::clean(&scratch.table(), &when).occupied(), 1, "{when}: lost cells");
        let found = lock.check().wait().expect("a directory that can be checked");
        let bad = |f: &&Finding| f.severity == Severity::Bad || f.to_string().contains("damaged");
        assert_eq!(found.iter().find(bad), None, "stop {stop}");
        if !stopped {
            break;
        }
        stop += 1;
    }
    println!("{what}: killed at {} stops", stop - 1);
    assert!(stop > 20, "it makes more calls than that");
}

/// Tests with everything new: the directory, the table, the cells.
#[test]
fn one_who_makes_the_table() {
    die_at_each_stop("hold", Rival::None, Scratch::new);
}

#[test]
fn one_who_holds() {
    die_at_each_stop("hold", Rival::None, one_table());
}

/// Tests with a table that is full of the dead, whose cells it frees and uses.
#[test]
fn one_who_finds_only_the_dead() {
    let place = one_table();
    die_at_each_stop("hold", Rival::None, || {
        let scratch = place();
        let dead = |number| write(&format!("dead/{number}"));
        die_with(&scratch, &(0..61).map(dead).collect::<Vec<_>>());
        scratch
    });
}

#[test]
fn one_who_takes_over_the_latch_of_the_dead() {
    let place = one_table();
    die_at_each_stop("hold", Rival::None, || {
        let scratch = place();
        die_with_the_latch(&scratch);
        scratch
    });
}

#[test]
fn one_who_enlarges_the_table() {
    die_at_each_stop("hold", Rival::Fills, new_table);
}

#[test]
fn one_who_lets_a_child_inherit() {
    die_at_each_stop("inherit", Rival::None, one_table());
}

#[test]
fn one_who_is_refused() {
    die_at_each_stop("try", Rival::Stays, one_table());
}

#[test]
fn one_who_gives_up() {
    die_at_each_stop("give up", Rival::Stays, one_table());
}

#[test]
fn one_who_is_granted_while_it_goes_to_sleep() {
    die_at_each_stop("hold", Rival::LeavesEarly, one_table());
}

#[test]
fn one_who_is_woken() {
    die_at_each_stop("hold", Rival::LeavesLate, one_table());
}

/// A process that is stopped at the worst moment, while it enters its request, blocks all other
/// requests. The check reports this and names the process. When it continues, so do the others.
#[test]
fn one_who_is_stopped_with_the_latch() {
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let helper = Part::new("step", scratch.lock.path(), "hold").start();
    let name = format!("process {} has", helper.pid());
    let traced = match Traced::new(helper) {
        Ok(traced) => traced,
        Err(error) => return println!("not tested here: tracing a child: {error}"),
    };
    while !is_latched(&scratch.table()) {
        assert!(traced.next(|| ()), "it never took the latch");
    }
    let behind = one_behind(&scratch.lock);
    let lock = scratch.lock.clone();
    let checks = thread::spawn(move || lock.check().wait());
    eventually("the check says what is wrong", || checks.is_finished());
    assert!(!behind.is_finished(), "the latch is taken");
    let found = checks.join().expect("no panic").expect("a directory that can be checked");
    let bad = found.iter().find(|finding| finding.severity == Severity::Bad);
    assert!(bad.is_some_and(|finding| finding.what.contains(&name)), "{found:?}");
    // Either may be the first to enter its request.
    let mut behind = Some(behind);
    let let_it_go = |behind: &mut Option<thread::JoinHandle<Guard>>| {
        let granted = behind.take_if(|behind| behind.is_finished());
        drop(granted.map(|granted| granted.join().expect("it goes on")));
    };
    while traced.next(|| let_it_go(&mut behind)) {}
    eventually("the one behind goes on", || {
        let_it_go(&mut behind);
        behind.is_none()
    });
    scratch.assert_at_rest();
}
