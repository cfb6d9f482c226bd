//! The real files: read once, capped, and dealt out to folders.

use std::fmt;
use std::path::{Path, PathBuf};

use object_store::path::Path as Location;

use crate::error::Result;

/// The name of the object that says what belongs to a folder.
pub(crate) const MANIFEST: &str = "MANIFEST.json";

const FILES_MAX: usize = 2_000;
const BYTES_MAX: u64 = 64 << 20;
const BYTES_PER_FILE_MAX: u64 = 1 << 20;
const FILES_PER_FOLDER: usize = 6;

/// A real file: its name below the directory, and what is in it.
pub(crate) struct File {
    pub(crate) name: Location,
    pub(crate) bytes: Vec<u8>,
}

/// All files used, and what was left out.
pub(crate) struct Source {
    directory: PathBuf,
    files: Vec<File>,
    bytes: u64,
    too_large: usize,
    capped: bool,
}

impl Source {
    pub(crate) fn read(directory: &Path) -> Result<Source> {
        let directory = directory
            .canonicalize()
            .map_err(|error| format!("cannot open {}: {error}", directory.display()))?;
        let mut source = Source {
            files: Vec::new(),
            bytes: 0,
            too_large: 0,
            capped: false,
            directory: directory.clone(),
        };
        source.walk(&directory)?;
        if source.files.is_empty() {
            let text = format!("{} has no files to use; name another", directory.display());
            return Err(text.into());
        }
        Ok(source)
    }

    /// Goes through a directory in the order of names, so that a cap cuts the same everywhere.
    fn walk(&mut self, directory: &Path) -> Result<()> {
        let entries = std::fs::read_dir(directory)
            .map_err(|error| format!("cannot read {}: {error}", directory.display()))?;
        let mut entries: Vec<_> = entries.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let is_skipped = name == "target" || name.as_encoded_bytes().starts_with(b".");
            if self.capped || is_skipped {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.walk(&entry.path())?;
            } else if kind.is_file() {
                self.take(&entry.path());
            }
        }
        Ok(())
    }

    /// Takes one file, unless it is unreadable, too large, one too many, or has a name that a
    /// local object store keeps for itself.
    fn take(&mut self, path: &Path) {
        let Ok(bytes) = std::fs::read(path) else { return };
        let name = path.strip_prefix(&self.directory).ok().and_then(Path::to_str);
        let Some(name) = name.and_then(|name| Location::parse(name).ok()) else { return };
        if name.as_ref().contains('#') || name.as_ref() == MANIFEST {
            return;
        }
        let size = bytes.len() as u64;
        if size > BYTES_PER_FILE_MAX {
            self.too_large += 1;
        } else if self.files.len() == FILES_MAX || self.bytes + size > BYTES_MAX {
            self.capped = true;
        } else {
            self.bytes += size;
            self.files.push(File { name, bytes });
        }
    }

    /// Returns the files of the `index`-th folder: the next few, from the first again after the
    /// last.
    pub(crate) fn files(&self, index: usize) -> &[File] {
        let folders = self.files.len().div_ceil(FILES_PER_FOLDER);
        let start = (index % folders) * FILES_PER_FOLDER;
        &self.files[start..self.files.len().min(start + FILES_PER_FOLDER)]
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.bytes.div_ceil(1024);
        write!(f, "{} files, {kib} KiB, from {}", self.files.len(), self.directory.display())?;
        if self.capped {
            write!(f, "; CAPPED at {FILES_MAX} files and {} MiB, the rest is", BYTES_MAX >> 20)?;
            write!(f, " not used")?;
        }
        if self.too_large > 0 {
            write!(f, "; {} above {} MiB not used", self.too_large, BYTES_PER_FILE_MAX >> 20)?;
        }
        Ok(())
    }
}
