//! How a folder verb is done: survey, then copy all, then delete all.
//!
//! What it buys: a source is deleted only after every copy stands, so at each moment every object
//! stands at its old place, or at its new one, or at both. The first failure starts nothing more
//! and waits for what is under way, so that the error can say what is where.

use std::collections::HashSet;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{CopyOptions, Error, GetOptions, ObjectMeta, ObjectStore};
use treelock::{Access, Engine, Request};

use crate::dir::{DirSummary, Phase, Progress, Tuning, Verb};
use crate::error::{DirError, Incomplete};
use crate::lease::Lease;
use crate::store::node;

/// What a folder verb is to do, with all that can be refused without a look at the store refused.
#[derive(Debug)]
pub(crate) struct Plan {
    verb: Verb,
    from: Path,
    to: Option<Path>,
}

/// Takes a text for a path as it stands, without encoding it.
pub(crate) fn parse(verb: Verb, text: &str) -> Result<Path, DirError> {
    Path::parse(text).map_err(|source| DirError::InvalidPath { verb, source })
}

impl Plan {
    pub(crate) fn one(verb: Verb, path: &str) -> Result<Plan, DirError> {
        Ok(Plan { verb, from: named(verb, path)?, to: None })
    }

    pub(crate) fn two(verb: Verb, from: &str, to: &str) -> Result<Plan, DirError> {
        let (from, to) = (named(verb, from)?, named(verb, to)?);
        // Into its own sub-tree, a rename would delete its copies with its sources. Onto a parent,
        // the sources would lie in their own target. Neither has a meaning that is surely meant.
        if from.prefix_matches(&to) || to.prefix_matches(&from) {
            return Err(DirError::Overlap { verb, from, to });
        }
        Ok(Plan { verb, from, to: Some(to) })
    }

    fn request(&self) -> object_store::Result<Request> {
        let source = if self.verb == Verb::Copy { Access::Read } else { Access::Write };
        let request = Request::new().with(source, node(&self.from)?);
        Ok(match &self.to {
            Some(to) => request.with(Access::Write, node(to)?),
            None => request,
        }
        .label(self.verb.name()))
    }

    fn store_error(&self, path: &Path, source: Error) -> DirError {
        DirError::store(self.verb, path, source)
    }
}

/// Refuses the empty path, which is what an unset variable makes of a folder's name.
fn named(verb: Verb, text: &str) -> Result<Path, DirError> {
    let path = parse(verb, text)?;
    if path.is_root() {
        return Err(DirError::EmptyPath { verb });
    }
    Ok(path)
}

/// Where a verb stands: it takes its own lock, or works within what a view holds.
pub(crate) enum Ground<L: Engine> {
    Lock(L),
    View(Arc<Lease<L>>),
}

impl<L: Engine> Ground<L> {
    async fn enter(&self, plan: &Plan) -> Result<Arc<Lease<L>>, DirError> {
        let request = plan.request().map_err(|source| plan.store_error(&plan.from, source))?;
        match self {
            Ground::Lock(lock) => Lease::acquire(lock, request).await.map_err(DirError::Lock),
            Ground::View(lease)
                if request.roots().all(|(access, node)| lease.covers(access, node)) =>
            {
                Ok(Arc::clone(lease))
            }
            Ground::View(lease) => Err(DirError::OutsideView {
                verb: plan.verb,
                needed: request.to_string(),
                held: lease.request().to_string(),
            }),
        }
    }
}

/// Does what the plan says, under one lock from the survey to the last delete.
pub(crate) async fn run<S: ObjectStore, L: Engine>(
    store: Arc<S>,
    ground: Ground<L>,
    plan: Result<Plan, DirError>,
    mut tuning: Tuning,
) -> Result<DirSummary, DirError> {
    let plan = plan?;
    let lease = ground.enter(&plan).await?;
    let surveyed = survey(&*store, &plan, tuning.overwrite).await;
    // Before what was seen, and also if it was nothing: it may be the doing of the next holder.
    lease.check().map_err(DirError::Lock)?;
    let objects = surveyed?;
    if let Some(to) = &plan.to {
        copy_all(&store, &lease, to, Tally::new(&plan, Phase::Copy, &objects), &mut tuning).await?;
    }
    if plan.verb != Verb::Copy {
        delete_all(&*store, &lease, Tally::new(&plan, Phase::Delete, &objects), &mut tuning)
            .await?;
    }
    Ok(DirSummary::new(objects.len(), objects.iter().map(|object| object.size).sum()))
}

