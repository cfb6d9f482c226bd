//! The directory of a lock.

use treelock::{Wait, engine::Severity};
use treelock_dir::DirLock;

use crate::{
    helper::is_alone,
    scratch::{Scratch, write},
};

#[test]
fn no_directory_no_requests() {
    let scratch = Scratch::new();
    let lock = &scratch.lock;
    let look = || {
        assert!(lock.snapshot().wait().expect("nothing to read").entries.is_empty());
        assert!(lock.blocked(&write("a")).wait().expect("nothing to read").is_none());
        assert_eq!(lock.processes(1).expect("nothing to read"), [0; 0]);
        let found = lock.check().wait().expect("a place that can be checked");
        assert!(found.iter().all(|finding| finding.severity < Severity::Bad), "{found:?}");
        let says = "there is no lock table in";
        assert!(found.iter().any(|finding| finding.what.starts_with(says)), "{found:?}");
    };
    look();
    assert!(!lock.path().exists(), "looking makes nothing");
    std::fs::create_dir(lock.path()).expect("a scratch directory");
    look();
    assert_eq!(std::fs::read_dir(lock.path()).expect("just made").count(), 0);
    let below_a_file = DirLock::new("/dev/null/locks");
    let error = below_a_file.try_acquire(&write("a")).wait().expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/locks"), "{error}");
    let error = below_a_file.snapshot().wait().expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/locks"), "{error}");
    let found = below_a_file.check().wait().expect("a place that can be checked");
    let bad = found.iter().find(|finding| finding.severity == Severity::Bad);
    let bad = bad.expect("no request can make a directory there");
    assert!(bad.what.contains("/dev/null/locks"), "{bad}");
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
