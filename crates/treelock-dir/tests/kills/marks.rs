//! Marks that do not trust the lock: words in a file, which workers write inside their locks.
//!
//! A worker has a row of marks, one for each place. It marks the places that it has locked, and
//! then reads the rows of the others; before it releases, it clears its row. Of two that are in one
//! place at a time, at least one sees the other's mark.
//!
//! A mark may be that of a worker that was killed in its place. So the herd writes down whom it is
//! about to kill, and each mark says who made it. If a worker sees the mark of another one, and
//! only then reads that the other is not to be killed, the other was alive in that place.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// The leaves of the tree.
pub(crate) const PLACES: [&str; 4] = ["a/x", "a/y", "b/x", "b/y"];

/// How a worker is in each place: it writes, it reads, or it is not there.
pub(crate) type Stay = [Option<bool>; PLACES.len()];

/// Declares what a worker counts, so that it survives the worker.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a worker counts. It is stored with the marks, so it survives the worker.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Counts {
            const COUNT: usize = [$(stringify!($name)),*].len();

            fn from_words(words: &[u64]) -> Counts {
                let mut words = words.iter().copied();
                Counts { $($name: words.next().unwrap_or_default(),)* }
            }

            fn words(&self) -> Vec<u64> {
                vec![$(self.$name,)*]
            }
        }
    };
}

counts! {
    /// Requests that were made.
    requests,
    /// Requests that were granted.
    grants,
    /// Two workers in a place where only one may be.
    overlaps,
    /// Grants whose token was not larger than that of an earlier writer (C20).
    stale_tokens,
    /// Waiting requests with nobody in their way.
    lost_wake_ups,
    /// The longest wait for a grant, in microseconds.
    longest_wait,
}

/// The file of the marks.
#[derive(Debug)]
pub(crate) struct Marks {
    file: File,
    workers: usize,
}

// The words of the file, in this order: whether to stop; the last token of each place; whom the
// herd has sentenced, for each worker's row; the rows; what each worker has counted.
const STOP: usize = 0;
const TOKENS: usize = 1;
const SENTENCED: usize = TOKENS + PLACES.len();

impl Marks {
    /// Opens the file, and creates it if it is missing.
    pub(crate) fn open(path: &Path, workers: usize) -> io::Result<Marks> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let marks = Marks { file, workers };
        marks.file.set_len(((marks.counts() + workers * Counts::COUNT) * 8) as u64)?;
        Ok(marks)
    }

    fn rows(&self) -> usize {
        SENTENCED + self.workers
    }

    fn counts(&self) -> usize {
        self.rows() + self.workers * PLACES.len()
    }

    fn read(&self, at: usize, count: usize) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; count * 8];
        self.file.read_exact_at(&mut bytes, at as u64 * 8)?;
        let word = |word: &[u8]| u64::from_le_bytes(word.try_into().expect("eight bytes"));
        Ok(bytes.chunks_exact(8).map(word).collect())
    }

    fn write(&self, at: usize, words: &[u64]) -> io::Result<()> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.file.write_all_at(&bytes, at as u64 * 8)
    }

    /// Tells the workers to end, or no longer to.
    pub(crate) fn set_stop(&self, stop: bool) -> io::Result<()> {
        self.write(STOP, &[stop.into()])
    }

    pub(crate) fn stop(&self) -> io::Result<bool> {
        Ok(self.read(STOP, 1)? != [0])
    }

    /// Writes down that this worker is about to be killed. Workers are numbered as they start, and
    /// those that have a row one after another have rising numbers.
    pub(crate) fn sentence(&self, row: usize, number: u64) -> io::Result<()> {
        self.write(SENTENCED + row, &[number])
    }

    /// Marks where a worker is. Returns whom it has met, and in which place, where only one may be.
    pub(crate) fn enter(
        &self,
        row: usize,
        number: u64,
        stay: &Stay,
    ) -> io::Result<Vec<(u64, &'static str)>> {
        let own = stay.map(|writes| writes.map_or(0, |writes| mark(number, writes)));
        self.write(self.rows() + row * PLACES.len(), &own)?;
        let all = self.read(self.rows(), self.workers * PLACES.len())?;
        let mut met = Vec::new();
        for (index, theirs) in all.into_iter().enumerate() {
            let (other, place) = (index / PLACES.len(), index % PLACES.len());
            let Some(writes) = stay[place] else { continue };
            if other == row || theirs == 0 || !(writes || theirs & 1 == 1) {
                continue;
            }
            if self.read(SENTENCED + other, 1)?[0] < theirs >> 1 {
                met.push((theirs >> 1, PLACES[place]));
            }
        }
        Ok(met)
    }

    /// Clears a worker's row.
    pub(crate) fn leave(&self, row: usize) -> io::Result<()> {
        self.write(self.rows() + row * PLACES.len(), &[0; PLACES.len()])
    }

    /// Returns in how many places a writer had the same token or a larger one, and leaves this one
    /// where its worker writes.
    pub(crate) fn pass_token(&self, stay: &Stay, token: u64) -> io::Result<u64> {
        let last = self.read(TOKENS, PLACES.len())?;
        let mut stale = 0;
        for (place, last) in last.into_iter().enumerate() {
            let Some(writes) = stay[place] else { continue };
            stale += u64::from(last >= token);
            if writes {
                self.write(TOKENS + place, &[token])?;
            }
        }
        Ok(stale)
    }

    /// Returns what the workers with this row have counted.
    pub(crate) fn counted(&self, row: usize) -> io::Result<Counts> {
        let at = self.counts() + row * Counts::COUNT;
        Ok(Counts::from_words(&self.read(at, Counts::COUNT)?))
    }

    pub(crate) fn count(&self, row: usize, counts: &Counts) -> io::Result<()> {
        self.write(self.counts() + row * Counts::COUNT, &counts.words())
    }

    /// Returns what all workers have counted.
    pub(crate) fn sum(&self) -> io::Result<Counts> {
        let mut sum = Counts::default();
        for row in 0..self.workers {
            let counted = self.counted(row)?;
            sum.requests += counted.requests;
            sum.grants += counted.grants;
            sum.overlaps += counted.overlaps;
            sum.stale_tokens += counted.stale_tokens;
            sum.lost_wake_ups += counted.lost_wake_ups;
            sum.longest_wait = sum.longest_wait.max(counted.longest_wait);
        }
        Ok(sum)
    }
}

fn mark(number: u64, writes: bool) -> u64 {
    number << 1 | u64::from(writes)
}
