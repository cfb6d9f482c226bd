//! Where an open table is: its path, which file it is, and which process opened it.

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
    /// What the file is, whatever becomes of its name.
    identity: Identity,
    /// The process that opened it. A process that it forked has the same open file descriptions,
    /// and with them the same locks, so it must not use them.
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
        self.path.parent().expect("a table lies in a directory")
    }

    /// Returns the process that opened the table.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Returns whether it was this process that opened the table.
    pub(crate) fn is_own(&self) -> bool {
        self.process == process::id()
    }

    /// Returns whether an open file is the table.
    pub(crate) fn is(&self, file: &File) -> Result<bool, Error> {
        let (identity, _) = kernel::identify_open(file).doing("read", &self.path)?;
        Ok(identity == self.identity)
    }

    /// Returns whether the table is still the one in its place. If that cannot be seen, it is not.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.size(), Ok(Some(_)))
    }

    /// Returns the size of the table in bytes, if it is still the one in its place.
    pub(crate) fn size(&self) -> Result<Option<u64>, Error> {
        let found = kernel::identify(&self.path).doing("look for", &self.path)?;
        Ok(found.filter(|(identity, _)| *identity == self.identity).map(|(_, size)| size))
    }

    pub(crate) fn damaged(&self) -> Error {
        Error::Damaged { path: self.path.clone() }
    }

    pub(crate) fn lost(&self) -> Error {
        Error::Lost { path: self.path.clone() }
    }
}
