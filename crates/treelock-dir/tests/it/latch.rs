//! The latch and the gate: processes that stop or die while they have one of them, lookers,
//! signals.

use std::{
    future::Future,
    os::unix::thread::JoinHandleExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use treelock::{Wait, engine::Severity};
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Error};

use crate::{
    helper::{Helper, Part, is_alone},
    raw::{DIRTY_AT, ENTRIES_AT, FREE_AT, FREE_COUNT_AT, LIVE_AT, PLACES_AT, REBUILDS_AT},
    scratch::{AcquireWithin, LONG, Scratch, eventually, long, read, write},
    stopped::{Gate, Latch},
};

/// Looking takes no latch, so lookers do not keep others from making requests.
#[test]
fn lookers_do_not_keep_others_from_asking() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let _crowd = scratch.crowd(200);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert!(lock.snapshot().wait().expect("a table").held().count() >= 200);
                }
            });
        }
        let start = Instant::now();
        let asked = (0..50).take_while(|_| {
            drop(lock.try_acquire(&write("a")).wait().expect("nothing is in the way"));
            start.elapsed() < LONG
        });
        let asked = asked.count();
        done.store(true, Ordering::SeqCst);
        assert_eq!(asked, 50, "within {LONG:?}");
    });
}

/// Returns a process that has the latch and is stopped.
fn stopped_with_the_latch(scratch: &Scratch) -> Helper {
    let helper = Part::new("latch", scratch.lock.path(), "").start();
    helper.expect("holds");
    helper.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", helper.pid());
    let stopped = || std::fs::read_to_string(&stat).expect("our child").contains(") T ");
    eventually("it is stopped", stopped);
    helper
}

fn assert_stuck<T>(result: Result<T, Error>, pid: Option<u32>) {
    let error = result.map(drop).expect_err("the latch is taken");
    let Error::Stuck { process, .. } = &error else { panic!("{error}") };
    assert_eq!(*process, pid);
    assert!(error.is_unavailable() && !error.is_timeout() && !error.is_lost());
    let advice = pid.map_or("treelock doctor".into(), |pid| format!("kill -CONT {pid}"));
    assert!(error.to_string().contains(&advice), "{error}");
}

/// While a process is stopped with the latch, no request is made, and each learns so in its own
/// way: a try, a limit, a future. When it goes on, so do they.
#[test]
fn who_asks_beside_one_who_stopped_with_the_latch() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    scratch.assert_at_rest();
    let mut stopped = stopped_with_the_latch(scratch);
    let pid = Some(stopped.pid());
    thread::scope(|scope| {
        // Without a limit, it waits.
        let waits = scope.spawn(|| lock.acquire(&write("waits")).wait());
        for lock in [lock, &DirLock::new(lock.path())] {
            assert_stuck(lock.try_acquire(&write("a")).wait(), pid);
            let mut limited = lock.acquire(&write("a"));
            for limit in [Duration::ZERO, Duration::from_millis(20)] {
                assert!(limited.wait_timeout(limit).is_none(), "its time is over");
                assert!(limited.wait_deadline(Instant::now()).is_none(), "its time is over");
            }
            assert_eq!(limited.ticket(), None, "it has no place yet");
            assert!(limited.blocked().wait().expect("a table").is_none(), "nor is it in line");
            assert_stuck(limited.give_up().wait(), pid);
        }
        // Polls end, and are repeated.
        let mut future = Polled::new(lock.acquire(&write("b")));
        for _ in 0..3 {
            assert!(future.poll().is_none());
            eventually("it is woken to try again", || future.wakes() > 0);
        }
        assert!(!waits.is_finished(), "the latch is taken");
        stopped.signal(Signal::SIGCONT);
        assert!(stopped.end().success());
        let waited = waits.join().expect("no panic").expect("it goes on");
        let mut granted = None;
        eventually("the future is granted", || {
            granted = future.poll();
            granted.is_some()
        });
        let granted = granted.flatten_result();
        assert_eq!(lock.snapshot().wait().expect("a table").held().count(), 2);
        drop((waited, granted, future));
    });
    scratch.assert_at_rest();
}

