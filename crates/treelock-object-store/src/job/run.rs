//! How a folder verb is done: survey, then copy all, then delete all.
//!
//! What it buys: a source is deleted only after every copy exists, so at each moment every object
//! is at its old place, or at its new one, or at both. After the first failure nothing more is
//! started and what is under way is waited for, so that the error can say what is where.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt};
use object_store::path::Path;
use object_store::{CopyOptions, Error, ObjectStore};
use treelock::engine::Engine;

use crate::error::folder::FolderError;
use crate::hold::Hold;
use crate::job::lock_source::LockSource;
use crate::job::plan::Plan;
use crate::job::progress::FolderSummary;
use crate::job::survey::survey;
use crate::job::tally::Tally;
use crate::job::tuning::Tuning;
use crate::path::moved;
use crate::verb::{Phase, Verb};

/// Does what the plan says, under one lock from the survey to the last delete.
pub(crate) async fn run<S: ObjectStore, L: Engine>(
    store: Arc<S>,
    lock: LockSource<L>,
    plan: Result<Plan, FolderError>,
    mut tuning: Tuning,
) -> Result<FolderSummary, FolderError> {
    let plan = plan?;
    let hold = lock.acquire(&plan).await?;
    let surveyed = survey(&*store, &plan, tuning.overwrite).await;
    // Before what was seen is judged, also if it was nothing: it may be the doing of the next
    // holder.
    hold.check().map_err(FolderError::Lock)?;
    let objects = surveyed?;
    if let Some(to) = &plan.to {
        copy_all(&store, &hold, to, Tally::new(&plan, Phase::Copy, &objects), &mut tuning).await?;
    }
    if plan.verb != Verb::Copy {
        let tally = Tally::new(&plan, Phase::Delete, &objects);
        delete_all(&*store, &hold, tally, &mut tuning).await?;
    }
    let bytes = objects.iter().map(|object| object.size).sum();
    Ok(FolderSummary { objects: objects.len(), bytes })
}

/// Copies each object, if the lock is held at that moment.
async fn copy_all<S: ObjectStore, L: Engine>(
    store: &Arc<S>,
    hold: &Arc<Hold<L>>,
    to: &Path,
    mut tally: Tally<'_>,
    tuning: &mut Tuning,
) -> Result<(), FolderError> {
    let from = &tally.plan.from;
    let pairs: Vec<(Path, Path)> = tally
        .objects
        .iter()
        .map(|object| (object.location.clone(), moved(&object.location, from, to)))
        .collect();
    let failed = tally.failed();
    let (store, held) = (Arc::clone(store), Arc::clone(hold));
    // Not `CopyMode::Create`, which S3 cannot do: that nothing is there was seen under this lock.
    let mut copies = stream::iter(pairs)
        .take_while(move |_| ready(!failed.load(Ordering::Relaxed)))
        .map(move |(source, target)| {
            let (store, held) = (Arc::clone(&store), Arc::clone(&held));
            async move {
                held.check()?;
                store.copy_opts(&source, &target, CopyOptions::new()).await.map(|()| source)
            }
        })
        .buffer_unordered(tuning.parallelism);
    while let Some(result) = copies.next().await {
        tally.count(result, tuning);
    }
    tally.finish(hold)
}

/// Hands each object to the store to be deleted, if the lock is held at that moment.
async fn delete_all<S: ObjectStore, L: Engine>(
    store: &S,
    hold: &Arc<Hold<L>>,
    mut tally: Tally<'_>,
    tuning: &mut Tuning,
) -> Result<(), FolderError> {
    let locations: Vec<_> = tally.objects.iter().map(|object| object.location.clone()).collect();
    let failed = tally.failed();
    let held = Arc::clone(hold);
    // A loss is an error among the locations and not their end: a store that collects them for one
    // large request then does not send it.
    let locations = stream::iter(locations)
        .take_while(move |_| ready(!failed.load(Ordering::Relaxed)))
        .map(move |location| Ok(held.check().map(|()| location)?));
    let mut deletes = store.delete_stream(locations.boxed());
    while let Some(result) = deletes.next().await {
        match result {
            // Someone outside the lock was faster; the object is gone, which was the aim.
            Err(Error::NotFound { .. }) => {}
            result => tally.count(result, tuning),
        }
    }
    tally.finish(hold)
}
