//! The folder verbs, on a store that takes their locks and within a view that has them.

use std::future::Future;

use object_store::{ListResult, ObjectStore};
use treelock::engine::Engine;

use crate::error::folder::FolderError;
use crate::job::FolderJob;
use crate::job::plan::Plan;
use crate::path::parse;
use crate::verb::Verb;

/// The folder verbs of [`LockedStore`](crate::LockedStore) and [`LockedView`](crate::LockedView):
/// rename, copy, delete and list whole folders.
///
/// A store takes the locks that a verb needs. A view has them already and takes none: a verb that
/// needs more than it holds is refused with [`FolderError::OutsideView`], and a job keeps the
/// view's lock until it is done or dropped. Code that takes `&impl Folders` works on both.
///
/// A path is a `&str`, a `String` or a [`Path`](object_store::path::Path), and is taken as
/// [`Path::parse`](object_store::path::Path::parse) takes it: literally, with no percent-encoding
/// (`Path::from` encodes; give that `Path` itself). The object named exactly as a folder, if there
/// is one, is not in the folder: it is neither moved, copied nor deleted, but it is locked with it.
///
/// # Examples
///
/// ```
/// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
/// # use treelock_object_store::LockedStore;
/// use treelock_object_store::{FolderError, Folders};
///
/// /// Makes `site/new` the site, and keeps the old one.
/// async fn publish(store: &impl Folders) -> Result<(), FolderError> {
///     store.rename_folder("site/live", "site/old").await?;
///     store.rename_folder("site/new", "site/live").await?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = LockedStore::new(InMemory::new());
/// # store.put(&Path::from("site/live/index.html"), "old".into()).await?;
/// # store.put(&Path::from("site/new/index.html"), "new".into()).await?;
/// // Within a view, no reader sees the moment without a site.
/// publish(&store.write_folder("site").await?).await?;
/// # Ok(())
/// # }
/// ```
pub trait Folders: ObjectStore + Sized {
    /// The store that does the work, which takes no locks.
    type Inner: ObjectStore;

    /// The engine of the locks.
    type Lock: Engine;

    /// Makes the job of a plan.
    #[doc(hidden)]
    fn job(&self, plan: Result<Plan, FolderError>) -> FolderJob<Self::Inner, Self::Lock>;

    /// Renames all objects below a folder; returns a job to await.
    ///
    /// Copies all, and deletes the sources only after every copy exists. Readers of either folder
    /// see all of it before or all of it after.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: dropped while copying, the source is whole; dropped while deleting, the
    /// target is whole. Call it again with [`overwrite(true)`](FolderJob::overwrite) to finish.
    ///
    /// # Errors
    ///
    /// Refused, with nothing changed: an empty path, a rename onto itself, into its own sub-tree or
    /// onto a parent, onto a target that exists, of a folder that holds nothing.
    /// [`FolderError::Lock`] if the lock was not granted. [`FolderError::Incomplete`] if the store
    /// fails half-way, or the lock is [lost](crate#several-processes): then the next object is left
    /// alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
    /// let summary = store.rename_folder("photos/2024", "archive/2024").await?;
    /// assert_eq!((summary.objects, summary.bytes), (1, 4));
    /// # Ok(())
    /// # }
    /// ```
    fn rename_folder(
        &self,
        from: impl AsRef<str>,
        to: impl AsRef<str>,
    ) -> FolderJob<Self::Inner, Self::Lock> {
        self.job(Plan::of_two(Verb::Rename, from.as_ref(), to.as_ref()))
    }

    /// Copies all objects below a folder; returns a job to await.
    ///
    /// Readers of the target see all of it or nothing; readers of the source do not wait.
    ///
    /// # Cancel safety
    ///
    /// The source is untouched; the target may hold some of the copies. Call it again with
    /// [`overwrite(true)`](FolderJob::overwrite) to finish.
    ///
    /// # Errors
    ///
    /// As [`rename_folder`](Folders::rename_folder).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("templates/site/index.html"), "<p>".into()).await?;
    /// store.copy_folder("templates/site", "sites/42").await?;
    /// # assert!(store.head(&Path::from("templates/site/index.html")).await.is_ok());
    /// # assert!(store.head(&Path::from("sites/42/index.html")).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    fn copy_folder(
        &self,
        from: impl AsRef<str>,
        to: impl AsRef<str>,
    ) -> FolderJob<Self::Inner, Self::Lock> {
        self.job(Plan::of_two(Verb::Copy, from.as_ref(), to.as_ref()))
    }

    /// Deletes all objects below a folder; returns a job to await.
    ///
    /// # Cancel safety
    ///
    /// Some of the objects may be gone. Call it again to delete the rest.
    ///
    /// # Errors
    ///
    /// Refused, with nothing changed: an empty path, a folder that holds nothing. Failures are
    /// those of [`rename_folder`](Folders::rename_folder).
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("tmp/run-7/log"), "…".into()).await?;
    /// let summary = store.delete_folder("tmp/run-7").await?;
    /// assert_eq!(summary.objects, 1);
    /// # Ok(())
    /// # }
    /// ```
    fn delete_folder(&self, path: impl AsRef<str>) -> FolderJob<Self::Inner, Self::Lock> {
        self.job(Plan::of_one(Verb::Delete, path.as_ref()))
    }

    /// Lists a folder; returns the objects and the folders directly below it.
    ///
    /// A folder that holds nothing, or does not exist, lists as empty: a store cannot tell the two
    /// apart. The empty path or `/` lists the top of the store. For everything below a folder use
    /// `list`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back its lock, or its place in line.
    ///
    /// # Errors
    ///
    /// [`FolderError::InvalidPath`]; [`FolderError::Store`] if the store fails or the path lies
    /// outside of a view; [`FolderError::Lock`] if the lock fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
    /// # use treelock_object_store::{Folders, LockedStore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = LockedStore::new(InMemory::new());
    /// # store.put(&Path::from("photos/index"), "cat".into()).await?;
    /// # store.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
    /// let photos = store.list_folder("photos").await?;
    /// assert_eq!(photos.objects[0].location.as_ref(), "photos/index");
    /// assert_eq!(photos.common_prefixes[0].as_ref(), "photos/2024");
    /// # Ok(())
    /// # }
    /// ```
    fn list_folder(
        &self,
        path: impl AsRef<str>,
    ) -> impl Future<Output = Result<ListResult, FolderError>> + Send {
        let path = parse(Verb::List, path.as_ref());
        async move {
            let path = path?;
            let listed = self.list_with_delimiter(Some(&path)).await;
            listed.map_err(|source| FolderError::store(Verb::List, &path, source))
        }
    }
}