/// What an answer contains, which must be a success.
trait FlattenResult<T> {
    fn flatten_result(self) -> T;
}

impl<T> FlattenResult<T> for Option<Result<T, Error>> {
    fn flatten_result(self) -> T {
        self.expect("ready").expect("a table that works")
    }
}

/// Releasing, waiting in line, and looking need no latch. So all of it goes on beside a process
/// that is stopped with the latch.
#[test]
fn who_has_asked_before_needs_no_latch() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let other = lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    let mut future = Polled::new(lock.acquire(&read("a")));
    assert!(future.poll().is_none());
    let mut waits = lock.acquire(&read("a/b"));
    assert!(waits.wait_timeout(Duration::ZERO).is_none());
    let mut dropped = lock.acquire(&write("a"));
    assert!(dropped.wait_timeout(Duration::ZERO).is_none());
    let mut gives_up = lock.acquire(&write("b"));
    assert!(gives_up.wait_timeout(Duration::ZERO).is_none());

    let mut stopped = stopped_with_the_latch(scratch);
    let looker = DirLock::new(lock.path());
    assert_eq!(looker.snapshot().wait().expect("it can be read").entries.len(), 6);
    let blocked = looker.blocked(&write("a/b")).wait().expect("it can be read");
    assert_eq!(blocked.map(|blocked| blocked.ahead), Some(4));
    assert_eq!(waits.blocked().wait().expect("a table").map(|b| b.ticket), Some(guard.ticket()));
    let me = [std::process::id()];
    assert_eq!(looker.processes(guard.ticket()).expect("/proc"), me);
    let found = looker.check().wait().expect("a directory that can be checked");
    let bad: Vec<_> = found.iter().filter(|f| f.severity == Severity::Bad).collect();
    assert_eq!(bad.len(), 1, "{found:?}");
    let pid = stopped.pid();
    assert!(bad[0].what.contains(&format!("process {pid} ")), "{}", bad[0]);
    assert!(bad[0].advice.contains(&format!("kill -CONT {pid}")), "{}", bad[0]);

    drop(dropped);
    let error = gives_up.give_up().wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(other.ticket()));
    drop(guard);
    let granted = waits.wait_timeout(LONG).flatten_result();
    eventually("the future is woken", || future.wakes() > 0);
    let future_granted = future.poll().flatten_result();
    assert_eq!(looker.snapshot().wait().expect("it can be read").held().count(), 3);
    assert!(granted.is_valid());
    drop((granted, future_granted, other));
    assert!(looker.snapshot().wait().expect("it can be read").entries.is_empty());

    stopped.signal(Signal::SIGCONT);
    assert!(stopped.end().success());
    scratch.assert_at_rest();
}

/// The latch of a process that died is taken over at once, and what it has left undone is mended:
/// nothing, or whatever it may have been changing.
#[test]
fn who_dies_with_the_latch() {
    for dirty in [false, true] {
        let scratch = Scratch::new();
        let lock = &scratch.lock;
        let held = scratch.crowd(20);
        let many = lock.try_acquire(&long("many")).wait().expect("nothing is in the way");
        drop(scratch.crowd_under("left", 5));
        let mut dies = Part::new("latch", lock.path(), "").start();
        dies.expect("holds");
        if dirty {
            scratch.set_number(DIRTY_AT, 1);
            for at in [FREE_AT, FREE_COUNT_AT, LIVE_AT, PLACES_AT, PLACES_AT + 16, ENTRIES_AT + 8] {
                scratch.set_number(at, 3);
            }
        }
        let before = scratch.number(REBUILDS_AT);
        dies.kill();
        let guard = lock.try_acquire(&write("new")).wait().expect("nothing is in the way");
        assert_eq!(scratch.number(REBUILDS_AT) - before, u64::from(dirty));
        scratch.assert_sound();
        assert!(lock.try_acquire(&read("crowd/7")).wait().is_err(), "it is held");
        let another = DirLock::new(lock.path());
        assert!(another.try_acquire(&read("many")).wait().is_err(), "it is held");
        assert_eq!(another.snapshot().wait().expect("a table").held().count(), 22);
        drop((held, many, guard));
        scratch.assert_at_rest();
    }
}

