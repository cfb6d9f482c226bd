//! Whether a directory is a good place for locks, and anything unusual about it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::sys::statvfs::statvfs;
use rustix::fs::{Access, access};
use treelock::engine::Finding;

use crate::{
    error::{Doing, Error},
    file::{self, TABLE_NAME},
    kernel::{self, FileSystem, Kind},
    latch,
    look::View,
    table::Table,
};

/// How long the latch is looked at, and how often, before it is reported as stuck.
const LATCH_TIMEOUT: Duration = Duration::from_millis(200);
const LATCH_INTERVAL: Duration = Duration::from_millis(5);

/// With less free space than this, a table may soon be unable to grow.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// If the last token is this many nanoseconds ahead of the clock, the clock was set back.
const TOKEN_AHEAD_NANOSECONDS_MAX: u64 = 1_000_000_000;

/// Examines the directory of a lock. Returns what it found.
pub(crate) fn findings(directory: &Path) -> Result<Vec<Finding>, Error> {
    let path = directory.join(TABLE_NAME);
    if kernel::identify(&path).is_ok_and(|found| found.is_none()) {
        return before_the_table(directory);
    }
    // This comes first, since opening and reading the table would wait for the latch.
    let stuck = latch(directory)?;
    let end = Instant::now() + LATCH_TIMEOUT;
    if stuck.is_none()
        && let Err(error) = file::until_passed(Some(end), || Table::open(directory))
    {
        return Ok(vec![Finding::bad(error.to_string(), "")]);
    }
    let mut found = vec![file_system(directory)?, rights(directory)?, locking(directory)?];
    found.extend(space(directory)?);
    match stuck {
        Some(finding) => found.push(finding),
        None => found.extend(
            contents(directory).unwrap_or_else(|error| vec![Finding::bad(error.to_string(), "")]),
        ),
    }
    Ok(found)
}

/// Examines the place where the first request will create the table. Creates nothing.
fn before_the_table(directory: &Path) -> Result<Vec<Finding>, Error> {
    let above = |path: &&Path| fs::symlink_metadata(path).is_ok();
    let place = directory.ancestors().find(above).unwrap_or(Path::new("/"));
    let mut found = vec![file_system(place)?];
    if place == directory && place.is_dir() {
        found.push(rights(directory)?);
    }
    found.extend(space(place)?);
    let doing = if place == directory { "create the lock table" } else { "create the directory" };
    match may_create_in(place).doing(doing, directory) {
        Ok(()) => found.push(Finding::good(format!(
            "there is no lock table in {directory:?} yet; the first request creates it"
        ))),
        Err(error) => found.push(Finding::bad(error.to_string(), "")),
    }
    Ok(found)
}

/// Returns whether this process may create something in a directory.
fn may_create_in(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory)?.is_dir() {
        true => Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn file_system(directory: &Path) -> Result<Finding, Error> {
    let kind = kernel::file_system(directory).doing("examine the file system of", directory)?;
    Ok(match kind {
        FileSystem::Local(kind) => Finding::good(format!("{directory:?} is on {kind}")),
        FileSystem::Served(kind) => Finding::odd(
            format!("{directory:?} is on {kind}, which is served by a program"),
            "make sure that no other host serves the same files",
        ),
        FileSystem::Unknown(kind) => Finding::odd(
            format!("{directory:?} is on an unknown file system ({kind:#x})"),
            "make sure that it is local to this host",
        ),
        FileSystem::Network(kind) => Finding::bad(
            format!("{directory:?} is on {kind}, which several hosts may share"),
            "use a directory on a local disk or in memory",
        ),
    })
}

fn rights(directory: &Path) -> Result<Finding, Error> {
    let mode = |path: &Path| {
        let metadata = fs::metadata(path).doing("examine", path)?;
        Ok::<u32, Error>(metadata.permissions().mode())
    };
    let directory_mode = mode(directory)?;
    let (open, sticky) = (directory_mode & 0o002 != 0, directory_mode & 0o1000 != 0);
    let wanted = file::rights(directory_mode);
    let table = directory.join(TABLE_NAME);
    // A table that is made later will have these.
    let table_mode = if table.exists() { mode(&table)? & 0o777 } else { wanted };
    let as_wanted = format!("chmod {wanted:o} {table:?}");
    Ok(if open && !sticky {
        Finding::odd(
            format!("any user may remove the table in {directory:?}"),
            format!("chmod +t {directory:?}"),
        )
    } else if let Some(above) = directory.ancestors().skip(1).find(|above| may_be_moved_in(above)) {
        Finding::odd(
            format!("any user may replace {directory:?} with another directory"),
            format!("chmod o-w {above:?}"),
        )
    } else if table_mode & !wanted != 0 {
        Finding::odd(
            format!(
                "the table is open to more users (mode {table_mode:o}) than may write to \
                 {directory:?}; any user who may read it can stop all others from locking"
            ),
            as_wanted,
        )
    } else if wanted & !table_mode != 0 {
        Finding::odd(
            format!("{directory:?} is open to more users than its table (mode {table_mode:o})"),
            as_wanted,
        )
    } else {
        Finding::good(match directory_mode & 0o022 {
            0 => "only its owner may write the table",
            _ => "several users may write the table",
        })
    })
}

/// Returns whether any user may rename other users' files in this directory.
fn may_be_moved_in(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o1002 == 0o002)
}

