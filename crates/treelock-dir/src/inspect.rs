//! What an operator asks: which processes keep a lock alive, and whether this is a good place for locks.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use nix::sys::statvfs::statvfs;
use treelock::Finding;

use crate::{
    error::{Doing, Error},
    file::{self, LATCH, Latch, NAME},
    kernel::{self, FileSystem, Kind},
    lock::DirLock,
    record::Record,
    table::Table,
    view::View,
};

impl DirLock {
    /// Returns the numbers of all processes that keep a ticket alive: the one that asked, and those that
    /// inherited its descriptor. Empty if the ticket is not live.
    ///
    /// Found in `/proc`; processes of other users are seen by root only.
    ///
    /// # Blocking
    ///
    /// Reads what `/proc` says of every process: some milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the table or `/proc` cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.try_acquire(&Request::new())?;
    /// assert_eq!(lock.processes(guard.ticket())?, [std::process::id()]);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn processes(&self, ticket: u64) -> Result<Vec<u32>, Error> {
        holders(self.path(), ticket)
    }

    /// Returns what is to be said of this place: whether locks work here, and what is odd. Makes the
    /// directory and the table if they are missing.
    ///
    /// # Blocking
    ///
    /// For some milliseconds; a fifth of a second if the latch is never free.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if something cannot be looked at that was there a moment ago. What is bad about the
    /// place is a [`Finding`], not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_dir::{DirLock, Severity};
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// assert!(lock.check()?.iter().all(|finding| finding.severity < Severity::Bad));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn check(&self) -> Result<Vec<Finding>, Error> {
        let directory = self.path();
        // First of all, since opening the table and reading it would wait for the latch.
        let stuck = latch(directory)?;
        if stuck.is_none()
            && let Err(error) = Table::open(directory)
        {
            return Ok(vec![Finding::bad(error.to_string(), "")]);
        }
        let mut found = vec![file_system(directory)?, rights(directory)?, locking(directory)?];
        found.extend(space(directory)?);
        match stuck {
            Some(finding) => found.push(finding),
            None => found.extend(contents(directory)?),
        }
        Ok(found)
    }
}

fn file_system(directory: &Path) -> Result<Finding, Error> {
    let kind = kernel::file_system(directory).doing("look at the file system of", directory)?;
    Ok(match kind {
        FileSystem::Local(kind) => Finding::good(format!("{directory:?} lies on {kind}")),
        FileSystem::Served(kind) => Finding::odd(
            format!("{directory:?} lies on {kind}, which a program serves"),
            "see that no other host serves the same files",
        ),
        FileSystem::Unknown(kind) => Finding::odd(
            format!("{directory:?} lies on a file system that is not known here ({kind:#x})"),
            "see that it is local to this host",
        ),
        FileSystem::Network(kind) => Finding::bad(
            format!("{directory:?} lies on {kind}, which several hosts may share"),
            "use a directory on a local disk or in memory",
        ),
    })
}

fn rights(directory: &Path) -> Result<Finding, Error> {
    let mode = |path: &Path| {
        let metadata = fs::metadata(path).doing("look at", path)?;
        Ok::<u32, Error>(metadata.permissions().mode())
    };
    let (directory_mode, table_mode) = (mode(directory)?, mode(&directory.join(NAME))? & 0o777);
    let (open, sticky) = (directory_mode & 0o002 != 0, directory_mode & 0o1000 != 0);
    let wanted = file::rights(directory_mode);
    let as_wanted = format!("chmod {wanted:o} {:?}", directory.join(NAME));
    Ok(if open && !sticky {
        Finding::odd(
            format!("any user may remove the table in {directory:?}"),
            format!("chmod +t {directory:?}"),
        )
    } else if let Some(above) = directory.ancestors().skip(1).find(|above| may_be_moved_in(above)) {
        Finding::odd(
            format!("any user may put another directory in the place of {directory:?}"),
            format!("chmod o-w {above:?}"),
        )
    } else if table_mode & !wanted != 0 {
        Finding::odd(
            format!(
                "the table lets in more users (mode {table_mode:o}) than may write {directory:?}; who may \
                 read it can keep all others from asking"
            ),
            as_wanted,
        )
    } else if wanted & !table_mode != 0 {
        Finding::odd(
            format!("{directory:?} lets in more users than its table does (mode {table_mode:o})"),
            as_wanted,
        )
    } else {
        Finding::good(match directory_mode & 0o022 {
            0 => "only its owner may write the table",
            _ => "several users may write the table",
        })
    })
}

/// Whether any user may rename what others have in this directory.
fn may_be_moved_in(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o1002 == 0o002)
}

