//! A place of its own for each test, and the few values that all tests use.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Error, Guard};

/// Longer than anything here takes, so that only a lost event is late.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A directory that is removed with the test, and the lock in it, which has not been created yet.
#[derive(Clone)]
pub(crate) struct Scratch {
    folder: Arc<TempDir>,
    pub(crate) lock: DirLock,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let folder = tempfile::tempdir().expect("a place for temporary files");
        let lock = DirLock::new(folder.path().join("locks"));
        Scratch { folder: Arc::new(folder), lock }
    }

    /// Returns the directory above the lock's.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.lock.path().join("table")
    }

    /// Returns the table, opened directly instead of through the lock.
    pub(crate) fn raw_table(&self) -> File {
        let table = File::options().read(true).write(true).open(self.table());
        table.expect("a table that exists")
    }

    /// Returns how many bytes of tables this process has locked.
    pub(crate) fn locks_of_this_process() -> usize {
        let files = fs::read_dir("/proc/self/fdinfo").expect("/proc").filter_map(Result::ok);
        let text = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        text.map(|text| text.matches("OFDLCK").count()).sum()
    }

    /// Checks that the table has no live requests, that everything in it can be acquired, and that
    /// nothing in it is wrong.
    pub(crate) fn assert_at_rest(&self) {
        let snapshot = self.lock.snapshot().wait().expect("a table that can be read");
        assert!(snapshot.entries.is_empty(), "left behind:\n{snapshot}");
        let guard = self.lock.try_acquire(&write("/")).wait().expect("nothing is in the way");
        self.assert_sound();
        drop(guard);
    }
}

pub(crate) fn write(node: &str) -> Request {
    Request::new().write(node).expect("a valid node")
}

pub(crate) fn read(node: &str) -> Request {
    Request::new().read(node).expect("a valid node")
}

/// Returns a request whose record takes several cells.
pub(crate) fn long(node: &str) -> Request {
    write(node).with_label("long ".repeat(200))
}

/// Acquiring with a time limit.
pub(crate) trait AcquireWithin {
    /// Makes a request, waits for `limit`, and then gives up.
    fn acquire_within(&self, request: &Request, limit: Duration) -> Result<Guard, Error>;
}

impl AcquireWithin for DirLock {
    fn acquire_within(&self, request: &Request, limit: Duration) -> Result<Guard, Error> {
        let mut acquire = self.acquire(request);
        match acquire.wait_timeout(limit) {
            Some(granted) => granted,
            None => acquire.give_up().wait(),
        }
    }
}

/// Waits until something has happened.
///
/// # Panics
///
/// Panics if it has not happened within [`LONG`].
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// Returns the processes that wait, the first in line first.
pub(crate) fn waiters(lock: &DirLock) -> Vec<u32> {
    let snapshot = lock.snapshot().wait().expect("a table");
    let pid = |entry: &treelock::Entry| entry.process.as_ref().expect("each has one").pid;
    snapshot.waiting().map(pid).collect()
}
