//! Bad neighbours: processes that die, stop, stay, or are many.

use std::{
    fs,
    future::Future,
    os::unix::thread::JoinHandleExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::State;
use treelock_conformance::{Polled, Task};
use treelock_dir::{DirLock, Severity};

use crate::{
    helper::{Helper, Part, is_alone},
    scratch::{LONG, Latch, Scratch, eventually, read, write},
};

/// C22: killed while it holds, its place is free at once, and nothing is left that anybody trips over.
#[test]
fn a_killed_holder_frees_its_place() {
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    let error = lock.try_acquire(&write("a/b")).expect_err("somebody holds it");
    let process = error.blocked().and_then(|blocked| blocked.process.clone());
    assert_eq!(process.map(|process| process.pid), Some(holder.pid()));
    holder.kill();
    let guard = lock.try_acquire(&write("a/b")).expect("free when it is dead");
    assert_eq!(lock.snapshot().expect("a table").entries.len(), 1);
    drop(guard);
    assert!(lock.snapshot().expect("a table").entries.is_empty());
}

/// In a line of processes, those behind the one that is killed go on when it is their turn, not before.
#[test]
fn a_killed_waiter_leaves_the_line() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut waiting: Vec<Helper> = (1..=3)
        .map(|count| {
            let helper = Part::new("hold", lock.path(), "a").start();
            eventually("it is in line", || waiters(lock).len() == count);
            helper
        })
        .collect();
    let line: Vec<u32> = waiting.iter().map(Helper::pid).collect();
    assert_eq!(waiters(lock), line);
    waiting.remove(1).kill();
    assert_eq!(waiters(lock), [line[0], line[2]]);
    waiting.remove(0).kill();
    assert_eq!(waiters(lock), [line[2]]);
    drop(guard);
    waiting[0].expect("holds");
    let snapshot = lock.snapshot().expect("a table");
    assert_eq!((snapshot.entries.len(), snapshot.entries[0].state), (1, State::Held));
}

/// The processes that wait, the first in line first.
fn waiters(lock: &DirLock) -> Vec<u32> {
    let snapshot = lock.snapshot().expect("a table");
    let pid = |entry: &treelock::Entry| entry.process.as_ref().expect("each has one").pid;
    snapshot.waiting().map(pid).collect()
}

/// A child that inherited the lock keeps it when its parent is killed, and is found.
#[test]
fn a_child_keeps_the_lock() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut sleep = Command::new("sleep");
    guard.inherit(sleep.arg("600")).expect("a free descriptor");
    let mut child = sleep.spawn().expect("sleep is everywhere");
    drop(sleep);
    let mut both = vec![std::process::id(), child.id()];
    both.sort_unstable();
    assert_eq!(lock.processes(guard.ticket()).expect("/proc"), both);
    // Dropping the guard releases for the child too.
    drop(guard);
    drop(lock.try_acquire(&write("a")).expect("released"));
    // A guard that is never dropped is as one whose process was killed.
    let ticket = {
        let guard = lock.try_acquire(&write("a")).expect("free again");
        let ticket = guard.ticket();
        std::mem::forget(guard);
        ticket
    };
    assert_eq!(lock.processes(ticket).expect("/proc"), [std::process::id()]);
    child.kill().expect("our child");
    child.wait().expect("our child");
}

/// Four processes with 250 requests each: all are shown, in order, and leave room for others.
#[test]
fn a_thousand_live_tickets() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let mut crowds: Vec<Helper> = ["dir/1", "dir/2", "dir/3", "dir/4"]
        .map(|above| Part::new("crowd", lock.path(), above).start())
        .into_iter()
        .collect();
    crowds.iter_mut().for_each(|crowd| crowd.expect("holds"));
    let snapshot = lock.snapshot().expect("a table");
    assert_eq!(snapshot.held().count(), 1000);
    assert!(snapshot.entries.is_sorted_by(|a, b| a.ticket < b.ticket));
    let error = lock.try_acquire(&write("dir")).expect_err("all are below");
    let blocked = error.blocked().expect("blocked");
    assert_eq!((blocked.ahead, blocked.ticket), (1000, snapshot.entries[0].ticket));
    let one_of_many = lock.try_acquire(&write("dir/3/100")).expect_err("one of them is here");
    assert_eq!(one_of_many.blocked().expect("blocked").ahead, 1);
    drop(lock.try_acquire(&write("other")).expect("nobody is here"));
    let size = fs::metadata(scratch.table()).expect("a table").len();
    thread::scope(|scope| {
        let behind = scope.spawn(|| lock.acquire_timeout(&write("dir"), LONG));
        eventually("it is in line", || waiters(lock).len() == 1);
        crowds.remove(2).kill();
        assert_eq!(lock.snapshot().expect("a table").held().count(), 750);
        assert!(!behind.is_finished(), "there are more ahead");
        crowds.iter_mut().for_each(|crowd| assert!(crowd.end().success()));
        drop(behind.join().expect("no panic").expect("all have left"));
    });
    scratch.assert_at_rest();
    // C8: what a crowd needed is given back, and the numbers go on.
    let now = || fs::metadata(scratch.table()).expect("a table").len();
    let after = lock.try_acquire(&write("dir")).expect("all have left");
    assert!(after.ticket() > snapshot.entries[999].ticket);
    drop(after);
    assert!(now() < size / 10, "{} of {size} bytes", now());
    let crowd = Part::new("crowd", lock.path(), "dir").start();
    crowd.expect("holds");
    assert_eq!(lock.snapshot().expect("a table").held().count(), 250);
    assert!(now() < size / 2, "{} of {size} bytes", now());
}