/// Lock a byte in one description and look from another: whether this file system locks at all.
fn locking(directory: &Path) -> Result<Finding, Error> {
    /// Beyond all tickets.
    const BYTE: u64 = i64::MAX as u64 - 2;
    let file = |_| -> Result<fs::File, Error> {
        let path = directory.join(NAME);
        fs::File::options().read(true).write(true).open(&path).doing("open the lock table", &path)
    };
    let (one, two) = (file(1)?, file(2)?);
    let locked = kernel::try_lock(&one, BYTE, Kind::Exclusive);
    let seen = locked.and_then(|_| kernel::locked(&two, BYTE, BYTE));
    Ok(match seen {
        Ok(Some(_)) => Finding::good("locks are seen"),
        Ok(None) => Finding::bad("a lock is not seen by others", "use another directory"),
        Err(error) => Finding::bad(format!("locks do not work: {error}"), "use another directory"),
    })
}

fn space(directory: &Path) -> Result<Option<Finding>, Error> {
    let space = statvfs(directory).doing("look at the file system of", directory)?;
    let bytes = space.blocks_available() as u64 * space.fragment_size() as u64;
    Ok((bytes < 1 << 20).then(|| {
        Finding::odd(
            format!("{bytes} bytes are left where {directory:?} lies"),
            "make room before the table has to grow",
        )
    }))
}

/// A latch that one process has whenever one looks, and never lets go to us, is a stopped process's.
fn latch(directory: &Path) -> Result<Option<Finding>, Error> {
    // What cannot be opened has no latch; why it cannot is said by who opens it next.
    let Ok(Some(view)) = View::open(directory) else { return Ok(None) };
    let mut always: Option<Vec<u32>> = None;
    for _ in 0..20 {
        let latch = Latch::attempt(&view.file, view.latch);
        if latch.doing("lock the table in", directory)?.is_some() {
            return Ok(None);
        }
        let now = holders(directory, LATCH)?;
        always = Some(match always {
            None => now,
            Some(before) => before.into_iter().filter(|pid| now.contains(pid)).collect(),
        });
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let always = always.unwrap_or_default();
    let who = match always.is_empty() {
        true => "others, perhaps of another user, have".into(),
        false => format!("processes {always:?} have"),
    };
    Ok(Some(Finding::bad(
        format!("{who} had the latch for 0.2 s; one of them may be stopped"),
        "continue them (kill -CONT) or end them",
    )))
}

fn contents(directory: &Path) -> Result<Vec<Finding>, Error> {
    let Some(view) = View::open(directory)? else { return Ok(Vec::new()) };
    let records = view.look()?;
    let live: Vec<_> = records.iter().filter(|(_, live)| *live).collect();
    let mut found = vec![Finding::good(match live.len() {
        1 => "1 request is live".into(),
        count => format!("{count} requests are live"),
    })];
    for (Record { ticket, .. }, _) in live.iter().filter(|(record, _)| record.damaged) {
        found.push(Finding::odd(
            format!("the record of ticket {ticket} is damaged, so it counts as a write on /"),
            format!("treelock break {ticket}"),
        ));
    }
    let ahead = view.last_token()?.saturating_sub(kernel::since_1970());
    if ahead > 1_000_000_000 {
        found.push(Finding::odd(
            format!(
                "the last fencing token is {} s ahead of the clock, which was set back",
                ahead / 1_000_000_000
            ),
            "do not remove the table before the clock has caught up: tokens would be given twice",
        ));
    }
    Ok(found)
}

/// The processes with a descriptor of the table whose description has locked this byte.
fn holders(directory: &Path, byte: u64) -> Result<Vec<u32>, Error> {
    let path = directory.join(NAME);
    let Ok(table) = fs::metadata(&path) else { return Ok(Vec::new()) };
    let processes = fs::read_dir("/proc").doing("read", Path::new("/proc"))?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = pids.filter(|pid| holds(*pid, &table, byte)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Whether a process keeps the lock of a byte. One that ended meanwhile, or is another user's, does not.
fn holds(pid: u32, table: &fs::Metadata, byte: u64) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.filter_map(Result::ok).any(|entry| {
        let same = fs::metadata(entry.path())
            .is_ok_and(|file| (file.dev(), file.ino()) == (table.dev(), table.ino()));
        let number = entry.file_name();
        same && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()))
            .is_ok_and(|info| info.lines().any(|line| locks(line, byte)))
    })
}

/// Whether a line of fdinfo is the lock of this byte, as the table's users have it:
/// `lock:  1: OFDLCK ADVISORY WRITE -1 fe:00:42 7 7` (proc(5)). Adjoining locks of one description are one.
fn locks(line: &str, byte: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    // The latch is shared by those who may only read.
    let exclusive = byte == LATCH || words.contains(&"WRITE");
    words.first() == Some(&"lock:")
        && exclusive
        && number(7).is_some_and(|first| first <= byte)
        && number(8).is_some_and(|l| byte <= l)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_fdinfo() {
        let line = "lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:42 7 7";
        assert!(locks(line, 7));
        assert!(!locks(line, 6) && !locks(line, 8) && !locks("flags:\t02", 2) && !locks("", 0));
        assert!(!locks("lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:42 7 7", 7));
        assert!(locks("lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:42 6 7", 7));
        assert!(locks("lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:42 0 0", LATCH));
    }
}
