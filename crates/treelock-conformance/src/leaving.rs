//! Leaving at every point (C10): unpolled, queued in front, in the middle and at the end, granted
//! but not yet seen, and by panic; and what else is promised of one request at a time. The checks
//! count wake-ups instead of sleeping.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use treelock::{Request, State};

use crate::{
    checks::{Named, run_all},
    subject::{Subject, Task, Wakes, assert_empty, check_wakes},
};

/// Returns the checks of this module by name. Each makes as many engines as it needs.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        fn checks<'a, E: Subject>(engine: &'a dyn Fn() -> E) -> Vec<Named<'a>> {
            vec![$((stringify!($check), Box::new(move || $check(engine)))),*]
        }
    };
}

checks![
    unpolled_futures_ask_for_nothing,
    a_future_takes_its_ticket_at_its_first_poll,
    leaving_the_queue_lets_those_behind_go_on,
    the_front_the_middle_and_the_end_of_one_queue,
    a_grant_that_nobody_saw_is_passed_on,
    a_grant_is_seen_by_a_task_that_moved,
    a_cancelled_writer_leaves_nothing_behind,
    who_does_not_wait_leaves_no_trace,
    a_panic_while_holding_releases,
    a_forgotten_guard_keeps_its_lock,
    not_re_entrant,
    a_guard_outlives_everything_else,
    a_request_with_no_roots_is_granted_at_once,
];

/// Runs all checks of this module. Checks in which many requests queue up use `many` of them.
///
/// # Panics
///
/// Panics after all checks have run, with the names of those that failed. Each has printed why.
/// Also panics if `many` is not a multiple of ten, or is a multiple of seven.
///
/// # Examples
///
/// ```
/// use treelock::TreeLock;
/// use treelock_conformance::{Judged, leaving};
///
/// leaving::every_way_to_leave_leaves_nothing(100, || Judged::exact(TreeLock::new()));
/// ```
pub fn every_way_to_leave_leaves_nothing<E: Subject>(many: usize, engine: impl Fn() -> E) {
    let mut all = checks(&engine);
    let middle = || many_leave_from_the_middle(many, &engine());
    all.push(("many_leave_from_the_middle", Box::new(middle)));
    run_all(all);
}

fn write(root: &str) -> Request {
    request(Request::new().write(root).expect("a good root"))
}

fn read(root: &str) -> Request {
    request(Request::new().read(root).expect("a good root"))
}

/// Returns the request, labelled with its own text.
fn request(request: Request) -> Request {
    let label = request.to_string();
    request.with_label(label)
}

fn hold<E: Subject>(engine: &E, request: &Request) -> E::Guard {
    match engine.try_acquire(request) {
        Ok(guard) => guard,
        Err(blocked) => panic!("nothing should be in the way: {blocked}"),
    }
}

fn queue<E: Subject>(engine: &E, request: &Request) -> E::Task {
    let mut task = engine.acquire(request);
    assert!(task.poll().is_none(), "{request} should wait");
    task
}

/// Returns the guard of a task that must be granted, and woken, by now.
fn granted<E: Subject>(task: &mut E::Task, who: &str) -> E::Guard {
    check_wakes::<E>(task, true, &who);
    task.poll().unwrap_or_else(|| panic!("{who} should be granted"))
}

fn waits<E: Subject>(task: &mut E::Task, who: &str) {
    check_wakes::<E>(task, false, &who);
}

fn held<E: Subject>(engine: &E) -> usize {
    engine.snapshot().held().count()
}

fn unpolled_futures_ask_for_nothing<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let unpolled = engine.acquire(&write("a"));
    assert_empty(&engine);
    drop(hold(&engine, &write("a")));
    drop(unpolled);
    assert_empty(&engine);
}

