//! Two processes rename folders of one directory to and fro, each in its own place, and each looks
//! at what the other does: no look may find half a folder.
//!
//! `cargo run -p treelock-etcd --example two_processes -- --start-etcd`

mod support;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use futures_util::{TryStreamExt, future::try_join};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use serde::{Deserialize, Serialize};
use support::{Cluster, Result};
use treelock::engine::Engine;
use treelock_object_store::{Folders, LockedStore};

/// Show what a lock between processes is for: whole folders in one directory, two processes.
///
/// Each process renames a folder of its own to and fro, and looks at the other's: all files of a
/// folder must be at one of its two places. Both work through a `LockedStore`, whose lock is in
/// etcd. With --without-lock each has a lock of its own, which the other does not know.
#[derive(Parser)]
#[command(name = "two_processes", after_help = AFTER)]
struct Args {
    #[command(flatten)]
    cluster: Cluster,

    /// Seconds
    #[arg(long, default_value_t = 3)]
    seconds: u64,

    /// Give each process a lock of its own instead of the one in etcd, which then is not needed
    #[arg(long)]
    without_lock: bool,

    /// Be the other process, in this directory
    #[arg(long, hide = true)]
    other_in: Option<PathBuf>,
}

const AFTER: &str = "\
Exit code: 0 if both renamed and looked, and no folder was torn under the lock in etcd, or if some
were without it; 1 otherwise; 2 if the example could not run.";

const FILES: usize = 12;

/// What one process did and saw.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    renames: u64,
    looks: u64,
    torn: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("two_processes: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(mut args: Args) -> Result<bool> {
    if let Some(directory) = &args.other_in {
        let counts = work(&args, directory, ["two", "one"]).await?;
        println!("{}", serde_json::to_string(&counts)?);
        return Ok(true);
    }
    let _etcd = if args.without_lock { None } else { args.cluster.start()? };
    let directory = tempfile::tempdir()?;
    fill(directory.path()).await?;
    let mut other = args.cluster.again()?;
    other.args(["--seconds", &args.seconds.to_string(), "--other-in"]).arg(directory.path());
    if args.without_lock {
        other.arg("--without-lock");
    }
    let other = other.spawn()?;
    let one = work(&args, directory.path(), ["one", "two"]).await?;
    let two = serde_json::from_slice(&other.wait_with_output()?.stdout)?;
    Ok(report(&args, &[one, two]))
}

/// Puts a folder for each process.
async fn fill(directory: &Path) -> Result<()> {
    let bare = LocalFileSystem::new_with_prefix(directory)?;
    for process in ["one", "two"] {
        for file in 0..FILES {
            let at = format!("{process}/here/{file}").into();
            bare.put(&at, format!("file {file} of {process}").into()).await?;
        }
    }
    Ok(())
}

async fn work(args: &Args, directory: &Path, names: [&str; 2]) -> Result<Counts> {
    let bare = LocalFileSystem::new_with_prefix(directory)?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    if args.without_lock {
        return rename_and_look(&LockedStore::new(bare), names, end).await;
    }
    let lock = args.cluster.lock(Duration::from_secs(15)).await?;
    let counts = rename_and_look(&LockedStore::with_lock(bare, lock.clone()), names, end).await;
    lock.settled().await;
    counts
}

/// The same, whatever lock the store has.
async fn rename_and_look<S: ObjectStore, L: Engine>(
    store: &LockedStore<S, L>,
    [own, other]: [&str; 2],
    end: Instant,
) -> Result<Counts> {
    let renaming = async {
        let (mut from, mut to, mut renames) = ("here", "there", 0);
        while Instant::now() < end {
            store.rename_folder(format!("{own}/{from}"), format!("{own}/{to}")).await?;
            (from, to) = (to, from);
            renames += 1;
        }
        Result::Ok(renames)
    };
    let looking = async {
        let (mut looks, mut torn) = (0, 0);
        while Instant::now() < end {
            let view = store.read_folder(other).await?;
            let listed: Vec<_> = view.list(Some(&other.into())).try_collect().await?;
            let here = |name: &&str| name.starts_with(&format!("{other}/here/"));
            let names = listed.iter().map(|object| object.location.as_ref());
            looks += 1;
            torn += u64::from(
                listed.len() != FILES || ![0, FILES].contains(&names.filter(here).count()),
            );
        }
        Result::Ok((looks, torn))
    };
    let (renames, (looks, torn)) = try_join(renaming, looking).await?;
    Ok(Counts { renames, looks, torn })
}

/// Prints the counts. Returns whether they are as they should be.
fn report(args: &Args, counts: &[Counts]) -> bool {
    println!("             renames    looks     torn");
    for (number, Counts { renames, looks, torn }) in (1..).zip(counts) {
        println!("process {number}  {renames:>10} {looks:>8} {torn:>8}");
    }
    if counts.iter().any(|counts| counts.renames == 0 || counts.looks == 0) {
        println!("\nOne did not come to rename or to look; let it run for longer (--seconds).");
        return false;
    }
    let torn: u64 = counts.iter().map(|counts| counts.torn).sum();
    match (args.without_lock, torn) {
        (false, 0) => println!("\nUnder the lock in etcd, no look found half a folder."),
        (false, torn) => {
            println!("\n{torn} looks found half a folder under the lock: that is a bug.")
        }
        (true, 0) => println!("\nNo look found half a folder; let it run for longer (--seconds)."),
        (true, torn) => println!("\nWithout a common lock, {torn} looks found half a folder."),
    }
    args.without_lock == (torn > 0)
}
