//! What a folder verb reports: how far it is after each object, and what it did.

use object_store::path::Path;

use crate::verb::{Phase, Verb};

/// The result of a folder verb.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::{Folders, LockedStore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("a/1"), "four".into()).await?;
/// let summary = store.copy_folder("a", "b").await?;
/// println!("copied {} objects, {} bytes", summary.objects, summary.bytes);
/// # assert_eq!((summary.objects, summary.bytes), (1, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderSummary {
    /// How many objects were renamed, copied or deleted.
    pub objects: usize,
    /// Their sizes together, in bytes, as the store listed them.
    pub bytes: u64,
}

/// How far a folder verb is, reported after each object: see
/// [`FolderJob::progress`](crate::FolderJob::progress).
///
/// # Examples
///
/// ```
/// # use treelock_object_store::Progress;
/// fn percent(now: &Progress<'_>) -> usize {
///     100 * now.done / now.total
/// }
/// # let _ = percent;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The verb that was called.
    pub verb: Verb,
    /// Copying or deleting. A rename does one after the other, and counts anew.
    pub phase: Phase,
    /// The object that was just copied or deleted, under its name in the source folder.
    pub path: &'a Path,
    /// How many objects of this phase are done.
    pub done: usize,
    /// How many objects this phase has.
    pub total: usize,
}
