//! The file of a table: creating and opening it, and making room in it.

use std::{
    fs::{self, File, OpenOptions},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    },
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags},
    libc,
    unistd::linkat,
};
use rustix::fs::{FallocateFlags, fallocate};

use crate::{
    error::{Doing, Error},
    format::{
        header,
        layout::{self, PAGE_BYTES},
    },
    kernel::{self, FileSystem, Kind},
    site::CHECK_INTERVAL,
};

/// The name of the table in its directory.
pub(crate) const TABLE_NAME: &str = "table";

/// The byte of the gate: a process that locks it may join the table, or begin it anew.
pub(crate) const GATE: u64 = 0;

/// How long a thread sleeps before it tries the gate again, which others pass in microseconds.
const GATE_INTERVAL: Duration = Duration::from_millis(1);

/// The gate of a table, locked until it is dropped.
pub(crate) struct Gate<'a>(&'a File);

impl Gate<'_> {
    /// Locks the gate. Fails with [`Error::Stuck`] if another process has it.
    pub(crate) fn new<'a>(file: &'a File, path: &Path) -> Result<Gate<'a>, Error> {
        match kernel::try_lock(file, GATE, Kind::Exclusive).doing("lock", path)? {
            true => Ok(Gate(file)),
            false => Err(Error::Stuck { path: path.into(), process: None }),
        }
    }
}

/// Calls `pass` until nobody is in its way at the gate, at the latest until the deadline, if there
/// is one.
pub(crate) fn until_passed<T>(
    deadline: Option<Instant>,
    mut pass: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        match pass() {
            Err(Error::Stuck { .. }) if deadline.is_none_or(|end| Instant::now() < end) => {
                thread::sleep(GATE_INTERVAL);
            }
            passed => return passed,
        }
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        kernel::unlock(self.0, GATE);
    }
}

/// Returns what a file is, by its size and its first bytes.
pub(crate) fn kind(file: &File, path: &Path) -> Result<header::Kind, Error> {
    let mut start = [0; header::MAGIC_BYTES];
    let mut length = 0;
    while length < start.len() {
        match file.read_at(&mut start[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).doing("read", path),
        }
    }
    let (_, size) = kernel::identify_open(file).doing("read", path)?;
    Ok(match header::kind(&start[..length]) {
        header::Kind::Table if size < layout::table_bytes(1) => header::Kind::Cut,
        kind => kind,
    })
}

/// Makes room on the disk for a part of a file, so that writing it as memory cannot fail for want
/// of space.
pub(crate) fn reserve(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), offset, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = [0; PAGE_BYTES];
            let mut pages = (offset..offset + bytes).step_by(PAGE_BYTES);
            pages.try_for_each(|at| file.write_all_at(&zeros, at))
        }
        reserved => Ok(reserved?),
    }
}

/// Gives the room of a part of a file back to the disk, if the file system can. The file keeps its
/// size, and the part becomes zeros.
pub(crate) fn give_back(file: &File, offset: u64, bytes: u64) {
    let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    // Otherwise the file stays as large as it was.
    let _ = fallocate(file, how, offset, bytes);
}

/// Writes a new table into a file that is empty, or contains nothing that is needed.
pub(crate) fn write_new(file: &File) -> io::Result<()> {
    file.set_len(0)?;
    // First what it is. Without its canaries it is a table that was only begun.
    file.write_all_at(&header::magic_bytes(), 0)?;
    reserve(file, 0, layout::table_bytes(1))?;
    let random = || RandomState::new().build_hasher().finish();
    let first = layout::chunk(0);
    for (at, number) in [
        (header::KEY[0].0, random()),
        (header::KEY[1].0, random()),
        (header::NEXT_LIFE.0, GATE + 1),
        (header::OPENS.0, kernel::since_boot() + CHECK_INTERVAL),
        (header::CHUNKS.0, 1),
        (header::CANARY_AT, layout::CANARY),
        (first.offset as usize / 8 + first.canary, layout::CANARY),
    ] {
        file.write_all_at(&number.to_ne_bytes(), at as u64 * 8)?;
    }
    Ok(())
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
            // Whoever opens it begins it.
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
    write_new(&file)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(linkat(AT_FDCWD, unnamed.as_str(), AT_FDCWD, path, follow)?)
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