/// C5: the place in the order of arrival is taken at the first poll, not when the future is made.
fn a_future_takes_its_ticket_at_its_first_poll<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let guard = hold(&engine, &write("a"));
    let mut made_first = engine.acquire(&write("a"));
    let mut polled_first = queue(&engine, &write("a"));
    assert!(made_first.poll().is_none());
    drop(guard);
    waits::<E>(&mut made_first, "the one made first");
    drop(granted::<E>(&mut polled_first, "the one polled first"));
    drop(granted::<E>(&mut made_first, "the one made first"));
}

/// Sections 7.3 and 7.4: when a request leaves the queue, the requests that waited only for it
/// proceed.
fn leaving_the_queue_lets_those_behind_go_on<E: Subject>(engine: &dyn Fn() -> E) {
    for leaver in 0..3 {
        let engine = engine();
        let _reader = hold(&engine, &read("a"));
        let mut queued = vec![
            queue(&engine, &write("a")),
            queue(&engine, &write("a/b")),
            queue(&engine, &write("a/c")),
        ];
        let mut behind = queue(&engine, &read("a/b/x"));
        drop(queued.remove(leaver));
        // Two writers are still ahead or beside; then only readers are left.
        waits::<E>(&mut behind, "the reader behind two writers");
        queued.clear();
        drop(granted::<E>(&mut behind, "the reader behind writers that left"));
    }
}

fn the_front_the_middle_and_the_end_of_one_queue<E: Subject>(engine: &dyn Fn() -> E) {
    for leaver in [0, 1, 2, 3] {
        let engine = engine();
        let holder = hold(&engine, &write("a"));
        let mut queued: Vec<E::Task> = (0..4).map(|_| queue(&engine, &write("a"))).collect();
        drop(queued.remove(leaver));
        drop(holder);
        // Exactly the first remaining request is granted, then the next. Finished requests are not
        // woken again.
        for next in 0..3 {
            let who = |i: usize| format!("number {i} after {leaver} left");
            (next + 1..3).for_each(|i| waits::<E>(&mut queued[i], &who(i)));
            if E::WAKES == Wakes::Exact {
                (0..next).for_each(|i| waits::<E>(&mut queued[i], &who(i)));
            }
            drop(granted::<E>(&mut queued[next], &who(next)));
        }
        assert_empty(&engine);
    }
}

/// Granted, not yet polled, dropped: the next one must get it (the swallowed wake-up of so many
/// locks).
fn a_grant_that_nobody_saw_is_passed_on<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let holder = hold(&engine, &write("a"));
    let mut first = queue(&engine, &write("a"));
    let mut second = queue(&engine, &write("a"));
    drop(holder);
    check_wakes::<E>(&mut first, true, &"the first");
    waits::<E>(&mut second, "the second");
    drop(first);
    drop(granted::<E>(&mut second, "the second"));
    assert_empty(&engine);
}

/// A task may move to another executor while it waits: the waker of its last poll is the one to
/// wake.
fn a_grant_is_seen_by_a_task_that_moved<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let holder = hold(&engine, &write("a"));
    let mut task = queue(&engine, &write("a"));
    assert!(task.poll_elsewhere().is_none());
    drop(holder);
    drop(granted::<E>(&mut task, "the one that moved"));
    let mut unpolled = engine.acquire(&write("a"));
    assert!(unpolled.poll_elsewhere().is_some(), "nothing is in the way");
    assert_empty(&engine);
}

/// No write-waiting flag may survive a cancelled writer.
fn a_cancelled_writer_leaves_nothing_behind<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let one = hold(&engine, &read("a/b"));
    drop(queue(&engine, &write("a")));
    drop(queue(&engine, &write("/")));
    let two = hold(&engine, &read("a"));
    let three = hold(&engine, &read("/"));
    assert_eq!(held(&engine), 3);
    drop((one, two, three));
    assert_empty(&engine);
}

