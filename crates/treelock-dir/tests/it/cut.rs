//! Tables that are cut short, emptied, or replaced by something else.

use std::fs;

use treelock::{Wait, engine::Severity};
use treelock_dir::{DirLock, Error};

use crate::{
    raw::CELL,
    scratch::{Scratch, write},
};

#[test]
fn what_is_not_a_table_is_refused_and_kept() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.lock.path()).expect("a scratch directory");
    for text in ["a list of tables and chairs\n".repeat(100), "treelock table of 2050".repeat(50)] {
        fs::write(scratch.table(), &text).expect("room");
        let error = scratch.lock.try_acquire(&write("a")).wait().expect_err("not a table");
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert!(scratch.lock.snapshot().wait().is_err());
        let found = scratch.lock.check().wait().expect("a directory that can be checked");
        assert!(found.iter().any(|finding| finding.severity == Severity::Bad), "{found:?}");
        assert_eq!(fs::read_to_string(scratch.table()).expect("still there"), text);
    }
}

/// A file that is far too long is not read into memory.
#[test]
fn a_file_longer_than_any_table() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    scratch.raw_table().set_len(1 << 40).expect("a file with a hole");
    let error = scratch.lock.try_acquire(&write("a")).wait().expect_err("it is no table");
    assert!(error.to_string().contains("longer than any lock table"), "{error}");
    assert!(scratch.lock.snapshot().wait().is_err());
}

/// Tests a table that is emptied, or cut within its header, after it, or within the cells.
#[test]
fn a_table_cut_short_in_use_is_refused_until_its_users_have_left() {
    for length in [0, 100, CELL as u64, CELL as u64 + 100] {
        let scratch = Scratch::new();
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
        scratch.raw_table().set_len(length).expect("a scratch file");
        let another = DirLock::new(scratch.lock.path());
        for lock in [&scratch.lock, &another] {
            let error = lock.try_acquire(&write("a/b")).wait().err();
            let error = error.unwrap_or_else(|| panic!("two hold it, cut to {length}"));
            assert!(matches!(error, Error::Damaged { .. }), "{error}, cut to {length}");
        }
        let before = guard.token();
        drop(guard);
        let guard = another.try_acquire(&write("a")).wait().expect("it is no longer in use");
        assert!(guard.token() > before);
    }
}

/// A table that had grown is recognised as cut short even if all of its initial size is left.
#[test]
fn a_table_that_has_grown_and_was_cut_short() {
    let scratch = Scratch::new();
    let guards = scratch.crowd(20);
    let grown = scratch.size();
    scratch.raw_table().set_len(grown / 2).expect("a scratch file");
    for lock in [&scratch.lock, &DirLock::new(scratch.lock.path())] {
        let error = lock.try_acquire(&write("crowd/19")).wait().expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    drop(guards);
    drop(scratch.lock.try_acquire(&write("crowd/19")).wait().expect("it is no longer in use"));
    scratch.assert_at_rest();
}

/// A handle that remembers its last place finds that the table was emptied at rest and started
/// again: its former ticket now belongs to another request.
#[test]
fn a_table_that_was_emptied_and_begun_anew() {
    let scratch = Scratch::new();
    drop(scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free"));
    scratch.raw_table().set_len(0).expect("a scratch file");
    let another = DirLock::new(scratch.lock.path());
    let guard = another.try_acquire(&write("a")).wait().expect("a new table is free");
    let error = scratch.lock.try_acquire(&write("a/b")).wait().expect_err("it is held");
    assert_eq!(error.blocked().map(|blocked| blocked.ticket), Some(guard.ticket()));
    let beside = scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    assert_eq!(another.snapshot().wait().expect("a table").held().count(), 2);
    drop((guard, beside));
    scratch.assert_at_rest();
}

/// An empty file in which tickets are live does not look unused.
#[test]
fn a_table_that_was_emptied_in_use_cannot_be_shown() {
    let scratch = Scratch::new();
    let guard = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    scratch.raw_table().set_len(0).expect("a scratch file");
    let error = scratch.lock.snapshot().wait().expect_err("it is unknown which requests hold");
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    drop(guard);
    assert!(scratch.lock.snapshot().wait().expect("it is not in use").entries.is_empty());
}

/// Requests that leave an emptied table may make it longer again, with zeros for a header.
#[test]
fn a_table_that_was_emptied_in_use_and_written_to() {
    let scratch = Scratch::new();
    let mut crowd = scratch.crowd(3);
    scratch.raw_table().set_len(0).expect("a scratch file");
    let last = crowd.pop();
    drop(crowd);
    assert!(scratch.size() > CELL as u64, "one of them has freed its cell");
    for lock in [&scratch.lock, &DirLock::new(scratch.lock.path())] {
        let error = lock.try_acquire(&write("crowd/2")).wait().expect_err("it is held");
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
    drop(last);
    drop(scratch.lock.try_acquire(&write("crowd/2")).wait().expect("it is no longer in use"));
    scratch.assert_at_rest();
}

/// A handle that was open before continues to work when nothing uses the table.
#[test]
fn a_table_that_was_emptied_at_rest_is_begun_anew_by_its_old_handles() {
    for length in [0, 100, 256, 1000] {
        let scratch = Scratch::new();
        let before =
            scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free").token();
        scratch.raw_table().set_len(length).expect("a scratch file");
        let guard = scratch.lock.try_acquire(&write("a")).wait().expect("it is not in use");
        assert!(guard.token() > before, "{length}");
        assert_eq!(scratch.lock.snapshot().wait().expect("a table").held().count(), 1, "{length}");
    }
}

/// An unused table shows no requests, whatever happened to its bytes, even before a request repairs
/// it.
#[test]
fn a_damaged_table_that_nobody_uses_shows_nobody() {
    let scratch = Scratch::new();
    let one = scratch.lock.try_acquire(&write("a")).wait().expect("a new lock is free");
    let two = scratch.lock.try_acquire(&write("b")).wait().expect("nothing is in the way");
    scratch.raw_table().set_len(0).expect("a scratch file");
    assert!(scratch.lock.snapshot().wait().is_err());
    drop(one);
    assert!(scratch.lock.snapshot().wait().is_err());
    drop(two); // marks its cell as free in a file that has no header
    assert!(scratch.lock.snapshot().wait().expect("it is not in use").entries.is_empty());
    assert!(scratch.lock.blocked(&write("/")).wait().expect("it is not in use").is_none());
    scratch.assert_at_rest();
}