/// However the latch's number was damaged, it belongs to nobody who lives, and is taken over.
#[test]
fn a_latch_of_nobody() {
    for garbage in [2, 1 << 20, 1 << 62, u64::MAX - 1, u64::MAX, 1] {
        let scratch = Scratch::new();
        scratch.assert_at_rest();
        // Not the life of this handle, which is the first.
        let garbage = if garbage == 2 { 9 << 1 } else { garbage };
        scratch.set_number(crate::raw::LATCH_AT, garbage);
        drop(scratch.lock.try_acquire(&write("a")).wait().expect("nobody has the latch"));
        scratch.assert_at_rest();
    }
}

/// A process that is stopped with the gate keeps others from joining, and they say so. Who has
/// joined before goes on.
#[test]
fn a_gate_that_is_not_let_go() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let gate = Gate::of_one_who_stopped(&scratch.table());
    let joins = DirLock::new(lock.path());
    assert_stuck(joins.try_acquire(&write("b")).wait(), None);
    assert_stuck(joins.acquire(&write("b")).give_up().wait(), None);
    let waits = thread::spawn({
        let joins = joins.clone();
        move || joins.acquire(&write("waits")).wait()
    });
    let mut limited = joins.acquire(&write("b"));
    assert!(limited.wait_timeout(Duration::from_millis(1)).is_none(), "its time is over");
    let mut future = Polled::new(joins.acquire(&write("b")));
    assert!(future.poll().is_none());
    assert_eq!(joins.snapshot().wait().expect("looking passes no gate").held().count(), 1);
    let found = joins.check().wait().expect("a directory that can be checked");
    assert!(found.iter().any(|f| f.severity == Severity::Bad), "{found:?}");
    drop(lock.try_acquire(&write("b")).wait().expect("this one has joined before"));
    drop(guard);
    drop(gate);
    eventually("the future is woken to try again", || future.wakes() > 0);
    drop(future.poll().flatten_result());
    drop(limited.wait_timeout(LONG).flatten_result());
    drop(waits.join().expect("no panic").expect("it goes on"));
    scratch.assert_at_rest();
}

/// A request that waits behind another is not counted twice if its first poll found the latch
/// taken.
#[test]
fn a_poll_that_found_the_latch_taken_leaves_nothing() {
    let scratch = &Scratch::new();
    scratch.assert_at_rest();
    let latch = Latch::of_one_who_stopped(&scratch.table());
    let mut given_up = Box::pin(scratch.lock.acquire(&write("a")));
    assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(given_up);
    drop(latch);
    scratch.assert_at_rest();
}

/// A signal whose handler returns does not interrupt waiting for the latch.
#[test]
#[expect(unsafe_code, reason = "the tests are about signal handlers")]
fn a_signal_while_one_waits_for_the_latch() {
    use nix::{
        libc::pthread_kill,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    };
    extern "C" fn nothing(_: nix::libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    static SIGNALS: AtomicUsize = AtomicUsize::new(0);
    if !is_alone("latch::a_signal_while_one_waits_for_the_latch", &[&[]]) {
        return;
    }
    // Without `SA_RESTART`.
    let handler = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only counts.
    unsafe { sigaction(Signal::SIGUSR1, &handler) }.expect("a handler");
    let scratch = Scratch::new();
    scratch.assert_at_rest();
    let latch = Latch::of_one_who_stopped(&scratch.table());
    let lock = scratch.lock.clone();
    let asks = thread::spawn(move || lock.acquire_within(&write("a"), LONG));
    eventually("it was interrupted again and again", || {
        // SAFETY: the thread is not joined yet. The types of `std` and `libc` differ with musl.
        unsafe { pthread_kill(asks.as_pthread_t() as _, nix::libc::SIGUSR1) };
        asks.is_finished() || SIGNALS.load(Ordering::SeqCst) > 200
    });
    assert!(!asks.is_finished(), "the latch is taken");
    drop(latch);
    drop(asks.join().expect("no panic").expect("it goes on"));
}
