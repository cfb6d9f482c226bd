//! Wakers that misbehave (C9): they lock again, drop a guard, take a snapshot or panic, inside
//! `wake` and `drop`. If any of it ran under the mutex, these tests would hang.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use treelock::{Acquire, Guard, Request, TreeLock, Wait};
use treelock_conformance::{Polled, Task};

/// A waker that does something when it is woken and something when it is dropped.
struct Mischief {
    wake: Box<dyn Fn() + Send + Sync>,
    drop: Box<dyn Fn() + Send + Sync>,
}

impl Wake for Mischief {
    fn wake(self: Arc<Self>) {
        (self.wake)();
    }
}

impl Drop for Mischief {
    fn drop(&mut self) {
        (self.drop)();
    }
}

fn mischief(
    wake: impl Fn() + Send + Sync + 'static,
    drop: impl Fn() + Send + Sync + 'static,
) -> Waker {
    Waker::from(Arc::new(Mischief { wake: Box::new(wake), drop: Box::new(drop) }))
}

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a valid root")
}

fn poll(acquire: &mut Acquire, waker: &Waker) -> Option<Guard> {
    match pin!(acquire).poll(&mut Context::from_waker(waker)) {
        Poll::Ready(guard) => Some(guard),
        Poll::Pending => None,
    }
}

#[test]
fn a_waker_may_use_the_lock() {
    let lock = TreeLock::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let stash: Arc<Mutex<Option<Guard>>> = Arc::default();
    *stash.lock().unwrap() = Some(lock.try_acquire(&write("other")).wait().unwrap());
    let use_it = {
        let (lock, calls, stash) = (lock.clone(), calls.clone(), stash.clone());
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
            drop(lock.try_acquire(&write("elsewhere")).wait());
            let _ = lock.try_acquire(&write("a")).wait();
            drop(stash.lock().unwrap().take());
            assert!(!lock.snapshot().wait().to_string().is_empty());
        }
    };
    let guard = lock.try_acquire(&write("a")).wait().unwrap();
    let mut acquire = lock.acquire(&write("a"));
    let waker = mischief(use_it.clone(), use_it);
    assert!(poll(&mut acquire, &waker).is_none());
    // Replacing a waker drops the previous one.
    assert!(poll(&mut acquire, &waker).is_none());
    drop(waker);
    assert!(poll(&mut acquire, Waker::noop()).is_none());
    assert_eq!(calls.load(Ordering::SeqCst), 1, "dropped when replaced, outside the mutex");
    drop(guard);
    assert!(poll(&mut acquire, Waker::noop()).is_some());
    assert!(stash.lock().unwrap().is_none());
}

/// A waker is dropped with its future, which is cancelled in the queue or after an unseen grant.
#[test]
fn a_waker_may_use_the_lock_when_its_future_is_cancelled() {
    for granted in [false, true] {
        let lock = TreeLock::new();
        let dropped = Arc::new(AtomicUsize::new(0));
        let guard = lock.try_acquire(&write("a")).wait().unwrap();
        let mut acquire = lock.acquire(&write("a"));
        let (inner, count) = (lock.clone(), dropped.clone());
        let use_it = move || {
            let _ = inner.try_acquire(&write("a")).wait();
            count.fetch_add(1, Ordering::SeqCst);
        };
        assert!(poll(&mut acquire, &mischief(|| (), use_it)).is_none());
        if granted {
            drop(guard);
        }
        drop(acquire);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_waker_may_drop_the_future_it_wakes() {
    let lock = TreeLock::new();
    let slot: Arc<Mutex<Option<Acquire>>> = Arc::default();
    let guard = lock.try_acquire(&write("a")).wait().unwrap();
    let mut acquire = lock.acquire(&write("a"));
    let taken = slot.clone();
    let waker = mischief(move || drop(taken.lock().unwrap().take()), || ());
    assert!(poll(&mut acquire, &waker).is_none());
    *slot.lock().unwrap() = Some(acquire);
    let mut behind = Polled::new(lock.acquire(&write("a")));
    assert!(behind.poll().is_none());
    drop(guard);
    assert!(slot.lock().unwrap().is_none(), "woken");
    assert_eq!(behind.wakes(), 1, "the grant went on to the one behind");
    assert!(behind.poll().is_some());
}

#[test]
fn a_waker_that_panics_does_not_stop_the_others() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&write("a")).wait().unwrap();
    let mut before = Polled::new(lock.acquire(&write("a/1")));
    assert!(before.poll().is_none());
    let mut acquire = lock.acquire(&write("a/2"));
    assert!(poll(&mut acquire, &mischief(|| panic!("a bad waker"), || ())).is_none());
    let mut after: Vec<Polled<Guard>> =
        (3..20).map(|i| Polled::new(lock.acquire(&write(&format!("a/{i}"))))).collect();
    assert!(after.iter_mut().all(|task| task.poll().is_none()));
    let panicked = catch_unwind(AssertUnwindSafe(|| drop(guard)));
    assert!(panicked.is_err(), "the panic is not swallowed");
    assert!(before.poll().is_some());
    assert!(after.iter_mut().all(|task| task.wakes() == 1 && task.poll().is_some()));
    assert!(poll(&mut acquire, Waker::noop()).is_some(), "even the bad one was granted");
}

