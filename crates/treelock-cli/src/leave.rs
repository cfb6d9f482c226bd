//! Giving back, at the end of the program.

use std::time::Duration;

use treelock_any::Guard;

use crate::{events::Events, lock::Lock, output::say};

/// How long a program that gives up its place waits for etcd's word. Short, since Ctrl-C may end
/// the wait.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a program that releases waits for it. Nobody waits for the program, and those behind it
/// in the line gain by it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until what was asked for and dropped is given back. On one host it is so at once.
pub(crate) fn settle(lock: &Lock, events: &Events) {
    if events.within(LEAVE_TIMEOUT, lock.any.close()).is_none() {
        let ttl = lock.ttl().as_secs();
        say(&format!("etcd does not answer; the place in the line is free in about {ttl} s"));
    }
}

/// Releases, for all who inherited the lock too. Says so if it does not get through.
pub(crate) fn release(lock: &Lock, guard: Guard, events: &Events, say: impl FnOnce(&str)) {
    let release = async {
        guard.release().await;
        lock.any.close().await;
    };
    if events.within(RELEASE_TIMEOUT, release).is_none() {
        let ttl = lock.ttl().as_secs();
        say(&format!("etcd does not answer; the lock is free in about {ttl} s"));
    }
}
