//! The hand-offs under every interleaving (up to three preemptions), by the loom model checker.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p treelock --test loom`, or `cargo xtask loom`.
#![cfg(loom)]

use std::{pin::pin, task::Waker, time::Duration};

use loom::{
    future::block_on,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use treelock::{Request, TreeLock, Wait};

fn model(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(test);
}

fn write(root: &str) -> Request {
    Request::new().write(root).expect("a good root")
}

fn read(root: &str) -> Request {
    Request::new().read(root).expect("a good root")
}

/// Counts who is inside; a second one inside is the lock's failure.
#[derive(Clone, Default)]
struct Section(Arc<AtomicUsize>);

impl Section {
    fn alone(&self) {
        assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "two at once");
        thread::yield_now();
        assert_eq!(self.0.fetch_sub(1, Ordering::SeqCst), 1, "two at once");
    }
}

fn assert_empty(lock: &TreeLock) {
    let snapshot = lock.snapshot().wait();
    assert!(snapshot.entries.is_empty(), "left behind:\n{snapshot}");
}

/// A release hands over to a waiting future: no wake-up is lost between its check and its sleep.
#[test]
fn hand_off() {
    model(|| {
        let (lock, section) = (TreeLock::new(), Section::default());
        let threads = [write("a"), write("a/b")].map(|request| {
            let (lock, section) = (lock.clone(), section.clone());
            thread::spawn(move || {
                let guard = block_on(lock.acquire(&request));
                section.alone();
                drop(guard);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_empty(&lock);
    });
}

/// The same with blocked threads, and with one of each.
#[test]
fn hand_off_to_threads() {
    model(|| {
        let (lock, section) = (TreeLock::new(), Section::default());
        let (other, its_section) = (lock.clone(), section.clone());
        let thread = thread::spawn(move || {
            let guard = other.acquire(&write("a")).wait();
            its_section.alone();
            drop(guard);
        });
        let guard = block_on(lock.acquire(&read("a/b")));
        section.alone();
        drop(guard);
        thread.join().unwrap();
        assert_empty(&lock);
    });
}

/// A future is dropped while the holder releases: granted, waiting or neither, the one behind goes on.
#[test]
fn cancel_against_grant() {
    model(|| {
        let lock = TreeLock::new();
        let holder = lock.try_acquire(&write("a")).wait().unwrap();
        let mut leaver = Box::pin(lock.acquire(&write("a")));
        let mut context = std::task::Context::from_waker(Waker::noop());
        assert!(leaver.as_mut().poll(&mut context).is_pending());
        let behind = {
            let lock = lock.clone();
            thread::spawn(move || drop(block_on(lock.acquire(&read("a")))))
        };
        let cancel = thread::spawn(move || drop(leaver));
        drop(holder);
        cancel.join().unwrap();
        behind.join().unwrap();
        assert_empty(&lock);
    });
}

/// Two requests with two roots each that overlap crosswise can never wait for each other (C4).
#[test]
fn two_overlapping_requests_of_two_roots() {
    model(|| {
        let (lock, section) = (TreeLock::new(), Section::default());
        let crosswise = [("a/x", "b"), ("b/y", "a")];
        let threads = crosswise.map(|(one, two)| {
            let (lock, section) = (lock.clone(), section.clone());
            thread::spawn(move || {
                let request = Request::new().write(one).unwrap().write(two).unwrap();
                let guard = lock.acquire(&request).wait();
                section.alone();
                drop(guard);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_empty(&lock);
    });
}

/// A release against a blocking waiter whose time is over: it has the lock or it has left, never half.
/// The model lets a time-out end after one chance of the others (`sync.rs`).
#[test]
fn release_against_time_out() {
    model(|| {
        let (lock, section) = (TreeLock::new(), Section::default());
        let holder = lock.try_acquire(&write("a")).wait().unwrap();
        let waiter = {
            let (lock, section) = (lock.clone(), section.clone());
            thread::spawn(move || {
                let mut acquire = lock.acquire(&write("a"));
                let granted = acquire.wait_timeout(Duration::from_secs(1));
                match granted.map_or_else(|| acquire.give_up().wait(), Ok) {
                    Ok(guard) => {
                        section.alone();
                        drop(guard);
                    }
                    Err(blocked) => assert!((1..=2).contains(&blocked.ahead), "{blocked}"),
                }
            })
        };
        let behind = {
            let (lock, section) = (lock.clone(), section.clone());
            thread::spawn(move || {
                let guard = lock.acquire(&write("a")).wait();
                section.alone();
                drop(guard);
            })
        };
        section.alone();
        drop(holder);
        waiter.join().unwrap();
        behind.join().unwrap();
        assert_empty(&lock);
    });
}

/// A blocked thread whose time is over waits again: it kept its place, and no wake-up is lost between.
#[test]
fn release_against_waiting_again() {
    model(|| {
        let (lock, section) = (TreeLock::new(), Section::default());
        let holder = lock.try_acquire(&write("a")).wait().unwrap();
        let waiter = {
            let (lock, section) = (lock.clone(), section.clone());
            thread::spawn(move || {
                let mut acquire = lock.acquire(&write("a"));
                let granted = acquire.wait_timeout(Duration::from_secs(1));
                let guard = granted.unwrap_or_else(|| acquire.wait());
                section.alone();
                drop(guard);
            })
        };
        section.alone();
        drop(holder);
        waiter.join().unwrap();
        assert_empty(&lock);
    });
}

/// A task moves to another executor, so its waker is replaced, while it is being granted.
#[test]
fn a_new_waker_against_the_grant() {
    model(|| {
        let lock = TreeLock::new();
        let holder = lock.try_acquire(&write("a")).wait().unwrap();
        let acquire = lock.acquire(&write("a"));
        let release = thread::spawn(move || drop(holder));
        let mut acquire = pin!(acquire);
        let mut context = std::task::Context::from_waker(Waker::noop());
        let polled = acquire.as_mut().poll(&mut context);
        match polled {
            std::task::Poll::Ready(guard) => drop(guard),
            std::task::Poll::Pending => drop(block_on(acquire)),
        }
        release.join().unwrap();
        assert_empty(&lock);
    });
}