/// One large request makes the table long for as long as it is live, and tokens and tickets go on when it is
/// cut off.
#[test]
fn a_table_becomes_short_again() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let size = || fs::metadata(scratch.table()).expect("a table").len();
    drop(lock.try_acquire(&write("a")).expect("a new lock is free"));
    let short = size();
    let large = (0..5000).fold(treelock::Request::new(), |request, i| {
        request.write(format!("large/{i}").as_str()).expect("a good node")
    });
    let guard = lock.try_acquire(&large).expect("nobody is in the way");
    let (ticket, token) = (guard.ticket(), guard.token());
    assert!(lock.try_acquire(&write("large/4999")).is_err());
    drop(lock.try_acquire(&write("a")).expect("nobody is in the way"));
    assert!(size() > 10 * short, "{} bytes", size());
    drop(guard);
    // The first by this handle has the large one's place; another handle gets none.
    for lock in [lock, &DirLock::new(lock.path())] {
        for _ in 0..3 {
            let guard = lock.try_acquire(&write("large/4999")).expect("it has left");
            assert!(guard.ticket() > ticket && guard.token() > token);
        }
    }
    assert_eq!(size(), short);
    scratch.assert_at_rest();
}

/// Those who look stand in line with those who ask, so that neither keep the others away.
#[test]
fn lookers_do_not_keep_others_from_asking() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let _crowd: Vec<_> = (0..200)
        .map(|i| lock.try_acquire(&write(&format!("crowd/{i}"))).expect("nobody is in the way"))
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    assert!(lock.snapshot().expect("a table").held().count() >= 200);
                }
            });
        }
        let start = Instant::now();
        let asked = (0..50).take_while(|_| {
            drop(lock.try_acquire(&write("a")).expect("nobody is in the way"));
            start.elapsed() < LONG
        });
        let asked = asked.count();
        done.store(true, Ordering::SeqCst);
        assert_eq!(asked, 50, "within {LONG:?}");
    });
}

/// A waker that panics takes nobody else's wake-up with it.
#[test]
fn a_waker_that_panics() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut quiet: Vec<_> = (0..4).map(|_| Polled::new(lock.acquire(&read("a")))).collect();
    assert!(quiet.iter_mut().all(|task| task.poll().is_none()));
    let mut loud: Vec<_> = (0..4).map(|_| Box::pin(lock.acquire(&read("a")))).collect();
    for task in &mut loud {
        let waker = Waker::from(Arc::new(Panics));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(catch_unwind(AssertUnwindSafe(|| drop(guard))).is_err(), "the panic goes on");
    for task in &mut quiet {
        assert!(task.wakes() > 0, "it is woken all the same");
        drop(task.poll().expect("it is granted").expect("a table that works"));
    }
    drop((quiet, loud));
    scratch.assert_at_rest();
}

/// A process that is stopped with the latch stops all who ask, and is found; then they go on.
#[test]
fn a_latch_that_is_not_let_go() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    scratch.assert_at_rest();
    let latch = Latch::of_one_who_stopped(&scratch.table());
    thread::scope(|scope| {
        let asks = scope.spawn(|| lock.acquire_timeout(&write("a"), LONG));
        let looks = scope.spawn(|| lock.snapshot());
        let checks = scope.spawn(|| lock.check());
        eventually("the check says what is wrong", || checks.is_finished());
        assert!(!asks.is_finished() && !looks.is_finished(), "the latch is taken");
        let found = checks.join().expect("no panic").expect("a place that can be looked at");
        let bad: Vec<_> = found.iter().filter(|f| f.severity == Severity::Bad).collect();
        assert_eq!(bad.len(), 1, "{found:?}");
        assert!(bad[0].what.contains(&format!("[{}]", std::process::id())), "{}", bad[0]);
        assert!(bad[0].advice.contains("kill -CONT"), "{}", bad[0]);
        drop(latch);
        drop(asks.join().expect("no panic").expect("it goes on"));
        looks.join().expect("no panic").expect("it goes on");
    });
}

