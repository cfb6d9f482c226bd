//! Places for locks between processes, and the locks that others hold there.

use std::path::Path;

use tempfile::TempDir;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Guard};

/// Returns a directory that is removed with the value.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a place for temporary files")
}

/// Holds write locks on siblings in one directory, which nothing else requests.
pub(super) fn hold(place: &Path, count: usize) -> Vec<Guard> {
    let lock = DirLock::new(place.join("locks"));
    let request = |index| Request::new().write(format!("/held/dir01/dir02/leaf{index}").as_str());
    let hold = |index| lock.try_acquire(&request(index).expect("the path is valid")).wait();
    (0..count).map(|index| hold(index).expect("nothing is in the way")).collect()
}