/// Lists the source, and makes sure that it holds something and the target nothing.
async fn survey<S: ObjectStore>(
    store: &S,
    plan: &Plan,
    overwrite: bool,
) -> Result<Vec<ObjectMeta>, DirError> {
    let listed = async {
        let all = store.list(Some(&plan.from)).try_collect::<Vec<_>>().await;
        all.map_err(|source| plan.store_error(&plan.from, source))
    };
    let target = async {
        match &plan.to {
            Some(to) if !overwrite => {
                occupant(store, to).await.map_err(|source| plan.store_error(to, source))
            }
            _ => Ok(None),
        }
    };
    let (mut objects, occupant) = try_join(listed, target).await?;
    // Some stores keep a marker named as the folder itself. It is an object like any other of that
    // exact name: no part of the folder.
    objects.retain(|object| is_below(&object.location, &plan.from));
    if objects.is_empty() {
        let is_object = exists(store, &plan.from)
            .await
            .map_err(|source| plan.store_error(&plan.from, source))?;
        return Err(DirError::NotFound { verb: plan.verb, path: plan.from.clone(), is_object });
    }
    match (occupant, &plan.to) {
        (Some(found), Some(to)) => {
            Err(DirError::AlreadyExists { verb: plan.verb, to: to.clone(), found })
        }
        _ => Ok(objects),
    }
}

/// An object at or below `to`, if there is one.
async fn occupant<S: ObjectStore>(store: &S, to: &Path) -> object_store::Result<Option<Path>> {
    let below = async { store.list(Some(to)).try_next().await };
    let (below, at) = try_join(below, exists(store, to)).await?;
    Ok(below.map(|object| object.location).or_else(|| at.then(|| to.clone())))
}

async fn exists<S: ObjectStore>(store: &S, path: &Path) -> object_store::Result<bool> {
    match store.get_opts(path, GetOptions::new().with_head(true)).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_below(location: &Path, folder: &Path) -> bool {
    location.prefix_match(folder).is_some_and(|mut parts| parts.next().is_some())
}

/// The place below `to` that `location` has below `from`.
fn moved(location: &Path, from: &Path, to: &Path) -> Path {
    let mut target = to.clone();
    target.extend(location.prefix_match(from).into_iter().flatten());
    target
}

/// Copies each object, if the lock is held at that moment.
async fn copy_all<S: ObjectStore, L: Engine>(
    store: &Arc<S>,
    lease: &Arc<Lease<L>>,
    to: &Path,
    mut tally: Tally<'_>,
    tuning: &mut Tuning,
) -> Result<(), DirError> {
    let from = &tally.plan.from;
    let pairs: Vec<(Path, Path)> = tally
        .objects
        .iter()
        .map(|object| (object.location.clone(), moved(&object.location, from, to)))
        .collect();
    let failed = tally.failed();
    let (store, held) = (Arc::clone(store), Arc::clone(lease));
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
    tally.finish(lease)
}

/// Hands each object to the store to be deleted, if the lock is held at that moment.
async fn delete_all<S: ObjectStore, L: Engine>(
    store: &S,
    lease: &Arc<Lease<L>>,
    mut tally: Tally<'_>,
    tuning: &mut Tuning,
) -> Result<(), DirError> {
    let locations: Vec<_> = tally.objects.iter().map(|object| object.location.clone()).collect();
    let failed = tally.failed();
    let held = Arc::clone(lease);
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
    tally.finish(lease)
}

/// Who is done, and the first failure.
struct Tally<'a> {
    plan: &'a Plan,
    phase: Phase,
    objects: &'a [ObjectMeta],
    done: Vec<Path>,
    failed: Arc<AtomicBool>,
    first: Option<Error>,
}

impl<'a> Tally<'a> {
    fn new(plan: &'a Plan, phase: Phase, objects: &'a [ObjectMeta]) -> Tally<'a> {
        let done = Vec::with_capacity(objects.len());
        Tally { plan, phase, objects, done, failed: Arc::default(), first: None }
    }

    /// The flag that stops the stream of work after the first failure.
    fn failed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failed)
    }

    fn count(&mut self, result: object_store::Result<Path>, tuning: &mut Tuning) {
        match result {
            Ok(path) => {
                let counts = (self.done.len() + 1, self.objects.len());
                if let Some(report) = &mut tuning.progress {
                    report(&Progress::new(self.plan.verb, self.phase, &path, counts));
                }
                self.done.push(path);
            }
            Err(error) => {
                self.failed.store(true, Ordering::Relaxed);
                self.first.get_or_insert(error);
            }
        }
    }

    /// A loss is told before what the store said, for it is what decides how to go on; and it is
    /// told when all is done as well, as others may have been there meanwhile.
    fn finish<L: Engine>(self, lease: &Lease<L>) -> Result<(), DirError> {
        let lost = lease.confirm(Ok(())).err();
        let Some(source) = lost.or(self.first) else { return Ok(()) };
        let done: HashSet<&Path> = self.done.iter().collect();
        let remaining = self.objects.iter().map(|object| &object.location);
        let remaining = remaining.filter(|path| !done.contains(path)).cloned().collect();
        Err(DirError::Incomplete(Box::new(Incomplete {
            verb: self.plan.verb,
            phase: self.phase,
            from: self.plan.from.clone(),
            to: self.plan.to.clone(),
            done: self.done,
            remaining,
            source,
        })))
    }
}
