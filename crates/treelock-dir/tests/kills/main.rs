//! Death at random instants (C22), as often as you like. Workers in tight loops on a few nodes that
//! overlap are killed and replaced, and marks that do not trust the lock show whether two ever
//! meet.
//!
//! `cargo test -p treelock-dir --test kills` kills some hundreds. By hand, with as many as you have
//! time for:
//!
//! ```sh
//! cargo test --release -p treelock-dir --test kills -- --kills 100000
//! ```
//!
//! It prints what it has counted. It fails if two workers met, a token did not grow, a request
//! waited with nobody in its way, anything was live after all had ended, or a worker failed.

mod herd;
mod marks;
mod worker;

use std::{env, error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

use crate::{herd::Plan, worker::Told};

/// How many workers are killed without a lock, to see that the marks would show it. If they do not,
/// because hardly anyone had time to work, more are.
const KILLS_WITHOUT_LOCK: [u64; 4] = [20, 200, 1_000, 5_000];

/// Kills processes that use the lock, and checks whether it keeps its contract
#[derive(Debug, Parser)]
struct Arguments {
    /// How many processes to kill
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// After how many kills all processes end, so that nothing may be left
    #[arg(long, default_value_t = 150)]
    round: u64,
    /// How many processes there are; two of them are never killed
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(3..))]
    workers: u8,
    /// How many seconds a request may wait with nobody in its way
    #[arg(long, default_value_t = 10)]
    limit: u64,
    /// Where to put the table, instead of the directory of temporary files
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Repeat the choices of an earlier run; how processes interleave differs each time
    #[arg(long)]
    seed: Option<u64>,
    /// Do nothing unless this is part of this program's name, so that `cargo test NAME` works
    #[arg(hide = true)]
    filter: Option<String>,
    // What `cargo test` may be given for all test programs.
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<u64>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    // Before anything else, since most of a short life would be spent on it.
    if let [first, told @ ..] = &words[..]
        && first == "worker"
    {
        worker::work(Told::from_words(told)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    if arguments.list {
        println!("kills: test");
        return Ok(ExitCode::SUCCESS);
    }
    let is_named = |name: &String| "kills".contains(&**name);
    if arguments.ignored
        || arguments.filter.as_ref().is_some_and(|name| !is_named(name))
        || arguments.skip.iter().any(is_named)
    {
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut is_shown = false;
    for kills in KILLS_WITHOUT_LOCK {
        is_shown = is_shown || run(&arguments, seed, kills, false)?.counts.overlaps > 0;
    }
    if !is_shown {
        println!("Without a lock the workers did not meet, so the marks show nothing.");
        return Ok(ExitCode::FAILURE);
    }
    let outcome = run(&arguments, seed, arguments.kills, true)?;
    println!("{outcome}");
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(
    arguments: &Arguments,
    seed: u64,
    kills: u64,
    locks: bool,
) -> Result<herd::Outcome, Box<dyn Error>> {
    let scratch = match &arguments.directory {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let told = Told {
        folder: scratch.path().to_path_buf(),
        workers: arguments.workers.into(),
        row: 0,
        number: 0,
        limit: Duration::from_secs(arguments.limit),
        locks,
    };
    Ok(herd::run(&Plan { kills, round: arguments.round, seed, told })?)
}
