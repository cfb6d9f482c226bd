//! The latch: readers, processes that stop while they have it, signals.

use std::{
    future::Future,
    os::unix::thread::JoinHandleExt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Waker},
    thread,
    time::Instant,
};

use treelock::{Wait, engine::Severity};

use crate::{
    helper::is_alone,
    scratch::{AcquireWithin, LONG, Latch, Scratch, eventually, write},
};

/// Reading the table waits in line with making requests, so neither starves the other.
#[test]
fn lookers_do_not_keep_others_from_asking() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let _crowd: Vec<_> = (0..200)
        .map(|i| {
            lock.try_acquire(&write(&format!("crowd/{i}"))).wait().expect("nothing is in the way")
        })
        .collect();
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

/// A process that is stopped with the latch blocks all other requests, and is found; then they
/// proceed.
#[test]
fn a_latch_that_is_not_let_go() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    scratch.assert_at_rest();
    let latch = Latch::of_one_who_stopped(&scratch.table());
    thread::scope(|scope| {
        let asks = scope.spawn(|| lock.acquire_within(&write("a"), LONG));
        let looks = scope.spawn(|| lock.snapshot().wait());
        let checks = scope.spawn(|| lock.check().wait());
        eventually("the check says what is wrong", || checks.is_finished());
        assert!(!asks.is_finished() && !looks.is_finished(), "the latch is taken");
        let found = checks.join().expect("no panic").expect("a directory that can be checked");
        let bad: Vec<_> = found.iter().filter(|f| f.severity == Severity::Bad).collect();
        assert_eq!(bad.len(), 1, "{found:?}");
        assert!(bad[0].what.contains(&format!("[{}]", std::process::id())), "{}", bad[0]);
        assert!(bad[0].advice.contains("kill -CONT"), "{}", bad[0]);
        drop(latch);
        drop(asks.join().expect("no panic").expect("it goes on"));
        looks.join().expect("no panic").expect("it goes on");
    });
}

/// A process that may write takes the latch exclusively even to look. Readers that shared it could
/// follow one another forever, and no request could be entered.
#[test]
fn who_may_write_does_not_share_the_latch() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let mut waits = Box::pin(lock.acquire(&write("a")));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let latch = Latch::of_a_reader_who_stopped(&scratch.table());
    thread::scope(|scope| {
        let looks = scope.spawn(|| lock.snapshot().wait());
        let asks_who = scope.spawn(|| waits.blocked().wait());
        let checks = scope.spawn(|| lock.check().wait());
        eventually("the check says what is wrong", || checks.is_finished());
        let found = checks.join().expect("no panic").expect("a directory that can be checked");
        assert!(found.iter().any(|f| f.severity == Severity::Bad), "{found:?}");
        assert!(!looks.is_finished() && !asks_who.is_finished(), "the latch is taken");
        drop(latch);
        assert_eq!(looks.join().expect("no panic").expect("it goes on").entries.len(), 2);
        assert!(asks_who.join().expect("no panic").expect("it goes on").is_some());
    });
    drop(guard);
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
    let asks = thread::spawn(move || lock.try_acquire(&write("a")).wait());
    eventually("it was interrupted again and again", || {
        // SAFETY: the thread is not joined yet. The types of `std` and `libc` differ with musl.
        unsafe { pthread_kill(asks.as_pthread_t() as _, nix::libc::SIGUSR1) };
        asks.is_finished() || SIGNALS.load(Ordering::SeqCst) > 200
    });
    assert!(!asks.is_finished(), "the latch is taken");
    drop(latch);
    drop(asks.join().expect("no panic").expect("it goes on"));
}
