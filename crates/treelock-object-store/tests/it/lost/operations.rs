//! Operations on single objects: each is begun only under a valid lock, and is checked at its end.

use std::sync::Arc;

use futures_util::future::FutureExt;
use futures_util::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use treelock_object_store::{FolderError, Folders, LockError, LockedStore};

use crate::ground::{Ground, hold, live, poll, read, soon, write};
use crate::leased::{Leased, Refusal};
use crate::lost::{
    Ends, OBJECTS, all, assert_nothing_is_gone, done, ground, is_lost, lost_begun, once,
};

#[tokio::test]
async fn a_lock_that_cannot_be_asked_lets_nothing_be_done() {
    let lock = Leased::refusing(Refusal::NobodyAnswers);
    let (ground, store) = ground(&lock, 1).await;
    for (name, operation) in all(&store) {
        let error = soon(operation).await.expect_err(name);
        let source = LockError::of(&error).expect("it is the lock's");
        assert!(matches!(source, LockError::NotGranted { .. }), "{error}");
        assert!(error.to_string().contains(&format!(" error: {name}: the lock ")), "{error}");
    }
    let jobs =
        [store.rename_folder("a", "b"), store.copy_folder("a", "b"), store.delete_folder("a")];
    for job in jobs {
        let error = soon(job).await.unwrap_err();
        assert!(matches!(error, FolderError::Lock(LockError::NotGranted { .. })), "{error}");
    }
    let failed = [
        store.list_folder("a").await.map(drop).unwrap_err(),
        store.read_folder("a").await.map(drop).unwrap_err(),
        store.write_folder("a").await.map(drop).unwrap_err(),
        store.view(&read("a")).await.map(drop).unwrap_err(),
    ];
    for error in failed {
        assert!(matches!(error, FolderError::Lock(LockError::NotGranted { .. })), "{error}");
    }
    assert_eq!(lock.calls(), 0);
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}

/// Runs each operation with the lock lost at each look at it: before it begins, and at its end.
#[tokio::test]
async fn what_was_not_alone_to_its_end_does_not_say_ok() {
    let (_ground, store) = ground(&Leased::default(), 1).await;
    let names = all(&store).into_iter().map(|(name, _)| name);
    for (name, operation) in all(&store) {
        soon(operation).await.expect(name);
    }
    for (index, name) in names.enumerate() {
        // A list, which changes nothing, is looked at only at its end.
        let before = if name == "list" { 0 } else { 1 };
        for look in 1..=before + 1 {
            let lock = Leased::lost_at_look(look);
            let (_ground, store) = ground(&lock, 1).await;
            let (_, operation) = all(&store).swap_remove(index);
            let error = soon(operation).await.expect_err(name);
            assert_eq!(lost_begun(&error), Some(look > before), "{name}, look {look}: {error}");
            assert!(look > before || lock.calls() == 0, "{name}");
            assert_eq!(live(&lock.lock), 0);
        }
        // A view looks once for each path first.
        let paths = if ["copy", "rename"].contains(&name) { 2 } else { 1 };
        for look in 1..=paths + 1 {
            let lock = Leased::lost_at_look(look);
            let (_ground, store) = ground(&lock, 1).await;
            let view = store.view(&write("/")).await.unwrap();
            let (_, operation) = all(&view).swap_remove(index);
            let error = soon(operation).await.expect_err(name);
            assert_eq!(lost_begun(&error), Some(look > paths), "{name}, look {look}: {error}");
            assert!(look > paths || lock.calls() == 0, "{name}");
        }
    }
    let (_ground, store) = ground(&Leased::lost_at_look(1), 1).await;
    assert!(is_lost(&store.list_folder("a").await.unwrap_err()));
}

/// A task that is polled long after its lock was granted finds it lost.
#[tokio::test]
async fn a_lock_that_is_lost_before_its_holder_has_a_turn_begins_nothing() {
    let names = all(&ground(&Leased::default(), 1).await.1).into_iter().map(|(name, _)| name);
    for (index, name) in names.enumerate() {
        let lock = Leased::default();
        let (ground, store) = ground(&lock, 1).await;
        let other = hold(&lock.lock, &write("/"));
        let (_, mut operation) = all(&store).swap_remove(index);
        assert!(poll(&mut operation).is_pending(), "{name}");
        drop(other);
        lock.lose();
        let error = soon(operation).await.expect_err(name);
        assert_eq!(lost_begun(&error), Some(name == "list"), "{name}: {error}");
        assert_eq!((lock.calls(), live(&lock.lock)), (0, 0), "{name}");
        assert_eq!(ground.contents().await.len(), OBJECTS.len(), "{name}");
    }
}

