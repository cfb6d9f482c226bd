//! Calls to the kernel: locks on single bytes of the table, clocks, and types of file systems.
//!
//! The locks are *open file description* locks (`F_OFD_SETLK`, in Linux since 3.15): they belong to
//! what `open` returned, not to the process. So two threads exclude each other as two processes do;
//! a child that inherits the descriptor keeps the lock; and the lock ends with its last descriptor,
//! however the process ends.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
    os::fd::AsFd,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc::{self, off_t},
    sys::statfs::{FsType, statfs},
    time::{ClockId, clock_gettime},
};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

/// How a byte is locked.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Shared,
    Exclusive,
}

/// The last byte that is ever locked. With glibc on 32 bits, offsets have 32 bits too, so there can
/// be 2^31 tickets. The kernel wants 64 bits there all the same; glibc converts since 2.28.
pub(crate) const LAST_BYTE: u64 = off_t::MAX as u64 - 1;

fn range(kind: libc::c_int, first: u64, count: u64) -> io::Result<libc::flock> {
    let offset = |number: u64| off_t::try_from(number).map_err(|_| Errno::EOVERFLOW);
    Ok(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset(first)?,
        l_len: offset(count)?,
        l_pid: 0, // as the kernel requires
    })
}

impl Kind {
    fn at(self, byte: u64) -> io::Result<libc::flock> {
        let kind = match self {
            Kind::Shared => libc::F_RDLCK,
            Kind::Exclusive => libc::F_WRLCK,
        };
        range(kind, byte, 1)
    }
}

/// Locks a byte, after waiting until it is free.
pub(crate) fn lock(file: &File, byte: u64, kind: Kind) -> io::Result<()> {
    let range = kind.at(byte)?;
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLKW(&range)) {
            Err(Errno::EINTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Locks a byte if it is free. Returns whether it is locked now.
pub(crate) fn try_lock(file: &File, byte: u64, kind: Kind) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&kind.at(byte)?)) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Unlocks a byte, for all that share the open file description.
pub(crate) fn unlock(file: &File, byte: u64) {
    let range = range(libc::F_UNLCK, byte, 1);
    let unlocked = range.and_then(|range| Ok(fcntl(file, FcntlArg::F_OFD_SETLK(&range))?));
    debug_assert!(unlocked.is_ok(), "the kernel refused to unlock byte {byte}: {unlocked:?}");
}

/// Returns a byte from `first` to `last` that another description has locked exclusively, if there
/// is one.
pub(crate) fn locked(file: &File, first: u64, last: u64) -> io::Result<Option<u64>> {
    let mut found = range(libc::F_RDLCK, first, last - first + 1)?;
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    let free = libc::c_int::from(found.l_type) == libc::F_UNLCK;
    Ok((!free).then_some((found.l_start as u64).max(first)))
}

/// Returns bytes of a file that are locked exclusively, as `/proc/locks` lists them (proc(5)). The
/// list is read in pieces, so bytes may be missing. Since other programs may have any number of
/// locks, the list is not read to its end if it is much longer than the `expected` number of bytes.
pub(crate) fn listed(file: &File, expected: usize) -> io::Result<HashSet<u64>> {
    let (Identity { device: (major, minor), inode }, _) = identify_open(file)?;
    let name = format!("{major:02x}:{minor:02x}:{inode}");
    let lines = BufReader::with_capacity(1 << 16, File::open("/proc/locks")?).lines();
    let mut listed = HashSet::new();
    for line in lines.take(2 * expected + LISTED_FOREIGN_LOCKS_MAX) {
        listed.extend(locked_byte(&line?, &name));
    }
    Ok(listed)
}

/// How many locks of other programs are read from `/proc/locks`.
const LISTED_FOREIGN_LOCKS_MAX: usize = 1000;

/// Returns the byte in a line such as `1: OFDLCK ADVISORY  WRITE -1 fe:00:42 7 7`, if it is of the
/// file with this name. In the line of a lock that is waited for, there is an arrow in front.
fn locked_byte(line: &str, name: &str) -> Option<u64> {
    let mut words = line.split_ascii_whitespace().skip(1);
    if words.next() != Some("OFDLCK") || words.nth(1) != Some("WRITE") {
        return None;
    }
    if words.nth(1) != Some(name) {
        return None;
    }
    let (first, last) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (first == last).then_some(first)
}

/// Identifies a file, whatever happens to its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: (u32, u32),
    inode: u64,
}

/// Returns the identity of the file with this name and its size in bytes, or `None` if there is no
/// such file. Follows no link.
///
/// Does not ask for timestamps: since Linux 6.13, a file whose timestamps were queried gets new
/// ones with full precision at its next write, which makes an acquire and release pair a fifth more
/// expensive.
pub(crate) fn identify(path: &Path) -> io::Result<Option<(Identity, u64)>> {
    match look(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the same for an open file.
pub(crate) fn identify_open(file: &File) -> io::Result<(Identity, u64)> {
    Ok(look(file, Path::new(""), AtFlags::EMPTY_PATH)?)
}

/// Returns whether an open file is a regular file, not a directory, pipe or device.
pub(crate) fn is_regular(file: &File) -> io::Result<bool> {
    let found = statx(file, Path::new(""), AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(FileType::from_raw_mode(found.stx_mode.into()).is_file())
}

fn look(from: impl AsFd, path: &Path, how: AtFlags) -> rustix::io::Result<(Identity, u64)> {
    let found = statx(from, path, how, StatxFlags::INO | StatxFlags::SIZE)?;
    let device = (found.stx_dev_major, found.stx_dev_minor);
    Ok((Identity { device, inode: found.stx_ino }, found.stx_size))
}

/// Returns the nanoseconds since boot, which are the same for all processes of the host, whatever
/// is done to the clock.
pub(crate) fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock since 2.6.39");
    Duration::from(now).as_nanos() as u64
}

/// Returns the nanoseconds since 1970, by the wall clock.
pub(crate) fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64)
}