/// A lock with a relative path is the same lock wherever the process goes.
#[test]
fn a_process_that_changes_its_directory() {
    if !is_alone("neighbours::a_process_that_changes_its_directory", &[&[]]) {
        return;
    }
    let scratch = Scratch::new();
    std::env::set_current_dir(scratch.path()).expect("a scratch directory");
    let relative = DirLock::new("locks");
    let guard = relative.try_acquire(&write("a")).expect("a new lock is free");
    std::env::set_current_dir("/").expect("it is there");
    assert!(guard.is_valid(), "nobody has touched the table");
    assert!(scratch.lock.try_acquire(&write("a")).is_err(), "it is held");
    let again = relative.try_acquire(&write("b")).expect("nobody is in the way");
    assert_eq!(scratch.lock.snapshot().expect("a table").held().count(), 2);
    drop((guard, again));
}

/// A time-out that is over leaves the line, and takes no longer than it must to say who is in the way.
#[test]
fn a_time_out_behind_another_process() {
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    for timeout in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(5)] {
        let error = lock.acquire_timeout(&write("a/b"), timeout).expect_err("it is held");
        let blocked = error.blocked().expect("somebody is in the way");
        assert_eq!(blocked.process.as_ref().map(|process| process.pid), Some(holder.pid()));
        assert_eq!(lock.snapshot().expect("a table").entries.len(), 1);
    }
    assert!(holder.end().success());
    drop(lock.acquire_timeout(&write("a/b"), Duration::ZERO).expect("nobody is in the way"));
}

#[test]
fn no_directory_no_requests() {
    let Scratch { lock, .. } = &Scratch::new();
    assert!(lock.snapshot().expect("nothing to read").entries.is_empty());
    assert!(!lock.path().exists(), "looking makes nothing");
    let below_a_file = DirLock::new("/dev/null/locks");
    let error = below_a_file.try_acquire(&write("a")).expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/locks"), "{error}");
}

/// A holder that had to wait is shown as held from when it was granted, not from when it asked.
#[test]
fn one_who_waited_holds_since_it_was_granted() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    // Long enough to be told from no time at all.
    thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    drop(guard);
    let guard = waits.poll().expect("it is granted").expect("a table that works");
    let age = lock.snapshot().expect("a table").entries[0].age;
    assert!(age <= start.elapsed(), "{age:?}, of at most {:?}", start.elapsed());
    drop(guard);
}

/// One who waits at a table that was replaced is not told of those whom nobody else sees any more.
#[test]
fn a_lost_place_is_behind_nobody() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut acquire = Box::pin(scratch.lock.acquire(&write("a")));
    assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert!(acquire.blocked().expect("a table").is_some());
    fs::remove_file(scratch.table()).expect("a table");
    assert!(acquire.blocked().expect_err("its place is lost").is_lost());
    drop(guard);
}

/// One who waits is told of those ahead of it, and not of those behind it or of itself.
#[test]
fn one_who_waits_is_behind_those_ahead() {
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut line = [(); 3].map(|()| Box::pin(lock.acquire(&write("a"))));
    for acquire in &mut line {
        assert!(acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    for (before, acquire) in line.iter().enumerate() {
        let blocked = acquire.blocked().expect("a table").expect("somebody holds it");
        assert_eq!((blocked.ahead, blocked.ticket), (before + 1, guard.ticket()));
    }
}

/// One who gives up lets go of its waker, though the ticket that it waited for stays.
#[test]
fn who_gives_up_keeps_no_waker() {
    struct Quiet;
    impl Wake for Quiet {
        fn wake(self: Arc<Self>) {}
    }
    let Scratch { lock, .. } = &Scratch::new();
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let [one, two] = [(); 2].map(|()| Arc::new(Quiet));
    let mut acquire = Box::pin(lock.acquire(&write("a")));
    for quiet in [&one, &two] {
        let waker = Waker::from(quiet.clone());
        assert!(acquire.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 2));
    drop(acquire);
    assert_eq!((Arc::strong_count(&one), Arc::strong_count(&two)), (1, 1));
    drop(guard);
}

/// A waker that panics while the guard is dropped by a panic does not end the process.
#[test]
fn a_waker_that_panics_in_a_panic() {
    if !is_alone("neighbours::a_waker_that_panics_in_a_panic", &[&[]]) {
        return;
    }
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("on purpose, too");
        }
    }
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut task = Box::pin(lock.acquire(&write("a")));
    let waker = Waker::from(Arc::new(Panics));
    assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = guard;
        panic!("on purpose");
    }));
    let panicked = panicked.expect_err("it panics");
    assert_eq!(panicked.downcast_ref(), Some(&"on purpose"), "the first panic goes on");
    drop(task);
    scratch.assert_at_rest();
}

