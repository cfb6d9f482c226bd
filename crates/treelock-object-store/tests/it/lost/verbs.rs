//! Folder verbs and batches of deletes: they stop at the loss, and the error says what is done.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use treelock_object_store::{FolderError, Folders, LockError, Phase};

use crate::ground::{Ground, live, soon, write};
use crate::leased::Leased;
use crate::lost::{OBJECTS, assert_nothing_is_gone, ground, is_lost, lost_begun};

/// Loses the lock at each look at it in turn. Returns at how many looks it was lost.
async fn lose_at_each_look(verb: &str, in_a_view: bool, chunk: usize) -> usize {
    for look in 1.. {
        let context = format!("{verb}, lost at look {look}, chunks of {chunk}, view {in_a_view}");
        let lock = Leased::lost_at_look(look);
        let (ground, store) = ground(&lock, chunk).await;
        let view = match in_a_view {
            true => Some(store.view(&write("/")).await.unwrap()),
            false => None,
        };
        let job = match (&view, verb) {
            (None, "rename_folder") => store.rename_folder("a", "b"),
            (None, "copy_folder") => store.copy_folder("a", "b"),
            (None, _) => store.delete_folder("a"),
            (Some(view), "rename_folder") => view.rename_folder("a", "b"),
            (Some(view), "copy_folder") => view.copy_folder("a", "b"),
            (Some(view), _) => view.delete_folder("a"),
        };
        let result = soon(job.parallelism(2)).await;
        drop(view);
        assert_eq!(live(&lock.lock), 0, "{context}: left a lock");
        assert_eq!(lock.late_calls(), 0, "{context}: went on after the loss");
        if verb != "delete_folder" {
            assert_nothing_is_gone(&ground, &context).await;
        }
        match result {
            Ok(_) => {
                assert!(!lock.is_lost(), "{context}: says all is well");
                return look - 1;
            }
            Err(error) => {
                assert!(is_lost(&error), "{context}: {error}");
                assert_tells_the_truth(&ground, &lock, &error, &context).await;
            }
        }
    }
    unreachable!("there are fewer looks than numbers")
}

/// Asserts that what the error reports as done is done, and that nothing else is.
async fn assert_tells_the_truth(
    ground: &Ground,
    lock: &Leased,
    error: &FolderError,
    context: &str,
) {
    let FolderError::Incomplete(state) = error else {
        assert!(
            matches!(error, FolderError::Lock(LockError::Lost { begun: false, .. })),
            "{context}"
        );
        assert_eq!(lock.calls(), 0, "{context}");
        return;
    };
    let contents = ground.contents().await;
    let (done, all) = (state.done.len(), state.done.len() + state.remaining.len());
    assert_eq!(all, OBJECTS.len(), "{context}");
    for name in OBJECTS {
        let told = state.done.iter().any(|path| path.as_ref() == name);
        let is_done = match state.phase {
            Phase::Copy => contents.contains_key(&name.replacen("a/", "b/", 1)),
            Phase::Delete => !contents.contains_key(name),
        };
        assert_eq!(told, is_done, "{context}: {name}");
    }
    assert!(error.to_string().contains(&format!("{done} of {all}")), "{context}: {error}");
}

#[tokio::test]
async fn a_verb_begins_nothing_after_the_loss() {
    for chunk in [1, 2, 10] {
        for in_a_view in [false, true] {
            // Before all, before each object, and at the end of each phase.
            assert_eq!(lose_at_each_look("copy_folder", in_a_view, chunk).await, 1 + 6);
            assert_eq!(lose_at_each_look("delete_folder", in_a_view, chunk).await, 1 + 6);
            assert_eq!(lose_at_each_look("rename_folder", in_a_view, chunk).await, 1 + 6 + 6);
        }
    }
}

/// The lock is lost during a call, which may end either way; no call begins after it.
#[tokio::test]
async fn a_loss_during_a_call_stops_before_the_next() {
    for parallelism in [1, 3, 16] {
        for call in 1..=2 * OBJECTS.len() {
            let context = format!("lost in call {call}, parallelism {parallelism}");
            let lock = Leased::lost_at_call(call);
            let (ground, store) = ground(&lock, 1).await;
            let job = store.rename_folder("a", "b").parallelism(parallelism);
            let error = soon(job).await.unwrap_err();
            assert!(is_lost(&error), "{context}: {error}");
            assert_eq!((lock.calls(), lock.late_calls()), (call, 0), "{context}");
            assert_nothing_is_gone(&ground, &context).await;
            assert_tells_the_truth(&ground, &lock, &error, &context).await;
        }
    }
}

/// Every error says whether something was deleted, of its own batch or of one before.
#[tokio::test]
async fn a_batch_of_deletes_stops_at_the_loss() {
    // One look before each object, one before the store's answer goes on, one at the end of each
    // batch: of three objects, or of all in a view.
    let store = [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (8, 3), (10, 4), (11, 5)];
    let view = [(1, 0), (2, 1), (3, 1), (4, 2), (7, 3), (9, 4), (10, 5), (11, 5)];
    let cases = store.map(|case| (false, case)).into_iter().chain(view.map(|case| (true, case)));
    for (in_a_view, (look, deleted)) in cases {
        let context = format!("lost at look {look}, view {in_a_view}");
        let lock = Leased::lost_at_look(look);
        let (ground, store) = ground(&lock, 1).await;
        let locations = stream::iter(OBJECTS.map(|name| Ok(Path::from(name)))).boxed();
        let results = match in_a_view {
            true => store.view(&write("/")).await.unwrap().delete_stream(locations),
            false => store.delete_stream(locations),
        };
        let results: Vec<_> = soon(results.collect()).await;
        let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert!(!errors.is_empty(), "{context}");
        for error in errors {
            assert_eq!(lost_begun(error), Some(deleted > 0), "{context}: {results:?}");
        }
        assert_eq!(lock.late_calls(), 0, "{context}");
        assert_eq!(OBJECTS.len() - ground.contents().await.len(), deleted, "{context}");
    }
}

#[tokio::test]
async fn requests_have_no_more_roots_than_the_engine_takes() {
    let lock = Leased::default();
    let (ground, store) = ground(&lock, 1).await;
    let listed = store.list(None).map_ok(|object| object.location);
    let deleted: Vec<_> = soon(store.delete_stream(listed.boxed()).try_collect()).await.unwrap();
    assert_eq!((deleted.len(), lock.most_roots()), (OBJECTS.len(), 3));
    assert!(ground.contents().await.is_empty());
}