/// Returns each operation that the store refuses because an object exists or is missing.
fn refused<S: ObjectStore + Clone>(store: &S) -> Vec<(&'static str, Ends)> {
    let it = |work: fn(S, Path, Path) -> Ends| work(store.clone(), "a/1".into(), "a/none".into());
    vec![
        ("get", it(|s, _, no| async move { s.get(&no).await.map(drop) }.boxed())),
        ("head", it(|s, _, no| async move { s.head(&no).await.map(drop) }.boxed())),
        (
            "get_ranges",
            it(|s, _, no| async move { s.get_ranges(&no, &[0..1, 0..1]).await.map(drop) }.boxed()),
        ),
        (
            "put",
            it(|s, at, _| {
                let create = PutOptions::from(PutMode::Create);
                async move { s.put_opts(&at, "x".into(), create).await.map(drop) }.boxed()
            }),
        ),
        ("delete", it(|s, _, no| s.delete_stream(once(no)).try_for_each(done).boxed())),
        ("copy", it(|s, at, no| async move { s.copy(&no, &at).await }.boxed())),
        ("rename", it(|s, at, no| async move { s.rename(&no, &at).await }.boxed())),
    ]
}

/// That an object exists or is missing may be the doing of the next holder.
#[tokio::test]
async fn a_loss_is_told_before_what_the_store_said() {
    // The store of real files, which refuses to delete what does not exist.
    let ground = Ground::local().with(&OBJECTS).await;
    let store = |lock: &Leased| {
        LockedStore::with_lock(lock.seen(Arc::clone(&ground.bare), 1), lock.clone())
    };
    let names: Vec<_> =
        refused(&store(&Leased::default())).into_iter().map(|(name, _)| name).collect();
    for (index, name) in names.into_iter().enumerate() {
        let paths = if ["copy", "rename"].contains(&name) { 2 } else { 1 };
        for (in_a_view, last) in [(false, 2), (true, paths + 1)] {
            // Without a loss the store must refuse, or this would test nothing.
            for loses in [false, true] {
                let context = format!("{name}, view {in_a_view}, loses {loses}");
                let lock = Leased::lost_at_look(if loses { last } else { usize::MAX });
                let store = store(&lock);
                let (_, operation) = match in_a_view {
                    true => {
                        let view = store.view(&write("/")).await.unwrap();
                        refused(&view).swap_remove(index)
                    }
                    false => refused(&store).swap_remove(index),
                };
                let error = soon(operation).await.expect_err(&context);
                assert_eq!(lost_begun(&error), loses.then_some(true), "{context}: {error}");
            }
        }
    }
    for (from, to) in [("none", "b"), ("a", "a2")] {
        ground.bare.put(&Path::from("a2/1"), "x".into()).await.unwrap();
        let lock = Leased::default();
        let error = store(&lock).rename_folder(from, to).await.unwrap_err();
        let is_told = match from {
            "none" => matches!(error, FolderError::NotFound { .. }),
            _ => matches!(error, FolderError::AlreadyExists { .. }),
        };
        assert!(is_told, "{error}");
        lock.lose();
        let error = store(&lock).rename_folder(from, to).await.unwrap_err();
        assert!(
            matches!(error, FolderError::Lock(LockError::Lost { begun: false, .. })),
            "{error}"
        );
    }
}

/// Moves one object in either way, and loses the lock during the copy.
#[tokio::test]
async fn a_loss_keeps_a_delete_back_but_not_a_rename() {
    let (from, to) = (Path::from("a/1"), Path::from("b/1"));
    let lock = Leased::lost_at_call(1);
    let (ground_of_rename, store) = ground(&lock, 1).await;
    let error = store.rename(&from, &to).await.unwrap_err();
    assert_eq!(lost_begun(&error), Some(true));
    assert_eq!((lock.calls(), lock.late_calls()), (2, 1), "it is one call of the store");
    assert_nothing_is_gone(&ground_of_rename, "rename").await;

    let lock = Leased::lost_at_call(1);
    let (ground, store) = ground(&lock, 1).await;
    let view = store.view(&write("/")).await.unwrap();
    assert_eq!(lost_begun(&view.copy(&from, &to).await.unwrap_err()), Some(true));
    assert_eq!(lost_begun(&view.delete(&from).await.unwrap_err()), Some(false));
    assert_eq!((lock.calls(), lock.late_calls()), (1, 0));
    assert!(ground.contents().await.contains_key("a/1"));
}
