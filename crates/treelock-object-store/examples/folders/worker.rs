//! A worker: picks an operation on whole folders, does it, and notes how it went.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use treelock::Request;
use treelock_object_store::{FolderError, Folders};

use crate::error::{Result, sentence};
use crate::folder::{self, Found};
use crate::ledger::Ledger;
use crate::scheme::{Scheme, Store};
use crate::source::Source;

const PLACES_PER_SHELF: usize = 16;

/// What all workers of a round share.
pub(crate) struct World {
    pub(crate) scheme: Scheme,
    pub(crate) ledger: Ledger,
    pub(crate) source: Arc<Source>,
    pub(crate) places: usize,
    pub(crate) done: AtomicU64,
    pub(crate) end: End,
}

/// When a round ends: no operation begins after it, and all that began are waited for.
pub(crate) enum End {
    At(Instant),
    After(u64),
}

impl World {
    fn is_over(&self) -> bool {
        match self.end {
            End::At(time) => Instant::now() >= time,
            End::After(operations) => self.done.load(Ordering::Relaxed) >= operations,
        }
    }
}

/// A place for a folder. Shelves are folders of folders, so that an audit reads a sub-tree.
pub(crate) fn place(index: usize) -> Path {
    let (shelf, slot) = (index / PLACES_PER_SHELF, index % PLACES_PER_SHELF);
    Path::from(format!("shelf-{shelf:02}/box-{slot:02}"))
}

/// What a worker did and saw.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) done: BTreeMap<&'static str, u64>,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) torn: u64,
    pub(crate) first_torn: Option<String>,
    pub(crate) first_failed: Option<String>,
}

impl Notes {
    pub(crate) fn add(&mut self, other: Notes) {
        for (name, count) in other.done {
            *self.done.entry(name).or_default() += count;
        }
        self.refused += other.refused;
        self.failed += other.failed;
        self.torn += other.torn;
        self.first_torn = self.first_torn.take().or(other.first_torn);
        self.first_failed = self.first_failed.take().or(other.first_failed);
    }

    fn saw(&mut self, found: Found) {
        if let Found::Torn(how) = found {
            self.torn += 1;
            self.first_torn.get_or_insert(how);
        }
    }
}

pub(crate) async fn work(world: Arc<World>, seed: u64) -> Notes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut notes = Notes::default();
    while !world.is_over() {
        let (one, other) = (random.usize(..world.places), random.usize(..world.places));
        let (from, to) = (place(one), place(other));
        let (name, result) = match random.u32(..100) {
            0..40 => ("read", read(&world, &from, &mut notes).await),
            40..42 => ("audit", audit(&world, one, &mut notes).await),
            42..57 => ("write", write(&world, &from, random.usize(..)).await),
            57..77 => ("rename", rename(&world, &from, &to).await),
            77..87 => ("copy", copy(&world, &from, &to).await),
            _ => ("delete", delete(&world, &from).await),
        };
        match result {
            Ok(()) => {
                *notes.done.entry(name).or_default() += 1;
                world.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if is_refusal(&*error) => notes.refused += 1,
            Err(error) => {
                notes.failed += 1;
                notes
                    .first_failed
                    .get_or_insert_with(|| format!("{name} {from}: {}", sentence(&*error)));
            }
        }
    }
    notes
}

/// Returns whether chance chose a place where nothing is, or something already, or the same twice.
fn is_refusal(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(
            FolderError::NotFound { .. }
                | FolderError::AlreadyExists { .. }
                | FolderError::Overlap { .. }
        )
    )
}

async fn read(world: &World, at: &Path, notes: &mut Notes) -> Result<()> {
    let (_held, store) = world.scheme.enter(false).await;
    let view = store.read_folder(at).await?;
    notes.saw(folder::read(&view, at).await?);
    Ok(())
}

/// Reads a whole shelf at one moment.
async fn audit(world: &World, one: usize, notes: &mut Notes) -> Result<()> {
    let first = one - one % PLACES_PER_SHELF;
    let shelf = place(first).parent().unwrap_or_default();
    let (_held, store) = world.scheme.enter(false).await;
    let view = &store.read_folder(&shelf).await?;
    let mut found = stream::iter(first..world.places.min(first + PLACES_PER_SHELF))
        .map(|index| async move { folder::read(view, &place(index)).await })
        .buffer_unordered(PLACES_PER_SHELF);
    while let Some(found) = found.try_next().await? {
        notes.saw(found);
    }
    Ok(())
}

async fn write(world: &World, at: &Path, index: usize) -> Result<()> {
    let (_held, store) = world.scheme.enter(true).await;
    let view = store.write_folder(at).await?;
    if let Some(old) = folder::manifest(&view, at).await? {
        world.ledger.deleting(old.edition);
    }
    match view.delete_folder(at).await {
        Ok(_) | Err(FolderError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let edition = world.ledger.edition();
    let manifest = folder::write(&view, at, world.source.files(index), edition).await?;
    world.ledger.written(&manifest);
    Ok(())
}

async fn rename(world: &World, from: &Path, to: &Path) -> Result<()> {
    let (_held, store) = world.scheme.enter(true).await;
    store.rename_folder(from, to).await?;
    Ok(())
}

async fn copy(world: &World, from: &Path, to: &Path) -> Result<()> {
    let (_held, store) = world.scheme.enter(true).await;
    let request = Request::new().read(from.as_ref())?.write(to.as_ref())?.with_label("copy");
    let view = store.view(&request).await?;
    let manifest = folder::manifest(&view, from).await?;
    view.copy_folder(from, to).await?;
    if let Some(manifest) = manifest {
        world.ledger.copied(manifest.edition);
    }
    Ok(())
}

async fn delete(world: &World, at: &Path) -> Result<()> {
    let (_held, store): (_, Store) = world.scheme.enter(true).await;
    let view = store.write_folder(at).await?;
    if let Some(manifest) = folder::manifest(&view, at).await? {
        world.ledger.deleting(manifest.edition);
    }
    view.delete_folder(at).await?;
    Ok(())
}