/// A waker that panics during another unwinding must not abort the process.
#[test]
fn a_waker_that_panics_while_the_guard_unwinds() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&write("a")).wait().unwrap();
    let mut acquire = lock.acquire(&write("a"));
    assert!(poll(&mut acquire, &mischief(|| panic!("a bad waker"), || ())).is_none());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _guard = guard;
        panic!("the holder");
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"the holder"));
    assert!(poll(&mut acquire, Waker::noop()).is_some());
}

/// Only the waker of the latest poll is woken, because a task may have moved.
#[test]
fn the_latest_waker_is_woken() {
    let lock = TreeLock::new();
    let guard = lock.try_acquire(&write("a")).wait().unwrap();
    let mut task = Polled::new(lock.acquire(&write("a")));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let mut acquire = lock.acquire(&write("a"));
    let old = mischief(
        move || {
            counter.fetch_add(1, Ordering::SeqCst);
        },
        || (),
    );
    assert!(poll(&mut acquire, &old).is_none());
    assert!(poll(&mut acquire, Waker::noop()).is_none());
    assert!(task.poll().is_none());
    assert!(task.poll_elsewhere().is_none());
    drop(guard);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    drop(acquire);
    assert_eq!(task.wakes(), 1);
}

/// The waker of a blocked thread gets through, whatever else parks and unparks the thread.
#[test]
fn threads_hand_over_in_order() {
    let lock = TreeLock::new();
    let order: Mutex<Vec<usize>> = Mutex::default();
    let request = write("a");
    let guard = lock.acquire(&request).wait();
    thread::scope(|scope| {
        for i in 0..8 {
            let (lock, order, request) = (&lock, &order, &request);
            let thread = scope.spawn(move || {
                let _guard = lock.acquire(request).wait();
                order.lock().unwrap().push(i);
            });
            while lock.snapshot().wait().waiting().count() <= i {
                thread.thread().unpark(); // a spurious wake-up, which must not count as a grant
                thread::yield_now();
            }
        }
        drop(guard);
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn time_outs_of_every_size() {
    let lock = TreeLock::new();
    let guard = lock.acquire(&write("a")).wait();
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(5)] {
        assert!(lock.acquire(&write("a")).wait_timeout(timeout).is_none());
        assert_eq!(lock.snapshot().wait().entries.len(), 1);
    }
    thread::scope(|scope| {
        let waiter =
            scope.spawn(|| lock.acquire(&write("a")).wait_timeout(Duration::MAX).is_some());
        while lock.snapshot().wait().waiting().count() == 0 {
            thread::yield_now();
        }
        drop(guard);
        assert!(waiter.join().unwrap(), "a timeout beyond the clock never ends");
    });
}
