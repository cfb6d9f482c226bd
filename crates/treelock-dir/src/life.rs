//! Which tickets are live.
//!
//! A ticket is live iff its byte is locked. The kernel keeps the locks of a file in one list and
//! searches it for each query. So to query each ticket of a crowd takes a time that grows with the
//! square of the crowd. `/proc/locks` lists the locks of all files in one go. Opening it takes
//! some milliseconds and slows down all who lock files meanwhile, so it is read for large crowds
//! only. A lock that ends while the list is read may hide another one, so only what is listed is
//! believed; the tickets that are not listed are queried, as many at once as possible.

use std::{collections::HashSet, fs::File, path::Path};

use crate::{
    error::{Doing, Error},
    file::LATCH,
    kernel,
};

/// Up to this many tickets are queried one by one, which takes 4 ms for a thousand.
const SINGLE_QUERIES_MAX: usize = 1000;

/// Returns whether a ticket is live, that is, whether another description has locked its byte.
pub(crate) fn is_live(file: &File, path: &Path, ticket: u64) -> Result<bool, Error> {
    // Ticket 0 was never issued: its byte is the latch.
    Ok(ticket != LATCH && is_any_live(file, path, ticket, ticket)?)
}

/// Returns whether any ticket is live.
pub(crate) fn is_used(file: &File, path: &Path) -> Result<bool, Error> {
    is_any_live(file, path, LATCH + 1, kernel::LAST_BYTE)
}

/// Returns whether any ticket from `first` to `last` is live.
pub(crate) fn is_any_live(file: &File, path: &Path, first: u64, last: u64) -> Result<bool, Error> {
    let locked = kernel::locked(file, first, last).doing("query the locks of", path)?;
    Ok(locked.is_some())
}

/// Returns those of some tickets that are live, the earliest first. `file` must not have locked any
/// of them itself.
pub(crate) fn living(file: &File, path: &Path, mut all: Vec<u64>) -> Result<Vec<u64>, Error> {
    all.sort_unstable();
    all.dedup();
    if all.len() > SINGLE_QUERIES_MAX {
        // If nothing can be listed, everything is queried.
        let listed = kernel::listed(file, all.len()).unwrap_or_default();
        return living_and_listed(file, path, &all, &listed);
    }
    let mut live = Vec::new();
    for ticket in all {
        if is_live(file, path, ticket)? {
            live.push(ticket);
        }
    }
    Ok(live)
}

/// Returns the live ones of sorted tickets, some of which are known to be locked.
fn living_and_listed(
    file: &File,
    path: &Path,
    all: &[u64],
    listed: &HashSet<u64>,
) -> Result<Vec<u64>, Error> {
    let mut live = Vec::new();
    let is_listed = |ticket: &u64| *ticket != LATCH && listed.contains(ticket);
    for run in all.chunk_by(|one, next| is_listed(one) == is_listed(next)) {
        match is_listed(&run[0]) {
            true => live.extend(run),
            false => query(file, path, run, &mut live)?,
        }
    }
    Ok(live)
}

/// Queries sorted tickets, all of them by one call if none is live.
fn query(file: &File, path: &Path, tickets: &[u64], live: &mut Vec<u64>) -> Result<(), Error> {
    match tickets {
        [] => {}
        [ticket] => live.extend(is_live(file, path, *ticket)?.then_some(*ticket)),
        [first, .., last] => {
            // The latch may be locked, which says nothing about the tickets.
            if is_any_live(file, path, (*first).max(LATCH + 1), *last)? {
                let (one, two) = tickets.split_at(tickets.len() / 2);
                query(file, path, one, live)?;
                query(file, path, two, live)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kind;

    /// Whether few or many tickets are queried, and whether or not they can be listed.
    #[test]
    fn the_living_are_those_whose_bytes_are_locked() {
        let folder = tempfile::tempdir().expect("a place for temporary files");
        let path = folder.path().join("table");
        let open =
            |_| File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let open = |number| open(number).expect("a free descriptor");
        let expected: Vec<u64> = (1..400).filter(|i| i % 3 == 0 || (90..200).contains(i)).collect();
        let locked: Vec<File> = expected
            .iter()
            .map(|i| (open(*i), i))
            .map(|(file, ticket)| {
                assert!(kernel::try_lock(&file, *ticket, Kind::Exclusive).expect("locks work"));
                file
            })
            .collect();
        let file = open(0);
        assert!(kernel::try_lock(&locked[0], LATCH, Kind::Exclusive).expect("locks work"));
        let all: Vec<u64> = (0..400).rev().chain([9999, 9999]).collect();
        assert_eq!(living(&file, &path, all.clone()).expect("a table"), expected);
        let sorted: Vec<u64> = (0..400).collect();
        let listed = kernel::listed(&file, 400).unwrap_or_default();
        println!("{} of {} are listed", listed.len(), expected.len());
        assert!(expected.iter().all(|ticket| listed.contains(ticket)) || listed.is_empty());
        // The list may be incomplete.
        let some: HashSet<u64> = listed.iter().copied().filter(|i| i % 4 == 0).collect();
        for listed in [listed, some, HashSet::new()] {
            let found = living_and_listed(&file, &path, &sorted, &listed);
            assert_eq!(found.expect("a table"), expected);
        }
        drop(locked);
        assert_eq!(living(&file, &path, (1..400).collect()).expect("a table"), [0; 0]);
    }
}