/// Locks a byte by one description and looks from another, to test whether this file system
/// supports locks.
fn locking(directory: &Path) -> Result<Finding, Error> {
    /// A byte beyond all tickets.
    const BYTE: u64 = kernel::LAST_BYTE - 1;
    let file = |_| -> Result<fs::File, Error> {
        let path = directory.join(TABLE_NAME);
        fs::File::options().read(true).write(true).open(&path).doing("open the lock table", &path)
    };
    let (one, two) = (file(1)?, file(2)?);
    let locked = kernel::try_lock(&one, BYTE, Kind::Exclusive);
    let seen = locked.and_then(|_| kernel::locked(&two, BYTE, BYTE));
    Ok(match seen {
        Ok(Some(_)) => Finding::good("locks are visible to others"),
        Ok(None) => Finding::bad("a lock is not visible to others", "use another directory"),
        Err(error) => Finding::bad(format!("locks do not work: {error}"), "use another directory"),
    })
}

fn space(directory: &Path) -> Result<Option<Finding>, Error> {
    let space = statvfs(directory).doing("examine the file system of", directory)?;
    let bytes = space.blocks_available() as u64 * space.fragment_size() as u64;
    Ok((bytes < FREE_BYTES_MIN).then(|| {
        Finding::odd(
            format!("only {bytes} bytes are left on the disk of {directory:?}"),
            "free some space before the table has to grow",
        )
    }))
}

/// Reports a latch that the same handle has for all the time. Its process may be stopped.
fn latch(directory: &Path) -> Result<Option<Finding>, Error> {
    // A table that cannot be opened has no latch. The next attempt to open it reports why.
    let Ok(Some(view)) = View::open(directory) else { return Ok(None) };
    let held = || latch::holder(&view.memory);
    let Some((life, pid)) = held() else { return Ok(None) };
    let end = Instant::now() + LATCH_TIMEOUT;
    while Instant::now() < end {
        if held().is_none_or(|(now, _)| now != life) {
            return Ok(None);
        }
        thread::sleep(LATCH_INTERVAL);
    }
    Ok(Some(Finding::bad(
        format!("process {pid} has had the latch for 0.2 s; it may be stopped"),
        format!("resume it (kill -CONT {pid}) or end it"),
    )))
}

fn contents(directory: &Path) -> Result<Vec<Finding>, Error> {
    let Some(view) = View::open(directory)? else { return Ok(Vec::new()) };
    let live = view.live()?;
    let mut found = vec![Finding::good(match live.len() {
        1 => "1 request is live".into(),
        count => format!("{count} requests are live"),
    })];
    for record in live.iter().filter(|record| record.damaged) {
        let ticket = record.stamp.ticket;
        found.push(Finding::odd(
            format!("the record of ticket {ticket} is damaged, so it counts as a write on /"),
            format!("treelock break {ticket}"),
        ));
    }
    let ahead = view.last_token().saturating_sub(kernel::since_1970());
    if ahead > TOKEN_AHEAD_NANOSECONDS_MAX {
        found.push(Finding::odd(
            format!(
                "the last fencing token is {} s ahead of the clock, which was set back",
                ahead / 1_000_000_000
            ),
            "do not remove the table before the clock has caught up: tokens would be issued twice",
        ));
    }
    Ok(found)
}
