//! Which requests are live: those whose owner lives.
//!
//! Each handle of the table, in whatever process, has a *life*: a number that is given once, and a
//! byte of the file with that number, which its open file description keeps locked. When the
//! process ends, however that happens, the kernel unlocks the byte. The number is never given
//! again, so a byte that is free stays free: what is dead is dead for good, and whoever has seen
//! that need not see it again.
//!
//! A request that a child keeps too has a life of its own, since it lives as long as either of the
//! two.
//!
//! The kernel keeps the locks of a file in one list and searches it for each query. So to query
//! each life of a crowd of processes takes a time that grows with the square of the crowd.
//! `/proc/locks` lists the locks of all files in one go. Opening it takes some milliseconds and
//! slows down all who lock files meanwhile, so it is read for large crowds only. A lock that ends
//! while the list is read may hide another one, so only what is listed is believed; the lives that
//! are not listed are queried, as many at once as possible.

use std::{collections::HashSet, fs::File, path::Path};

use crate::{
    error::{Doing, Error},
    file::GATE,
    kernel,
};

/// Up to this many lives are queried one by one, which takes 4 ms for a thousand.
const SINGLE_QUERIES_MAX: usize = 1000;

/// Returns whether a life has not ended, that is, whether another description has locked its byte.
pub(crate) fn is_live(file: &File, path: &Path, life: u64) -> Result<bool, Error> {
    // Life 0 was never given: its byte is the gate. Nor was any number that is no byte.
    let given = life != GATE && life <= kernel::LAST_BYTE;
    Ok(given && is_any_live(file, path, life, life)?)
}

/// Returns whether any handle lives.
pub(crate) fn is_used(file: &File, path: &Path) -> Result<bool, Error> {
    is_any_live(file, path, GATE + 1, kernel::LAST_BYTE)
}

/// Returns whether any life from `first` to `last` goes on.
pub(crate) fn is_any_live(file: &File, path: &Path, first: u64, last: u64) -> Result<bool, Error> {
    let locked = kernel::locked(file, first, last).doing("query the locks of", path)?;
    Ok(locked.is_some())
}

/// Returns those of some lives that go on, the earliest first. `file` must not have locked any
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
    for life in all {
        if is_live(file, path, life)? {
            live.push(life);
        }
    }
    Ok(live)
}

/// Returns the live ones of sorted lives, some of which are known to be locked.
fn living_and_listed(
    file: &File,
    path: &Path,
    all: &[u64],
    listed: &HashSet<u64>,
) -> Result<Vec<u64>, Error> {
    let mut live = Vec::new();
    let is_listed = |life: &u64| *life != GATE && listed.contains(life);
    for run in all.chunk_by(|one, next| is_listed(one) == is_listed(next)) {
        match is_listed(&run[0]) {
            true => live.extend(run),
            false => query(file, path, run, &mut live)?,
        }
    }
    Ok(live)
}

/// Queries sorted lives, all of them by one call if none is live.
fn query(file: &File, path: &Path, lives: &[u64], live: &mut Vec<u64>) -> Result<(), Error> {
    match lives {
        [] => {}
        [life] => live.extend(is_live(file, path, *life)?.then_some(*life)),
        [first, .., last] => {
            // The gate may be locked, which says nothing about the lives.
            if is_any_live(file, path, (*first).max(GATE + 1), *last)? {
                let (one, two) = lives.split_at(lives.len() / 2);
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

    /// Whether few or many lives are queried, and whether or not they can be listed.
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
            .map(|(file, life)| {
                assert!(kernel::try_lock(&file, *life, Kind::Exclusive).expect("locks work"));
                file
            })
            .collect();
        let file = open(0);
        assert!(kernel::try_lock(&locked[0], GATE, Kind::Exclusive).expect("locks work"));
        let all: Vec<u64> = (0..400).rev().chain([9999, 9999]).collect();
        assert_eq!(living(&file, &path, all.clone()).expect("a table"), expected);
        let sorted: Vec<u64> = (0..400).collect();
        let listed = kernel::listed(&file, 400).unwrap_or_default();
        println!("{} of {} are listed", listed.len(), expected.len());
        assert!(expected.iter().all(|life| listed.contains(life)) || listed.is_empty());
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
