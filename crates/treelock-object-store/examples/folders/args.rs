//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

/// Show what sub-tree locks are for: whole folders, many workers, three rounds.
///
/// Fills a local object store, in a directory of its own that is removed at the end, with real
/// files in folders. Each folder carries MANIFEST.json: its files' names and hashes. Then workers
/// rename, copy, delete, write and read WHOLE folders at random, in three rounds from the same
/// start:
///
///   without locks    every operation goes ahead at once
///   one global lock  one read/write lock around everything
///   treelock         a read/write lock on each folder, that is, on its sub-tree
#[derive(Parser, Debug)]
#[command(name = "folders", after_long_help = AFTER, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Where the real files come from [default: this repository]
    ///
    /// `target` and names that begin with a dot are skipped, and so are files above 1 MiB. At most
    /// 2,000 files and 64 MiB are used; the output says so if that cut something off.
    pub(crate) from: Option<PathBuf>,

    /// Seconds per round
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,

    /// Operations per round, instead of a time
    #[arg(long, conflicts_with = "seconds")]
    pub(crate) operations: Option<u64>,

    /// How many workers run at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) workers: u32,

    /// Milliseconds that each call to the store takes, to simulate a remote one; 0 for none
    ///
    /// A folder of seven objects takes several calls, some of them side by side. With 0 the disk
    /// and the processor set the pace, and the locks matter less.
    #[arg(long, default_value_t = 1, value_name = "MS")]
    pub(crate) latency: u64,

    /// The lock of the round under treelock: `memory:`, `dir:PATH`, or `etcd://HOST:PORT/NAMESPACE`
    /// where the feature `etcd` of treelock-any is on
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub(crate) url: String,

    /// How many folders there are at the start; the workers have twice as many places for them
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) folders: u32,

    /// Seed of the workers' choices; the scheduler decides in which order they meet
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Print JSON instead of the table
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER: &str = "\
What the table shows:
  operations per second  completed ones; 'refused' (nothing to rename, copy or delete there, or the
                         target is taken) and 'failed' ones do not count
  torn folders seen      a reader found files without their manifest, a file missing that the
                         manifest names, a file that it does not name, or one with another hash
  torn folders left      the same, looked for in all places after the round
  files lost             each edition of a folder is unique, and a ledger counts its copies: one
                         more for each write or copy that succeeded, one less before each delete or
                         overwrite. A file is lost if its edition has a copy left and its content
                         is nowhere in the store. The count errs on the low side: a write or copy
                         that failed counts as not done, a delete that failed as done.

Exit code: 0 if and only if the treelock round has no torn folder and no lost file, 1 if it has,
2 if the example could not run.

Examples:
  folders                             the repository's own files, about half a minute
  folders ~/photos --workers 256      your files, more workers
  folders --latency 10 --seconds 20   a store that is farther away
  folders --operations 2000 --json    as much work in each round, for a script";

impl Args {
    pub(crate) fn directory(&self) -> PathBuf {
        if let Some(from) = &self.from {
            return from.clone();
        }
        // Where the example was built; elsewhere (an installed binary, say) the current directory.
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        if repository.join("Cargo.toml").exists() { repository } else { PathBuf::from(".") }
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency)
    }
}
