//! Leaving at every point (C10): unpolled, queued in front, in the middle and at the end, granted but
//! not yet seen, during a wake-up, and by panic. Told by counting wake-ups, not by sleeping.

use std::panic::{AssertUnwindSafe, catch_unwind};

use treelock::{Guard, Request, TreeLock};

use super::model::Task;

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a good root")
}

fn read(root: &str) -> Request {
    Request::new().read(root).expect("a good root")
}

fn hold(lock: &TreeLock, request: &Request) -> Guard {
    lock.try_acquire(request).expect("nothing is in the way")
}

fn queue(lock: &TreeLock, request: &Request) -> Task {
    let mut task = Task::new(lock.acquire(request));
    assert!(task.poll().is_none(), "{request} should wait");
    task
}

fn assert_empty(lock: &TreeLock) {
    let snapshot = lock.snapshot();
    assert!(snapshot.entries.is_empty(), "left behind:\n{snapshot}");
}

#[test]
fn unpolled_futures_ask_for_nothing() {
    let lock = TreeLock::new();
    let unpolled = lock.acquire(&write("a"));
    assert_empty(&lock);
    drop(hold(&lock, &write("a")));
    drop(unpolled);
    assert_empty(&lock);
}

/// C5: the place in the order of arrival is taken at the first poll, not when the future is made.
#[test]
fn a_future_takes_its_ticket_at_its_first_poll() {
    let lock = TreeLock::new();
    let guard = hold(&lock, &write("a"));
    let mut made_first = Task::new(lock.acquire(&write("a")));
    let mut polled_first = queue(&lock, &write("a"));
    assert!(made_first.poll().is_none());
    drop(guard);
    assert_eq!((made_first.wakes(), polled_first.wakes()), (0, 1));
    assert!(polled_first.poll().is_some());
}

/// Section 7.3 and 7.4: whoever leaves the queue lets those behind go on who waited only for it.
#[test]
fn leaving_the_queue_lets_those_behind_go_on() {
    for leaver in 0..3 {
        let lock = TreeLock::new();
        let _reader = hold(&lock, &read("a"));
        let mut queued = vec![
            queue(&lock, &write("a")),
            queue(&lock, &write("a/b")),
            queue(&lock, &write("a/c")),
        ];
        let behind = queue(&lock, &read("a/b/x"));
        drop(queued.remove(leaver));
        assert_eq!(behind.wakes(), 0, "two writers are still ahead or beside");
        queued.clear();
        assert_eq!(behind.wakes(), 1, "only readers are left");
    }
}

#[test]
fn the_front_the_middle_and_the_end_of_one_queue() {
    for leaver in [0, 1, 2, 3] {
        let lock = TreeLock::new();
        let holder = hold(&lock, &write("a"));
        let mut queued: Vec<Task> = (0..4).map(|_| queue(&lock, &write("a"))).collect();
        drop(queued.remove(leaver));
        drop(holder);
        // Exactly the first one left is granted, then the next.
        for next in 0..3 {
            let wakes: Vec<usize> = queued.iter().map(Task::wakes).collect();
            let granted: Vec<usize> = (0..3).map(|i| usize::from(i <= next)).collect();
            assert_eq!(wakes, granted, "leaver {leaver}");
            drop(queued[next].poll().expect("woken because granted"));
        }
        assert_empty(&lock);
    }
}

/// Granted, not yet polled, dropped: the next one must get it (the swallowed wake-up of so many locks).
#[test]
fn a_grant_that_nobody_saw_is_passed_on() {
    let lock = TreeLock::new();
    let holder = hold(&lock, &write("a"));
    let first = queue(&lock, &write("a"));
    let mut second = queue(&lock, &write("a"));
    drop(holder);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second.poll().expect("granted"));
    assert_empty(&lock);
}

/// No write-waiting flag may survive a cancelled writer.
#[test]
fn a_cancelled_writer_leaves_nothing_behind() {
    let lock = TreeLock::new();
    let _one = hold(&lock, &read("a/b"));
    drop(queue(&lock, &write("a")));
    drop(queue(&lock, &write("/")));
    let _two = hold(&lock, &read("a"));
    let _three = hold(&lock, &read("/"));
    assert_eq!(lock.snapshot().held().count(), 3);
}

/// Many leave at once, in any order: what is left is granted in order, without tombstones (7.10).
#[test]
fn a_thousand_leave_from_the_middle() {
    let lock = TreeLock::new();
    let holder = hold(&lock, &write("a"));
    let mut queued: Vec<Option<Task>> =
        (0..1000).map(|i| Some(queue(&lock, &write(&format!("a/{}", i % 7))))).collect();
    for i in (0..1000).filter(|i| i % 10 != 3) {
        queued[(i * 7) % 1000] = None;
    }
    drop(holder);
    let mut left: Vec<Task> = queued.into_iter().flatten().collect();
    assert_eq!(left.len(), 100);
    while !left.is_empty() {
        let granted = left.iter().position(|task| task.wakes() == 1).expect("somebody is granted");
        drop(left.remove(granted).poll().expect("woken because granted"));
    }
    assert_empty(&lock);
}

/// C12: unwinding releases, and the lock is as good as before.
#[test]
fn a_panic_while_holding_releases() {
    let lock = TreeLock::new();
    let inner = lock.clone();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = hold(&inner, &write("a"));
        panic!("while holding");
    }));
    assert!(panicked.is_err());
    drop(hold(&lock, &write("a")));
    assert_empty(&lock);
}

/// C11: a leaked guard keeps its lock, as the documentation says.
#[test]
fn a_forgotten_guard_keeps_its_lock() {
    let lock = TreeLock::new();
    std::mem::forget(hold(&lock, &write("a")));
    assert!(lock.try_acquire(&read("a")).is_err());
}

/// C4: a holder that asks for what conflicts with its own waits for itself, and may stop.
#[test]
fn not_re_entrant() {
    let lock = TreeLock::new();
    let guard = hold(&lock, &write("a"));
    let mut again = queue(&lock, &read("a/b"));
    assert!(lock.try_acquire(&read("a/b")).is_err());
    drop(guard);
    assert!(again.poll().is_some());
}

/// C11: the guard does not need the handle, nor the future, nor the request it came from.
#[test]
fn a_guard_outlives_everything_else() {
    let guard = {
        let lock = TreeLock::new();
        hold(&lock, &write("a"))
    };
    drop(guard);
}

/// C18.
#[test]
fn a_request_with_no_roots_is_granted_at_once() {
    let lock = TreeLock::new();
    let _everything = hold(&lock, &write("/"));
    let waiting = queue(&lock, &write("/"));
    let nothing = hold(&lock, &Request::new());
    let labelled = hold(&lock, &Request::new().label("nobody"));
    assert_eq!(lock.snapshot().held().count(), 3);
    drop((nothing, labelled, waiting));
}

/// After a spike, nodes in far-out slots are not kept when they rest. One of them may have gone already
/// with its last child, when that was the node that had rested longest.
#[test]
fn the_last_of_a_spike_leaves_after_its_child_was_forgotten() {
    let lock = TreeLock::new();
    let spike: Vec<Guard> = (0..40_000).map(|i| hold(&lock, &read(&format!("s{i}")))).collect();
    let last = hold(&lock, &read("p"));
    drop(spike);
    drop(hold(&lock, &read("p/c")));
    (0..1_023).for_each(|i| drop(hold(&lock, &read(&format!("q{i}")))));
    drop(last);
    assert_empty(&lock);
    drop(hold(&lock, &write("/")));
}
