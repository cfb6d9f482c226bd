//! One round: fill, let the workers work, check.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tempfile::TempDir;
use tokio::task::JoinSet;
use treelock_any::AnyLock;

use crate::args::Args;
use crate::check::check;
use crate::error::Result;
use crate::folder;
use crate::ledger::Ledger;
use crate::report::Round;
use crate::scheme::{Kind, Scheme};
use crate::slow::Slow;
use crate::source::Source;
use crate::worker::{End, Notes, World, place, work};

const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) async fn run(kind: Kind, args: &Args, source: &Arc<Source>) -> Result<Round> {
    let directory = TempDir::with_prefix("treelock-folders-")?;
    let local = LocalFileSystem::new_with_prefix(directory.path())?;
    let slow = Arc::new(Slow::new(local, args.latency()));
    let ledger = Ledger::default();
    let folders = args.folders as usize;
    fill(slow.inner(), &ledger, source, folders).await?;

    let lock = AnyLock::open(&args.url)?;
    let start = Instant::now();
    let end = match args.operations {
        Some(operations) => End::After(operations),
        None => End::At(start + Duration::from_secs(args.seconds)),
    };
    let world = Arc::new(World {
        scheme: Scheme::new(kind, Arc::clone(&slow) as Arc<dyn ObjectStore>, lock),
        ledger,
        source: Arc::clone(source),
        places: 2 * folders,
        done: AtomicU64::new(0),
        end,
    });
    let notes = workers(&world, kind, args, start).await?;
    let seconds = start.elapsed().as_secs_f64();
    let damage = check(slow.inner(), &world.ledger, world.places).await?;
    Ok(Round::new(kind, seconds, notes, damage))
}

/// Puts a folder into every other place.
async fn fill(
    store: &dyn ObjectStore,
    ledger: &Ledger,
    source: &Source,
    folders: usize,
) -> Result<()> {
    for index in 0..folders {
        let files = source.files(index);
        let manifest = folder::write(store, &place(2 * index), files, ledger.edition()).await?;
        ledger.written(&manifest);
    }
    Ok(())
}

/// Lets all workers work to the end of the round, and shows how far it is.
async fn workers(world: &Arc<World>, kind: Kind, args: &Args, start: Instant) -> Result<Notes> {
    let mut workers = JoinSet::new();
    for index in 0..u64::from(args.workers) {
        workers.spawn(work(Arc::clone(world), args.seed.wrapping_mul(1_000_003) + index));
    }
    let bar = bar(kind, args)?;
    let mut notes = Notes::default();
    let mut ticks = tokio::time::interval(REDRAW_INTERVAL);
    loop {
        tokio::select! {
            finished = workers.join_next() => match finished {
                Some(finished) => notes.add(finished?),
                None => break,
            },
            _ = ticks.tick() => show(&bar, world, start),
        }
    }
    bar.finish_and_clear();
    let done = world.done.load(Ordering::Relaxed);
    let rate = done as f64 / start.elapsed().as_secs_f64();
    eprintln!("{:>15}: {done} operations, {rate:.0} per second; checking", kind.title());
    Ok(notes)
}

fn bar(kind: Kind, args: &Args) -> Result<ProgressBar> {
    let length = args.operations.unwrap_or(args.seconds * 1000);
    let style = ProgressStyle::with_template("{prefix:>15}: {bar:40} {percent:>3} %  {msg}")?;
    Ok(ProgressBar::new(length).with_style(style).with_prefix(kind.title()))
}

fn show(bar: &ProgressBar, world: &World, start: Instant) {
    let done = world.done.load(Ordering::Relaxed);
    let elapsed = start.elapsed();
    bar.set_position(match world.end {
        End::At(_) => elapsed.as_millis() as u64,
        End::After(_) => done,
    });
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    bar.set_message(format!("{done} operations, {rate:.0} per second"));
}