/// The number of an inherited descriptor is none that scripts use for their own.
#[test]
fn an_inherited_descriptor_has_a_high_number() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut list = Command::new("sh");
    guard.inherit(list.args(["-c", "ls -l /proc/$$/fd"])).expect("a free descriptor");
    let listed = String::from_utf8(list.output().expect("sh is everywhere").stdout);
    let listed = listed.expect("a scratch path of letters");
    let table = format!(" -> {}", scratch.table().display());
    let descriptors = listed.lines().filter_map(|line| line.strip_suffix(&table));
    let numbers: Vec<u32> =
        descriptors.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert!(matches!(numbers[..], [100..=u32::MAX]), "{numbers:?} in\n{listed}");
}

/// Tickets of another table, which have the same numbers, are not taken for tickets of this one.
#[test]
fn processes_at_another_table_are_not_found() {
    let [one, two] = [(); 2].map(|()| Scratch::new());
    let holder = Helper::holding(&one.lock, "a");
    let guard = two.lock.try_acquire(&write("a")).expect("a new lock is free");
    assert_eq!(one.lock.snapshot().expect("a table").entries[0].ticket, guard.ticket());
    assert_eq!(one.lock.processes(guard.ticket()).expect("/proc"), [holder.pid()]);
    assert_eq!(two.lock.processes(guard.ticket()).expect("/proc"), [std::process::id()]);
}

/// Whoever waited for another process keeps no lock of its ticket when that has left.
#[test]
fn who_has_waited_keeps_no_lock() {
    if !is_alone("neighbours::who_has_waited_keeps_no_lock", &[&[]]) {
        return;
    }
    let Scratch { lock, .. } = &Scratch::new();
    let mut holder = Helper::holding(lock, "a");
    let mut waits = Polled::new(lock.acquire(&write("a")));
    assert!(waits.poll().is_none());
    assert!(holder.end().success());
    eventually("it is woken", || waits.wakes() > 0);
    drop(waits.poll().expect("it is granted").expect("a table that works"));
    let locks = || {
        let files = fs::read_dir("/proc/self/fdinfo").expect("/proc").filter_map(Result::ok);
        let text = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        text.filter(|text| text.contains("OFDLCK")).count()
    };
    assert_eq!(locks(), 0);
}

/// Who may write takes the latch for himself also to look, since those who share it could follow one another
/// for ever, and nobody would get in.
#[test]
fn who_may_write_does_not_share_the_latch() {
    let scratch = &Scratch::new();
    let lock = &scratch.lock;
    let guard = lock.try_acquire(&write("a")).expect("a new lock is free");
    let mut waits = Box::pin(lock.acquire(&write("a")));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let latch = Latch::of_a_reader_who_stopped(&scratch.table());
    thread::scope(|scope| {
        let looks = scope.spawn(|| lock.snapshot());
        let asks_who = scope.spawn(|| waits.blocked());
        let checks = scope.spawn(|| lock.check());
        eventually("the check says what is wrong", || checks.is_finished());
        let found = checks.join().expect("no panic").expect("a place that can be looked at");
        assert!(found.iter().any(|f| f.severity == Severity::Bad), "{found:?}");
        assert!(!looks.is_finished() && !asks_who.is_finished(), "the latch is taken");
        drop(latch);
        assert_eq!(looks.join().expect("no panic").expect("it goes on").entries.len(), 2);
        assert!(asks_who.join().expect("no panic").expect("it goes on").is_some());
    });
    drop(guard);
}

/// A signal whose handler returns does not end the waiting for the latch.
#[test]
#[expect(unsafe_code, reason = "handlers of signals are what is tested")]
fn a_signal_while_one_waits_for_the_latch() {
    use nix::{
        libc::pthread_kill,
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
    };
    extern "C" fn nothing(_: nix::libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    }
    static SIGNALS: AtomicUsize = AtomicUsize::new(0);
    if !is_alone("neighbours::a_signal_while_one_waits_for_the_latch", &[&[]]) {
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
    let asks = thread::spawn(move || lock.try_acquire(&write("a")));
    eventually("it was interrupted again and again", || {
        // SAFETY: the thread is not joined yet.
        unsafe { pthread_kill(asks.as_pthread_t(), nix::libc::SIGUSR1) };
        asks.is_finished() || SIGNALS.load(Ordering::SeqCst) > 200
    });
    assert!(!asks.is_finished(), "the latch is taken");
    drop(latch);
    drop(asks.join().expect("no panic").expect("it goes on"));
}
