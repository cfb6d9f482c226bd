//! `MemLs` of the crate `dav-server`: WebDAV's sub-tree locks, kept in a tree behind a mutex.
//!
//! It never waits either: a conflict returns the lock that is in the way.

use dav_server::davpath::DavPath;
use dav_server::ls::DavLockSystem;
use dav_server::memls::MemLs;

use super::peer::Peer;
use crate::poll::ready;

/// A `MemLs` that takes deep locks.
pub struct DavMemLs(Box<MemLs>);

/// A WebDAV lock with what its release needs.
pub struct DavHeld<'a> {
    locks: &'a MemLs,
    path: DavPath,
    token: String,
}

impl Peer for DavMemLs {
    const NAME: &'static str = "dav-server MemLs";
    type Held<'a> = DavHeld<'a>;

    fn new() -> Self {
        DavMemLs(MemLs::new())
    }

    fn write(&self, path: &str) -> DavHeld<'_> {
        let path = DavPath::new(path).expect("the paths of the benchmark are valid");
        let lock = ready(self.0.lock(&path, None, None, None, false, true));
        let token = lock.expect("the lock is free").token;
        DavHeld { locks: &self.0, path, token }
    }
}

impl Drop for DavHeld<'_> {
    fn drop(&mut self) {
        ready(self.locks.unlock(&self.path, &self.token)).expect("it is held");
    }
}