/// Returns the type of file system that a path is on.
pub(crate) fn file_system(path: &Path) -> io::Result<FileSystem> {
    Ok(judge(statfs(path)?.filesystem_type()))
}

/// A type of file system, classified by how far its locks can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// Its locks are the kernel's own.
    Local(&'static str),
    /// An unknown type. Its locks are the kernel's own unless the file system implements others.
    Unknown(u32),
    /// Its locks depend on the program that serves it.
    Served(&'static str),
    /// Several hosts may share it.
    Network(&'static str),
}

/// Classifies a file system. The magic numbers are those in Linux's `linux/magic.h` and statfs(2).
fn judge(kind: FsType) -> FileSystem {
    use FileSystem::{Local, Network, Served, Unknown};
    // The type of the number depends on the C library: it may be signed, and have 32 bits or 64.
    match kind.0 as u32 {
        0x6969 => Network("NFS"),
        0x517b => Network("SMB"),
        0xff53_4d42 => Network("CIFS"),
        0xfe53_4d42 => Network("SMB 2"),
        0x5346_414f | 0x6b41_4653 => Network("AFS"),
        0x7375_7245 => Network("Coda"),
        0x00c3_6400 => Network("Ceph"),
        0x0102_1997 => Network("9P"),
        0x0bd0_0bd0 => Network("Lustre"),
        0x0116_1970 => Network("GFS2"),
        0x7461_636f => Network("OCFS2"),
        0x4750_4653 => Network("GPFS"),
        0x6573_5546 => Served("FUSE"),
        0x786f_4256 => Served("VirtualBox's shared folders"),
        0xef53 => Local("ext4"),
        0x5846_5342 => Local("XFS"),
        0x9123_683e => Local("Btrfs"),
        0xf2f5_2010 => Local("F2FS"),
        0x2fc1_2fc1 => Local("ZFS"),
        0xca45_1a4e => Local("bcachefs"),
        0x0102_1994 => Local("tmpfs"),
        0x8584_58f6 => Local("ramfs"),
        0x794c_7630 => Local("overlayfs"),
        other => Unknown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::statfs;

    #[test]
    fn offsets_that_do_not_fit_are_refused() {
        let file = tempfile::tempfile().expect("a place for temporary files");
        for byte in [off_t::MAX as u64 + 1, u64::MAX] {
            let kind = try_lock(&file, byte, Kind::Exclusive).expect_err("it does not fit").kind();
            assert_eq!(kind, io::Error::from(Errno::EOVERFLOW).kind());
        }
        assert!(try_lock(&file, LAST_BYTE, Kind::Exclusive).expect("it fits"));
    }

    #[test]
    fn lines_of_proc_locks() {
        let of = |line| locked_byte(line, "fe:00:42");
        assert_eq!(of("1: OFDLCK ADVISORY  WRITE -1 fe:00:42 7 7"), Some(7));
        for other in [
            "1: -> OFDLCK ADVISORY  WRITE -1 fe:00:42 7 7",
            "1: OFDLCK ADVISORY  READ -1 fe:00:42 7 7",
            "1: POSIX  ADVISORY  WRITE 99 fe:00:42 7 7",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:43 7 7",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:42 7 8",
            "1: OFDLCK ADVISORY  WRITE -1 fe:00:42 7 EOF",
            "1: OFDLCK",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn network_file_systems_are_known() {
        for kind in [statfs::NFS_SUPER_MAGIC, statfs::SMB_SUPER_MAGIC, statfs::CODA_SUPER_MAGIC] {
            assert!(matches!(judge(kind), FileSystem::Network(_)), "{kind:?}");
        }
        for kind in [0xff53_4d42_u32, 0xfe53_4d42] {
            let kind = FsType(kind as _);
            assert!(matches!(judge(kind), FileSystem::Network(_)), "{kind:?}");
        }
        assert_eq!(judge(statfs::FUSE_SUPER_MAGIC), FileSystem::Served("FUSE"));
        for kind in [
            statfs::EXT4_SUPER_MAGIC,
            statfs::TMPFS_MAGIC,
            statfs::OVERLAYFS_SUPER_MAGIC,
            FsType(0x5846_5342), // XFS, which nix does not name where the C library is musl
            statfs::BTRFS_SUPER_MAGIC,
        ] {
            assert!(matches!(judge(kind), FileSystem::Local(_)), "{kind:?}");
        }
        assert_eq!(judge(FsType(0x1234)), FileSystem::Unknown(0x1234));
    }
}
