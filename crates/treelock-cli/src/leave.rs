//! Gives locks and places in line back at the end of the program.

use std::time::Duration;

use treelock_any::Guard;

use crate::{events::Events, lock::Lock, output::say};

/// How long a program that gives up its place waits for etcd to confirm. Short, because it may be
/// ending after Ctrl-C.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a program that releases a lock waits for etcd to confirm. Longer, because no user is
/// waiting for the program, and the requests behind it in line benefit.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until dropped requests are given back. On one host that is immediate.
pub(crate) fn settle(lock: &Lock, events: &Events) {
    if events.within(LEAVE_TIMEOUT, lock.any.close()).is_none() {
        let ttl = lock.ttl().as_secs();
        say(&format!("etcd does not answer; the place in line will be free in about {ttl} s"));
    }
}

/// Releases the lock, also for all processes that inherited it. Says so if the release does not
/// reach etcd.
pub(crate) fn release(lock: &Lock, guard: Guard, events: &Events, say: impl FnOnce(&str)) {
    let release = async {
        guard.release().await;
        lock.any.close().await;
    };
    if events.within(RELEASE_TIMEOUT, release).is_none() {
        let ttl = lock.ttl().as_secs();
        say(&format!("etcd does not answer; the lock will be free in about {ttl} s"));
    }
}
