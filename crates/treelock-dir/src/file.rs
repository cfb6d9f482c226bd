//! The file of a table: how it is made, opened, read and latched.

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
    kernel::{self, FileSystem, Kind},
    record::{self, CELL},
};

/// The name of the table in its directory.
pub(crate) const NAME: &str = "table";

/// The byte whose lock lets one at a time look and enter.
pub(crate) const LATCH: u64 = 0;

/// What a table grows by.
pub(crate) const PAGE: usize = 4096;

/// No table is longer: it would have millions of live requests.
const LONGEST: u64 = 1 << 30;

/// The latch, held until it is dropped.
pub(crate) struct Latch<'a>(&'a File);

impl Latch<'_> {
    pub(crate) fn new(file: &File, kind: Kind) -> io::Result<Latch<'_>> {
        kernel::lock(file, LATCH, kind)?;
        Ok(Latch(file))
    }

    /// The latch, if nobody has it.
    pub(crate) fn attempt(file: &File, kind: Kind) -> io::Result<Option<Latch<'_>>> {
        Ok(kernel::try_lock(file, LATCH, kind)?.then_some(Latch(file)))
    }
}

impl Drop for Latch<'_> {
    fn drop(&mut self) {
        kernel::unlock(self.0, LATCH);
    }
}

/// The first `size` bytes of a file, or all if it has become shorter. A record overlooked would be a
/// conflict overlooked, so a read that ends early goes on.
pub(crate) fn read<'a>(file: &File, size: u64, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if size > LONGEST {
        return Err(io::Error::other("it is longer than any lock table"));
    }
    let size = size as usize;
    // What a crowd needed is not kept for ever.
    if buffer.len() < size || buffer.len() > 16 * size.max(PAGE) {
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

/// The whole file.
pub(crate) fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let (_, size) = kernel::identify_open(file)?;
    let length = read(file, size, &mut buffer)?.len();
    buffer.truncate(length);
    Ok(buffer)
}

/// See that these are the bytes of a table.
pub(crate) fn check(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let path = || path.to_path_buf();
    // Zeros are where a table was cut short and its users went on to free their cells.
    let Some(header) = bytes.first_chunk::<CELL>().filter(|header| **header != [0; CELL]) else {
        return Err(Error::Damaged { path: path() });
    };
    match record::foreign(header) {
        Some(what) => Err(Error::Foreign { path: path(), what }),
        None if record::is_cut_short(header, bytes.len() / CELL - 1) => {
            Err(Error::Damaged { path: path() })
        }
        None => Ok(()),
    }
}

/// Whether a ticket is live, that is whether its byte is locked by another description than this one.
pub(crate) fn is_live(file: &File, path: &Path, ticket: u64) -> Result<bool, Error> {
    // Ticket 0 was never given: its byte is the latch.
    Ok(ticket != LATCH && is_any_live(file, path, ticket, ticket)?)
}

/// Whether any ticket is live.
pub(crate) fn is_used(file: &File, path: &Path) -> Result<bool, Error> {
    is_any_live(file, path, LATCH + 1, i64::MAX as u64 - 1)
}

/// Whether any ticket is live from the first to the last of these.
pub(crate) fn is_any_live(file: &File, path: &Path, first: u64, last: u64) -> Result<bool, Error> {
    let locked = kernel::locked(file, first, last).doing("look at the locks of", path)?;
    Ok(locked.is_some())
}

/// A link is not followed, and opening a pipe does not wait for its other end.
pub(crate) fn open(path: &Path, how: &mut OpenOptions) -> Result<File, Error> {
    let file = how.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let file = file.doing("open the lock table", path)?;
    match kernel::is_regular(&file).doing("read", path)? {
        true => Ok(file),
        false => Err(Error::Foreign { path: path.into(), what: "it is not a file".into() }),
    }
}

/// Never with `O_CREAT` if it is there: in a directory where all may write, Linux may be told to refuse that
/// for another user's file (`fs.protected_regular`).
pub(crate) fn open_or_make(path: &Path, directory: &Path) -> Result<File, Error> {
    loop {
        match open(path, OpenOptions::new().read(true).write(true)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            file => return file,
        }
        match make(path, directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.doing("make the lock table", path)?,
        }
    }
}

/// Make a table that has its rights and its header before it has its name, so that nobody finds half of it.
fn make(path: &Path, directory: &Path) -> io::Result<()> {
    match make_unnamed(path, directory) {
        // Few file systems have no such files; and a process may see no /proc.
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

pub(crate) fn first_page() -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..CELL].copy_from_slice(&record::header(PAGE / CELL - 1));
    page
}

/// The rights on the table of a directory: who may write the one may use the other, whatever the umask of who
/// came first. Nobody else may read it, for whoever reads it can hold the latch.
pub(crate) fn rights(directory: u32) -> u32 {
    let class = |write: u32, both: u32| if directory & write == 0 { 0 } else { both };
    0o600 | class(0o020, 0o060) | class(0o002, 0o006)
}

/// Let those use the table whom its directory lets in.
pub(crate) fn share(file: &File, directory: &Path) {
    // If the file is not ours, its owner has done it.
    let _ = fs::metadata(directory).and_then(|found| {
        let _ = fchown(file, None, Some(found.gid()));
        file.set_permissions(fs::Permissions::from_mode(rights(found.mode())))
    });
}

pub(crate) fn refuse_shared(directory: &Path) -> Result<(), Error> {
    match kernel::file_system(directory).doing("look at the file system of", directory)? {
        FileSystem::Network(kind) => Err(Error::Shared { path: directory.to_path_buf(), kind }),
        _ => Ok(()),
    }
}
