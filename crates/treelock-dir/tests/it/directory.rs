//! The directory of a lock.

use treelock::Wait;
use treelock_dir::DirLock;

use crate::{
    helper::is_alone,
    scratch::{Scratch, write},
};

#[test]
fn no_directory_no_requests() {
    let Scratch { lock, .. } = &Scratch::new();
    assert!(lock.snapshot().wait().expect("nothing to read").entries.is_empty());
    assert!(!lock.path().exists(), "looking makes nothing");
    let below_a_file = DirLock::new("/dev/null/locks");
    let error = below_a_file.try_acquire(&write("a")).wait().expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/locks"), "{error}");
}

/// A lock with a relative path is the same lock even if the process changes its working directory.
#[test]
fn a_process_that_changes_its_directory() {
    if !is_alone("directory::a_process_that_changes_its_directory", &[&[]]) {
        return;
    }
    let scratch = Scratch::new();
    std::env::set_current_dir(scratch.path()).expect("a scratch directory");
    let relative = DirLock::new("locks");
    let guard = relative.try_acquire(&write("a")).wait().expect("a new lock is free");
    std::env::set_current_dir("/").expect("it is there");
    assert!(guard.is_valid(), "the table is untouched");
    assert!(scratch.lock.try_acquire(&write("a")).wait().is_err(), "it is held");
    let again = relative.try_acquire(&write("b")).wait().expect("nothing is in the way");
    assert_eq!(scratch.lock.snapshot().wait().expect("a table").held().count(), 2);
    drop((guard, again));
}
