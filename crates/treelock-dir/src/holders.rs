//! Finds the processes that keep a lock alive, through `/proc`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use crate::{
    error::{Doing, Error},
    file::{GATE, TABLE_NAME},
    look::View,
};

/// Returns the processes that keep a ticket alive. Returns none if it is not live.
pub(crate) fn of_ticket(directory: &Path, ticket: u64) -> Result<Vec<u32>, Error> {
    let Some(view) = View::open(directory)? else { return Ok(Vec::new()) };
    let live = view.live()?;
    let found = live.iter().find(|record| record.stamp.ticket == ticket);
    let lives = found.into_iter().flat_map(|record| record.stamp.lives);
    let mut found = Vec::new();
    for life in lives.filter(|life| *life != GATE) {
        found.extend(holders(directory, life)?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Returns the processes with a descriptor of the table whose description has locked this byte.
pub(crate) fn holders(directory: &Path, byte: u64) -> Result<Vec<u32>, Error> {
    let path = directory.join(TABLE_NAME);
    let Ok(table) = fs::metadata(&path) else { return Ok(Vec::new()) };
    let processes = fs::read_dir("/proc").doing("read", Path::new("/proc"))?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut found: Vec<u32> = pids.filter(|pid| holds(*pid, &table, byte)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Returns whether a process keeps the lock on a byte. A process that has ended in the meantime
/// does not. Neither does another user's process, as far as can be seen.
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

/// Returns whether a line of fdinfo shows the lock on this byte, as users of the table lock it:
/// `lock: 1: OFDLCK ADVISORY WRITE -1 fe:00:42 7 7` (proc(5)). Adjacent locks of one description
/// are merged.
fn locks(line: &str, byte: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    words.first() == Some(&"lock:")
        && words.contains(&"WRITE")
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
    }
}
