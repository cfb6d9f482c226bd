//! An object store whose folders can be renamed, copied, deleted and read whole.
//!
//! Object stores have no folders, only keys with slashes in them. So renaming a folder is many
//! copies and many deletes, and whoever reads in between sees half of it. [`LockedStore`] wraps any
//! [`ObjectStore`](object_store::ObjectStore) (S3, GCS, Azure, local files, memory), is one itself,
//! and takes the right sub-tree lock, of a [`TreeLock`](treelock::TreeLock) or of several
//! processes, for every operation:
//!
//! ```
//! # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! # use treelock_object_store::LockedStore;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let inner = InMemory::new();
//! # inner.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
//! let store = LockedStore::new(inner);
//! store.rename_dir("photos/2024", "archive/2024").await?;
//! # assert!(store.head(&Path::from("archive/2024/cat.jpg")).await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! While that runs, operations below `photos/2024` and `archive/2024` wait, and all others go on.
//! The cost of a lock is that of a path's ancestors, whatever is below it or held elsewhere.
//!
//! # The one rule
//!
//! **A stream in hand is a lock in hand.** The lock is fair and not re-entrant: an operation waits
//! for every *earlier* operation that conflicts with it, held or waiting. So whoever holds a
//! [`GetResult`](object_store::GetResult), a list stream, a multipart upload, or a guard of
//! [`LockedStore::lock`], and in the same task waits for an operation on the same folder, may wait
//! for itself, for ever:
//!
//! - A write below what the task reads waits for that read: always a deadlock.
//! - A read below what the task reads is granted, *unless* a writer came in between and waits for
//!   the first read: a deadlock only sometimes, which is worse.
//!
//! Three ways not to get there: end or drop the stream first (`bytes().await`, `try_collect()`);
//! or hold the folder with [`LockedStore::read_folder`] or [`LockedStore::write_folder`] and work
//! through the [`LockedView`] that they return, which takes no lock again; or work on
//! [`LockedStore::inner`] under your own guard. A task that waits for itself is found by printing
//! `store.lock().snapshot()`: it shows who holds what, for how long, and who waits.
//!
//! # Several processes
//!
//! The lock of [`LockedStore::new`] lives in its process. [`LockedStore::with_lock`] takes any
//! [`Engine`](treelock::Engine): the `DirLock` of the crate `treelock-dir` for the processes of one
//! host, the `EtcdLock` of `treelock-etcd` for those of many. Each process wraps the bucket with a
//! handle of its own to the same lock.
//!
//! ```
//! # use std::sync::Arc;
//! # use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path};
//! # use treelock_object_store::LockedStore;
//! use treelock_dir::DirLock;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let photos = scratch.path().join("photos");
//! # let locks = scratch.path().join("locks");
//! # std::fs::create_dir(&photos)?;
//! # let inner = LocalFileSystem::new_with_prefix(photos)?;
//! # inner.put(&Path::from("photos/2024/cat.jpg"), "meow".into()).await?;
//! let store = LockedStore::with_lock(inner, DirLock::new(locks));
//! store.rename_dir("photos/2024", "archive/2024").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Such a lock can fail: then nothing was done. And it can be lost while it is held, by a process
//! that is paused or cut off for longer than its lease lasts. So the lock is looked at before each
//! step and at the end: after a loss no further object is copied or deleted and no upload is
//! completed, and **`Ok` means that the lock was held to the end.** [`LockError::of`] finds the
//! lock's part in an error.
//!
//! **A lease alone does not protect the store.** What a process had under way when it lost its lock
//! may arrive late, when another holds it: the calls of one moment, which are as many copies as the
//! verb's [`parallelism`](DirJob::parallelism), or one batch of deletes, or the `rename` of one
//! object, which most stores do as a copy and then a delete, in one call (a view's `copy` and then
//! `delete` look at the lock in between). Only the store can refuse them, by a *fencing token*,
//! which [`LockedView::guard`] has. Conditional puts
//! ([`PutMode::Update`](object_store::PutMode::Update)) do that for an object that carries the
//! token of its last writer in its metadata; see the example `fenced_object` of `treelock-etcd`.
//! Copies and deletes have no such condition; where they matter, keep the bucket's old versions, or
//! write new folders under new names and switch a fenced pointer.
//!
//! # When not to use it
//!
//! - Others write to the same bucket without the lock. It keeps them out of nothing.
//! - Single objects are all you touch, and no folder needs to be whole: stores are atomic per object
//!   already.
//! - Readers must never wait, and writers must never wait for a slow reader's download: a lock is
//!   then the wrong tool; write new folders under new names and switch a pointer.

mod dir;
mod engine;
mod error;
mod hold;
mod lease;
mod store;
mod view;

pub use dir::{DirJob, DirSummary, Phase, Progress, Verb};
pub use error::{DirError, Incomplete, LockError};
pub use store::LockedStore;
pub use view::LockedView;
