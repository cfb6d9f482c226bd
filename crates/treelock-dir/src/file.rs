//! The file of a table: creating, opening, reading and latching it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    },
    path::Path,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    libc,
    unistd::linkat,
};

use crate::{
    error::{Doing, Error},
    format::cells::{self, CELL_BYTES},
    kernel::{self, FileSystem, Kind},
};

/// The name of the table in its directory.
pub(crate) const TABLE_NAME: &str = "table";

/// The byte of the latch: a process that locks it may read the table and enter a request.
pub(crate) const LATCH: u64 = 0;

/// A table grows by multiples of this many bytes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// The maximum size of a table in bytes. A larger one would have millions of live requests.
pub(crate) const TABLE_BYTES_MAX: u64 = 1 << 30;

/// The latch, held until it is dropped.
pub(crate) struct Latch<'a>(&'a File);

impl Latch<'_> {
    pub(crate) fn new(file: &File, kind: Kind) -> io::Result<Latch<'_>> {
        kernel::lock(file, LATCH, kind)?;
        Ok(Latch(file))
    }

    /// Takes the latch if it is free.
    pub(crate) fn attempt(file: &File, kind: Kind) -> io::Result<Option<Latch<'_>>> {
        Ok(kernel::try_lock(file, LATCH, kind)?.then_some(Latch(file)))
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        kernel::unlock(self.0, LATCH);
    }
}

/// Reads the first `size` bytes of a file, or all of it if it has become shorter. To miss a record
/// would be to miss a conflict, so a short read is continued.
pub(crate) fn read<'a>(file: &File, size: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if size > TABLE_BYTES_MAX {
        return Err(io::Error::other("it is longer than any lock table"));
    }
    let size = size as usize;
    // Memory that a crowd needed is not kept forever.
    if buffer.len() < size || buffer.len() > 16 * size.max(PAGE_BYTES) {
        buffer.resize(size, 0);
        buffer.shrink_to_fit();
    }
    let mut length = 0;
    while length < size {
        match file.read_at(&mut buffer[length..size], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..length])
}

/// Reads the whole file.
pub(crate) fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let (_, size) = kernel::identify_open(file)?;
    let length = read(file, size, &mut buffer)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// Checks that these bytes are a table.
pub(crate) fn check(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = || path.to_path_buf();
    // If a table was cut short and its users then freed their cells, the header is zeros.
    let Some(header) =
        bytes.first_chunk::<CELL_BYTES>().filter(|header| **header != [0; CELL_BYTES])
    else {
        return Err(Error::Damaged { path: path() });
    };
    match cells::foreign(header) {
        Some(what) => Err(Error::Foreign { path: path(), what }),
        None if cells::is_cut_short(header, bytes.len() / CELL_BYTES - 1) => {
            Err(Error::Damaged { path: path() })
        }
        None => Ok(()),
    }
}

/// Opens a table. Follows no link, and does not block on a pipe.
pub(crate) fn open(path: &Path, how: &mut OpenOptions) -> Result<File, Error> {
    let file = how.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.doing("open the lock table", path)?;
    match kernel::is_regular(&file).doing("read", path)? {
        true => Ok(file),
        false => Err(Error::Foreign { path: path.into(), what: "it is not a file".into() }),
    }
}

/// Opens a table, or creates it if it is missing. Never uses `O_CREAT` if the file exists: in a
/// world-writable directory, Linux can be configured to refuse that for another user's file
/// (`fs.protected_regular`).
pub(crate) fn open_or_make(path: &Path, directory: &Path) -> Result<File, Error> {
    loop {
        match open(path, OpenOptions::new().read(true).write(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            file => return file,
        }
        match make(path, directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.doing("create the lock table", path)?,
        }
    }
}

/// Creates a table with its permissions and its header before it has its name, so that no process
/// finds a half-made table.
fn make(path: &Path, directory: &Path) -> io::Result<()> {
    match make_unnamed(path, directory) {
        // A few file systems lack unnamed files, and a process may be unable to see /proc.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT)
            ) =>
        {
            let named = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            share(&named, directory);
            Ok(())
        }
        made => made,
    }
}

fn make_unnamed(path: &Path, directory: &Path) -> io::Result<()> {
    let mut how = OpenOptions::new();
    how.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE);
    let file = how.open(directory)?;
    share(&file, directory);
    file.write_all_at(&first_page(), 0)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, follow)?)
}

/// Returns the bytes of a new table.
pub(crate) fn first_page() -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[..CELL_BYTES].copy_from_slice(&cells::header(PAGE_BYTES / CELL_BYTES - 1));
    page
}

/// Returns the permissions for the table in a directory with these permissions. Any user who may
/// write to the directory may use the table, whatever the umask of the process that created it. No
/// one else may read it, since any reader can hold the latch.
pub(crate) fn rights(directory: u32) -> u32 {
    let class = |write: u32, both: u32| if directory & write == 0 { 0 } else { both };
    0o600 | class(0o020, 0o060) | class(0o002, 0o006)
}

/// Gives a table the permissions and the group of its directory.
pub(crate) fn share(file: &File, directory: &Path) {
    // If the file belongs to another user, that user has done it.
    let _ = fs::metadata(directory).and_then(|found| {
        let _ = fchown(file, None, Some(found.gid()));
        file.set_permissions(fs::Permissions::from_mode(rights(found.mode())))
    });
}

/// Refuses a directory on a file system that several hosts may share.
pub(crate) fn refuse_shared(directory: &Path) -> Result<(), Error> {
    match kernel::file_system(directory).doing("examine the file system of", directory)? {
        FileSystem::Network(kind) => Err(Error::Shared { path: directory.to_path_buf(), kind }),
        _ => Ok(()),
    }
}
