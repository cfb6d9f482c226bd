//! Views: nothing is done within one whose lock is lost, on a lease and on one host.

use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use treelock_dir::DirLock;
use treelock_object_store::{FolderError, Folders, LockError, LockedStore, LockedView};

use crate::ground::{Ground, poll, soon, write};
use crate::leased::Leased;
use crate::lost::{OBJECTS, all, ground, is_lost};
use crate::seen::Seen;

#[tokio::test]
async fn a_view_whose_lock_is_lost_does_nothing_more() {
    let lock = Leased::default();
    let (ground, store) = ground(&lock, 1).await;
    let view: LockedView<Seen, Leased> = store.view(&write("/")).await.unwrap();
    lock.lose();
    for (name, operation) in all(&view) {
        let error = soon(operation).await.expect_err(name);
        let lost = LockError::of(&error);
        assert!(matches!(lost, Some(LockError::Lost { begun: false, .. })), "{name}: {error}");
    }
    assert!(is_lost(&view.list_folder("a").await.unwrap_err()));
    let error = view.rename_folder("a", "b").await.unwrap_err();
    assert!(matches!(error, FolderError::Lock(LockError::Lost { begun: false, .. })), "{error}");
    assert_eq!(lock.calls(), 0);
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}

/// The real lock of one host, with two handles, whose table is then removed.
#[tokio::test]
async fn a_store_on_the_lock_of_one_host() {
    let scratch = tempfile::tempdir().unwrap();
    let table = scratch.path().join("locks");
    let ground = Ground::local().with(&OBJECTS).await;
    let store = || LockedStore::with_lock(Arc::clone(&ground.bare), DirLock::new(&table));
    let (one, other) = (store(), store());
    let view = one.read_folder("a").await.unwrap();
    let mut rename = other.rename_folder("a", "b");
    assert!(poll(&mut rename).is_pending());
    assert_eq!(one.lock().snapshot().await.unwrap().waiting().count(), 1);
    let text = view.get(&Path::from("a/1")).await.unwrap().bytes().await.unwrap();
    assert_eq!(text, "a/1");
    drop(view);
    soon(rename).await.unwrap();

    let view = one.write_folder("b").await.unwrap();
    assert!(view.guard().is_valid());
    std::fs::remove_dir_all(&table).unwrap();
    assert!(is_lost(&view.delete_folder("b").await.unwrap_err()));
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}