/// C14: a failed try and a time-out are gone when they return, and those behind them never were.
fn who_does_not_wait_leaves_no_trace<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let reader = hold(&engine, &read("a"));
    for timeout in [None, Some(Duration::ZERO), Some(Duration::from_millis(2))] {
        let asked = match timeout {
            None => engine.try_acquire(&write("a")),
            Some(timeout) => engine.acquire_timeout(&write("a"), timeout),
        };
        let blocked = asked.err().expect("a reader is in the way");
        assert_eq!((blocked.state, blocked.ahead), (State::Held, 1), "{timeout:?}: {blocked}");
        assert_eq!(blocked.label.as_deref(), Some("read /a"), "{timeout:?}: {blocked}");
        assert_eq!(engine.snapshot().entries.len(), 1, "{timeout:?}");
        drop(hold(&engine, &read("a/b")));
    }
    drop(reader);
    assert_empty(&engine);
}

/// Many leave at once, in any order: what is left is granted in order, without tombstones (7.10).
fn many_leave_from_the_middle<E: Subject>(many: usize, engine: &E) {
    assert!(many.is_multiple_of(10) && !many.is_multiple_of(7), "each must leave once");
    let holder = hold(engine, &write("a"));
    let place = |i: usize| i % 7;
    let mut queued: Vec<Option<E::Task>> =
        (0..many).map(|i| Some(queue(engine, &write(&format!("a/{}", place(i)))))).collect();
    for i in (0..many).filter(|i| i % 10 != 3) {
        queued[(i * 7) % many] = None;
    }
    drop(holder);
    let tasks = queued.into_iter().enumerate();
    let mut left: VecDeque<(usize, E::Task)> =
        tasks.filter_map(|(i, task)| Some((place(i), task?))).collect();
    assert_eq!(left.len(), many / 10);
    while !left.is_empty() {
        // The first at each place is granted and nobody else.
        let mut seen = [false; 7];
        for (place, task) in &mut left {
            let first = !mem::replace(&mut seen[*place], true);
            check_wakes::<E>(task, first, &format_args!("one at {place}, the first: {first}"));
        }
        let (_, mut first) = left.pop_front().expect("not empty");
        drop(granted::<E>(&mut first, "the first that is left"));
    }
    assert_empty(engine);
}

/// C12: unwinding releases, and the lock is as good as before.
fn a_panic_while_holding_releases<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = hold(&engine, &write("a"));
        panic!("while holding, on purpose");
    }));
    assert!(panicked.is_err());
    drop(hold(&engine, &write("a")));
    assert_empty(&engine);
}

/// C11: a leaked guard keeps its lock, as the documentation says.
fn a_forgotten_guard_keeps_its_lock<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    mem::forget(hold(&engine, &write("a")));
    assert!(engine.try_acquire(&read("a")).is_err());
}

/// C4: a holder that requests something that conflicts with its own lock waits for itself, and may
/// give up.
fn not_re_entrant<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let guard = hold(&engine, &write("a"));
    let mut again = queue(&engine, &read("a/b"));
    assert!(engine.try_acquire(&read("a/b")).is_err());
    drop(guard);
    drop(granted::<E>(&mut again, "the second request of the same holder"));
    assert_empty(&engine);
}

/// C11: the guard and the task do not need the handle, nor the request they came from.
fn a_guard_outlives_everything_else<E: Subject>(engine: &dyn Fn() -> E) {
    let (guard, mut task) = {
        let engine = engine();
        let guard = hold(&engine, &write("a"));
        (guard, queue(&engine, &write("a")))
    };
    drop(guard);
    drop(granted::<E>(&mut task, "the one who waits for the guard"));
}

/// C18.
fn a_request_with_no_roots_is_granted_at_once<E: Subject>(engine: &dyn Fn() -> E) {
    let engine = engine();
    let everything = hold(&engine, &write("/"));
    let waiting = queue(&engine, &write("/"));
    let nothing = hold(&engine, &Request::new());
    let labelled = hold(&engine, &Request::new().with_label("nobody"));
    assert_eq!(held(&engine), 3);
    drop((nothing, labelled, waiting, everything));
    assert_empty(&engine);
}
