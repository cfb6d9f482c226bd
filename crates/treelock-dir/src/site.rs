//! The site of an open table: its path, which file it is, and which process opened it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process,
};

use crate::{
    error::{Doing, Error},
    kernel::{self, Identity},
};

/// The place of an open table.
pub(crate) struct Site {
    path: PathBuf,
    /// Identifies the file, whatever happens to its name.
    identity: Identity,
    /// The process that opened the table. A process forked from it has the same open file
    /// descriptions, and with them the same locks, so it must not use them.
    process: u32,
}

impl Site {
    /// Returns the site of a file that this process has opened at `path`.
    pub(crate) fn new(path: PathBuf, file: &File) -> Result<Site, Error> {
        let (identity, _) = kernel::identify_open(file).doing("read", &path)?;
        Ok(Site { path, identity, process: process::id() })
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
        self.process == process::id()
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
        Ok(found.is_some_and(|(identity, _)| identity == self.identity))
    }

    pub(crate) fn damaged(&self) -> Error {
        Error::Damaged { path: self.path.clone() }
    }

    pub(crate) fn lost(&self) -> Error {
        Error::Lost { path: self.path.clone() }
    }
}
