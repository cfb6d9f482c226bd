//! What should exist, by the workers' own account.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::folder::Manifest;

/// Counts the copies of each edition: one more when a write or copy has succeeded, one less before
/// a delete or overwrite begins. A rename changes nothing.
///
/// So it errs towards too few, and a file that it misses is truly lost, also in a round without
/// locks, where two workers may both have deleted the only copy.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    editions: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Default)]
struct Entry {
    copies: i64,
    hashes: Vec<u64>,
}

impl Ledger {
    /// Returns a number for a new edition.
    pub(crate) fn edition(&self) -> u64 {
        let mut state = self.state();
        state.editions += 1;
        state.editions
    }

    pub(crate) fn written(&self, manifest: &Manifest) {
        let mut state = self.state();
        let entry = state.entries.entry(manifest.edition).or_default();
        entry.copies += 1;
        entry.hashes = manifest.files.values().copied().collect();
    }

    pub(crate) fn copied(&self, edition: u64) {
        self.state().entries.entry(edition).or_default().copies += 1;
    }

    pub(crate) fn deleting(&self, edition: u64) {
        self.state().entries.entry(edition).or_default().copies -= 1;
    }

    /// Returns how many files should exist and are not among `present`, by their hashes.
    pub(crate) fn lost(&self, present: &HashSet<u64>) -> usize {
        let state = self.state();
        let alive = state.entries.values().filter(|entry| entry.copies > 0);
        alive.flat_map(|entry| &entry.hashes).filter(|hash| !present.contains(hash)).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
