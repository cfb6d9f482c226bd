//! The site of an open table: its path, which file it is, and which process opened it.
//!
//! # A table that was removed
//!
//! Who makes a request must see that the table is still the one in its place. To ask the kernel
//! takes longer than everything else, so a handle asks only once in a millisecond. In return, a new
//! table opens a millisecond after it was made: until then, nobody joins it. So by the time of the
//! first request in it, all handles of a table that was there before have asked, or will ask before
//! their next request.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    error::{Doing, Error},
    kernel::{self, Identity},
    process,
};

/// The place of an open table.
pub(crate) struct Site {
    path: PathBuf,
    /// Identifies the file, whatever happens to its name.
    identity: Identity,
    /// The process that opened the table. A process forked from it has the same open file
    /// descriptions, and with them the same locks, so it must not use them.
    process: u32,
    /// When the table was last seen in its place, in nanoseconds since boot.
    seen: AtomicU64,
}

/// How many nanoseconds a handle relies on having seen the table in its place.
pub(crate) const CHECK_INTERVAL: u64 = 1_000_000;

impl Site {
    /// Returns the site of a file that this process has opened at `path`.
    pub(crate) fn new(path: PathBuf, file: &File) -> Result<Site, Error> {
        let (identity, _) = kernel::identify_open(file).doing("read", &path)?;
        Ok(Site { path, identity, process: process::id(), seen: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().expect("a table is in a directory")
    }

    /// Returns the process that opened the table.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Returns whether this process opened the table.
    pub(crate) fn is_own(&self) -> bool {
        process::is(self.process)
    }

    /// Returns whether an open file is the table.
    pub(crate) fn is(&self, file: &File) -> Result<bool, Error> {
        let (identity, _) = kernel::identify_open(file).doing("read", &self.path)?;
        Ok(identity == self.identity)
    }

    /// Returns whether the table is still the one in its place. If that cannot be determined, it
    /// counts as gone.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.is_there(), Ok(true))
    }

    /// Returns whether the table is still the one in its place.
    pub(crate) fn is_there(&self) -> Result<bool, Error> {
        let found = kernel::identify(&self.path).doing("look for", &self.path)?;
        let is_there = found.is_some_and(|(identity, _)| identity == self.identity);
        if !is_there {
            // Whoever has heard of the loss sees the new table with its next request.
            self.seen.store(0, Ordering::Relaxed);
        }
        Ok(is_there)
    }

    /// Returns whether the table was in its place a moment ago. `now` is the time since boot.
    pub(crate) fn was_there(&self, now: u64) -> Result<bool, Error> {
        let seen = self.seen.load(Ordering::Relaxed);
        if now.wrapping_sub(seen) < CHECK_INTERVAL {
            return Ok(true);
        }
        let is_there = self.is_there()?;
        if is_there {
            self.seen.store(now, Ordering::Relaxed);
        }
        Ok(is_there)
    }

    pub(crate) fn damaged(&self) -> Error {
        Error::Damaged { path: self.path.clone() }
    }

    pub(crate) fn lost(&self) -> Error {
        Error::Lost { path: self.path.clone() }
    }
}
