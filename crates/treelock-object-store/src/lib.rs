//! Object stores with whole folders: each is renamed, copied, deleted and read under one lock.
//!
//! Object stores have no folders, only keys with slashes in them. So renaming a folder is many
//! copies and many deletes, and whoever reads in between sees half of it. [`LockedStore`] wraps any
//! [`ObjectStore`](object_store::ObjectStore) (S3, GCS, Azure, local files, memory), is one itself,
//! and takes the right sub-tree lock, of a [`TreeLock`](treelock::TreeLock) or of several
//! processes, for every operation:
//!
//! ```
//! # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! use treelock_object_store::{Folders, LockedStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let inner = InMemory::new();
//! # inner.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
//! let store = LockedStore::new(inner);
//! store.rename_folder("photos/2024", "archive/2024").await?;
//! # assert!(store.head(&Path::from("archive/2024/cat.jpg")).await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! While that runs, operations below `photos/2024` and `archive/2024` wait, and all others go on.
//! A lock costs as much as its path has ancestors, whatever lies below it or is held elsewhere.
//!
//! # The one rule
//!
//! **A stream in hand is a lock in hand.** The lock is fair and not re-entrant: an operation waits
//! for every *earlier* operation that conflicts with it, held or waiting. So a task that holds a
//! [`GetResult`](object_store::GetResult), a list stream, a multipart upload, or a guard of
//! [`LockedStore::lock`], and waits for an operation on the same folder, may wait for itself, for
//! ever:
//!
//! - A write below what the task reads waits for that read: always a deadlock.
//! - A read below what the task reads is granted, *unless* a writer came in between and waits for
//!   the first read: a deadlock only sometimes, which is worse.
//!
//! There are three ways to avoid it. End or drop the stream first (`bytes().await`,
//! `try_collect()`). Or hold the folder with [`LockedStore::read_folder`] or
//! [`LockedStore::write_folder`] and work through the [`LockedView`] that they return, which takes
//! no lock again. Or work on [`LockedStore::inner`] under your own guard. To find a task that waits
//! for itself, print `store.lock().snapshot().await`: it shows who holds what, for how long, and
//! who waits.
//!
//! # Several processes
//!
//! The lock of [`LockedStore::new`] lives in its process. [`LockedStore::with_lock`] takes any
//! [`Engine`](treelock::engine::Engine). That of the crate `treelock-any` is named by one text:
//! `dir:PATH` for the processes of one host, `etcd://…` for those of many. Each process wraps the
//! bucket with a handle of its own to the same lock.
//!
//! ```
//! # use object_store::{ObjectStoreExt, local::LocalFileSystem, path::Path};
//! use treelock_any::AnyLock;
//! use treelock_object_store::{Folders, LockedStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let photos = scratch.path().join("photos");
//! # let url = format!("dir:{}", scratch.path().join("locks").display());
//! # std::fs::create_dir(&photos)?;
//! # let inner = LocalFileSystem::new_with_prefix(photos)?;
//! # inner.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
//! // In production: dir:/var/lib/photos/locks, or etcd://10.0.0.1:2379/photos
//! let store = LockedStore::with_lock(inner, AnyLock::open(&url)?);
//! store.rename_folder("photos/2024", "archive/2024").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Such a lock can fail: then nothing was done. It can also be lost while it is held, by a process
//! that is paused or cut off for longer than its lease lasts. So the lock is checked before each
//! step and at the end: after a loss no further object is copied or deleted and no upload is
//! completed, and **`Ok` means that the lock was held to the end.** [`LockError::of`] finds the
//! lock's part in an error. After a loss others may have been there: look at what is there before
//! you go on.
//!
//! **A lease alone does not protect the store.** What a process had under way when it lost its lock
//! may arrive late, when another holds it: the calls of one moment, which are as many copies as the
//! verb's [`parallelism`](FolderJob::parallelism), or one batch of deletes, or the `rename` of one
//! object, which most stores do as a copy and then a delete, in one call (a view's `copy` and then
//! `delete` check the lock in between). Only the store can refuse them, by a *fencing token*, a
//! number that grows with each grant, which [`LockedView::guard`] has. Conditional puts
//! ([`PutMode::Update`](object_store::PutMode::Update)) do that for an object that carries the
//! token of its last writer in its metadata; see the example `fenced_object` of `treelock-etcd`.
//! The `object_store` crate has no such condition for copies and deletes; where they matter, keep
//! the bucket's old versions, or write new folders under new names and switch a fenced pointer.
//!
//! Locks between machines cost round trips: hold a folder with a view for several operations. They
//! are given back in the background, so wait for that at the end of a process
//! (`EtcdLock::settled`).
//!
//! # When not to use it
//!
//! - Others write to the same bucket without the lock. It does not keep them out.
//! - You touch single objects only, and no folder needs to be whole: stores are atomic per object
//!   already.
//! - Readers must never wait, and writers must never wait for a slow reader's download: a lock is
//!   then the wrong tool; write new folders under new names and switch a pointer.

mod carry;
mod error;
mod folders;
mod hold;
mod job;
mod path;
mod store;
mod verb;
mod view;

pub use error::folder::FolderError;
pub use error::incomplete::Incomplete;
pub use error::lock::LockError;
pub use folders::Folders;
pub use job::FolderJob;
pub use job::progress::{FolderSummary, Progress};
pub use store::LockedStore;
pub use verb::{Phase, Verb};
pub use view::LockedView;

pub use object_store;
pub use treelock;
