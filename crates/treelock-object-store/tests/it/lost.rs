//! A lock that cannot be asked: nothing is done. A lock that is lost: nothing more is begun, and
//! nothing that was not alone to its end says `Ok`.

use std::error::Error;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use treelock_dir::DirLock;
use treelock_object_store::{DirError, LockError, LockedStore, LockedView, Phase};

use crate::ground::{Ground, hold, live, poll, read, soon, write};
use crate::leased::{Leased, Seen};

const OBJECTS: [&str; 5] = ["a/1", "a/2", "a/3", "a/sub/4", "a/sub/5"];

type Store = LockedStore<Seen, Leased>;

async fn ground(lock: &Leased, chunk: usize) -> (Ground, Store) {
    let ground = Ground::memory().with(&OBJECTS).await;
    let store = LockedStore::with_lock(lock.seen(Arc::clone(&ground.bare), chunk), lock.clone());
    (ground, store)
}

fn is_lost(error: &(dyn Error + 'static)) -> bool {
    LockError::of(error).is_some_and(LockError::is_lost)
}

/// Whether work had begun when the lock was lost; none if it is no loss.
fn lost_begun(error: &(dyn Error + 'static)) -> Option<bool> {
    match LockError::of(error) {
        Some(LockError::Lost { begun, .. }) => Some(*begun),
        _ => None,
    }
}

type Ends = BoxFuture<'static, object_store::Result<()>>;

/// Each operation of the store, under its name.
fn all<S: ObjectStore + Clone>(store: &S) -> Vec<(&'static str, Ends)> {
    async fn upload(store: impl ObjectStore) -> object_store::Result<()> {
        let mut upload = store.put_multipart(&Path::from("a/other")).await?;
        upload.put_part("x".into()).await?;
        upload.complete().await.map(drop)
    }
    let it = |work: fn(S, Path, Path) -> Ends| work(store.clone(), "a/1".into(), "a/other".into());
    vec![
        ("put", it(|s, at, _| async move { s.put(&at, "x".into()).await.map(drop) }.boxed())),
        ("put_multipart", it(|s, _, _| upload(s).boxed())),
        ("get", it(|s, at, _| async move { s.get(&at).await.map(drop) }.boxed())),
        (
            "get_ranges",
            it(|s, at, _| async move { s.get_ranges(&at, &[0..1, 0..1]).await.map(drop) }.boxed()),
        ),
        (
            "delete",
            it(|s, _, _| s.delete_stream(once(Path::from("a/2"))).try_for_each(done).boxed()),
        ),
        ("list", it(|s, _, _| async move { s.list(None).try_for_each(done).await }.boxed())),
        (
            "list",
            it(|s, at, _| {
                async move { s.list_with_offset(None, &at).try_for_each(done).await }.boxed()
            }),
        ),
        ("list", it(|s, _, _| async move { s.list_with_delimiter(None).await.map(drop) }.boxed())),
        ("copy", it(|s, at, to| async move { s.copy(&at, &to).await }.boxed())),
        ("rename", it(|s, at, to| async move { s.rename(&at, &to).await }.boxed())),
    ]
}

fn once(path: Path) -> BoxStream<'static, object_store::Result<Path>> {
    stream::once(async { Ok(path) }).boxed()
}

async fn done<T>(_: T) -> object_store::Result<()> {
    Ok(())
}

#[tokio::test]
async fn a_lock_that_cannot_be_asked_lets_nothing_be_done() {
    let lock = Leased::failing();
    let (ground, store) = ground(&lock, 1).await;
    for (name, operation) in all(&store) {
        let error = soon(operation).await.expect_err(name);
        let source = LockError::of(&error).expect("it is the lock's");
        assert!(matches!(source, LockError::NotGranted { .. }), "{error}");
        assert!(error.to_string().contains(&format!(" error: {name}: asking for")), "{error}");
    }
    let jobs = [store.rename_dir("a", "b"), store.copy_dir("a", "b"), store.delete_dir("a")];
    for job in jobs {
        let error = soon(job.into_future()).await.unwrap_err();
        assert!(matches!(error, DirError::Lock(LockError::NotGranted { .. })), "{error}");
    }
    let failed = [
        store.list_dir("a").await.map(drop).unwrap_err(),
        store.read_folder("a").await.map(drop).unwrap_err(),
        store.write_folder("a").await.map(drop).unwrap_err(),
        store.folders(&read("a")).await.map(drop).unwrap_err(),
    ];
    for error in failed {
        assert!(matches!(error, DirError::Lock(LockError::NotGranted { .. })), "{error}");
    }
    assert_eq!(lock.calls(), 0);
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}

/// Each operation, with the lock lost at each look at it: before it is begun, and at its end.
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
            let view = store.folders(&write("/")).await.unwrap();
            let (_, operation) = all(&view).swap_remove(index);
            let error = soon(operation).await.expect_err(name);
            assert_eq!(lost_begun(&error), Some(look > paths), "{name}, look {look}: {error}");
            assert!(look > paths || lock.calls() == 0, "{name}");
        }
    }
    let (_ground, store) = ground(&Leased::lost_at_look(1), 1).await;
    assert!(is_lost(&store.list_dir("a").await.unwrap_err()));
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

/// Each operation that the store refuses for what is there or is not.
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

/// What is there, or is not, may be the doing of the next holder.
#[tokio::test]
async fn a_loss_is_told_before_what_the_store_said() {
    // The store of real files, which refuses a delete of nothing.
    let ground = Ground::local().with(&OBJECTS).await;
    let store = |lock: &Leased| {
        LockedStore::with_lock(lock.seen(Arc::clone(&ground.bare), 1), lock.clone())
    };
    let names: Vec<_> =
        refused(&store(&Leased::default())).into_iter().map(|(name, _)| name).collect();
    for (index, name) in names.into_iter().enumerate() {
        let paths = if ["copy", "rename"].contains(&name) { 2 } else { 1 };
        for (in_a_view, last) in [(false, 2), (true, paths + 1)] {
            // Without a loss the store refuses: else this would test nothing.
            for loses in [false, true] {
                let context = format!("{name}, view {in_a_view}, loses {loses}");
                let lock = Leased::lost_at_look(if loses { last } else { usize::MAX });
                let store = store(&lock);
                let (_, operation) = match in_a_view {
                    true => {
                        let view = store.folders(&write("/")).await.unwrap();
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
        let error = store(&lock).rename_dir(from, to).await.unwrap_err();
        let is_told = match from {
            "none" => matches!(error, DirError::NotFound { .. }),
            _ => matches!(error, DirError::AlreadyExists { .. }),
        };
        assert!(is_told, "{error}");
        lock.lose();
        let error = store(&lock).rename_dir(from, to).await.unwrap_err();
        assert!(matches!(error, DirError::Lock(LockError::Lost { begun: false, .. })), "{error}");
    }
}

/// One object, moved in the one way and in the other, when the lock is lost during the copy.
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
    let view = store.folders(&write("/")).await.unwrap();
    assert_eq!(lost_begun(&view.copy(&from, &to).await.unwrap_err()), Some(true));
    assert_eq!(lost_begun(&view.delete(&from).await.unwrap_err()), Some(false));
    assert_eq!((lock.calls(), lock.late_calls()), (1, 0));
    assert!(ground.contents().await.contains_key("a/1"));
}

/// Each object stands below `a`, below `b`, or both.
async fn assert_nothing_is_gone(ground: &Ground, context: &str) {
    let contents = ground.contents().await;
    for name in OBJECTS {
        let moved = name.replacen("a/", "b/", 1);
        let stands = [name, &moved].iter().any(|at| contents.contains_key(*at));
        assert!(stands, "{context}: {name} is gone; there is {contents:?}");
    }
}

/// The lock is lost at each look at it in turn. Returns at how many looks it was lost.
async fn lose_at_each_look(verb: &str, in_a_view: bool, chunk: usize) -> usize {
    for look in 1.. {
        let context = format!("{verb}, lost at look {look}, chunks of {chunk}, view {in_a_view}");
        let lock = Leased::lost_at_look(look);
        let (ground, store) = ground(&lock, chunk).await;
        let view = match in_a_view {
            true => Some(store.folders(&write("/")).await.unwrap()),
            false => None,
        };
        let job = match (&view, verb) {
            (None, "rename_dir") => store.rename_dir("a", "b"),
            (None, "copy_dir") => store.copy_dir("a", "b"),
            (None, _) => store.delete_dir("a"),
            (Some(view), "rename_dir") => view.rename_dir("a", "b"),
            (Some(view), "copy_dir") => view.copy_dir("a", "b"),
            (Some(view), _) => view.delete_dir("a"),
        };
        let result = soon(job.parallelism(2).into_future()).await;
        drop(view);
        assert_eq!(live(&lock.lock), 0, "{context}: left a lock");
        assert_eq!(lock.late_calls(), 0, "{context}: went on after the loss");
        if verb != "delete_dir" {
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

/// What the error says was done, was done, and nothing else was.
async fn assert_tells_the_truth(ground: &Ground, lock: &Leased, error: &DirError, context: &str) {
    let DirError::Incomplete(state) = error else {
        assert!(matches!(error, DirError::Lock(LockError::Lost { begun: false, .. })), "{context}");
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
            assert_eq!(lose_at_each_look("copy_dir", in_a_view, chunk).await, 1 + 6);
            assert_eq!(lose_at_each_look("delete_dir", in_a_view, chunk).await, 1 + 6);
            assert_eq!(lose_at_each_look("rename_dir", in_a_view, chunk).await, 1 + 6 + 6);
        }
    }
}

/// The lock is lost while a call is under way, which ends as it will; none begins after it.
#[tokio::test]
async fn a_loss_during_a_call_stops_before_the_next() {
    for parallelism in [1, 3, 16] {
        for call in 1..=2 * OBJECTS.len() {
            let context = format!("lost in call {call}, parallelism {parallelism}");
            let lock = Leased::lost_at_call(call);
            let (ground, store) = ground(&lock, 1).await;
            let job = store.rename_dir("a", "b").parallelism(parallelism).into_future();
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
            true => store.folders(&write("/")).await.unwrap().delete_stream(locations),
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

/// What was read before the loss may not belong to what would be read after it.
#[tokio::test]
async fn a_stream_ends_with_the_loss() {
    let lock = Leased::default();
    let (_ground, store) = ground(&lock, 1).await;
    let view = store.read_folder("a").await.unwrap();
    for mut list in [store.list(None), view.list(Some(&Path::from("a")))] {
        assert!(list.try_next().await.unwrap().is_some());
        lock.lose();
        assert!(is_lost(&list.try_next().await.unwrap_err()));
        assert!(list.next().await.is_none());
        lock.find();
    }
    let mut payload = store.get(&Path::from("a/1")).await.unwrap().into_stream();
    assert!(payload.try_next().await.unwrap().is_some());
    assert_eq!(live(&lock.lock), 2);
    lock.lose();
    assert!(is_lost(&payload.try_next().await.unwrap_err()), "at its end too");
    assert_eq!(live(&lock.lock), 1, "the view's");
    drop(view);
}

#[tokio::test]
async fn an_upload_is_not_completed_under_a_lost_lock() {
    let lock = Leased::default();
    let (ground, store) = ground(&lock, 1).await;
    let view = store.write_folder("b").await.unwrap();
    for at in ["c", "b/1"] {
        let at = Path::from(at);
        let mut upload = match at.as_ref() {
            "c" => store.put_multipart(&at).await.unwrap(),
            _ => view.put_multipart(&at).await.unwrap(),
        };
        upload.put_part("x".into()).await.unwrap();
        lock.lose();
        let error = upload.complete().await.unwrap_err();
        assert!(matches!(LockError::of(&error), Some(LockError::Lost { begun: false, .. })));
        lock.find();
        upload.abort().await.unwrap();
    }
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}

/// A lock that is lost during a completion refuses the next try, which would write without it.
#[tokio::test]
async fn an_upload_is_not_completed_again_without_its_lock() {
    for in_a_view in [false, true] {
        for lock in [Leased::lost_at_call(1), Leased::default()] {
            let (_ground, store) = ground(&lock, 1).await;
            let at = Path::from("c");
            let mut upload = match in_a_view {
                true => {
                    let view = store.write_folder("c").await.unwrap();
                    view.put_multipart(&at).await.unwrap()
                }
                false => store.put_multipart(&at).await.unwrap(),
            };
            upload.put_part("x".into()).await.unwrap();
            let first = upload.complete().await;
            if lock.is_lost() {
                assert_eq!(lost_begun(&first.unwrap_err()), Some(true));
                let again = upload.complete().await.unwrap_err();
                assert_eq!(lost_begun(&again), Some(true), "the first may have been done: {again}");
                assert_eq!(live(&lock.lock), 1);
                upload.abort().await.unwrap();
            } else {
                first.unwrap();
            }
            assert_eq!(live(&lock.lock), 0);
            let ended = upload.complete().await.unwrap_err();
            assert_eq!(
                ended.to_string(),
                "Generic LockedStore error: the upload is completed or aborted, and its lock \
                 released; begin another with `put_multipart`"
            );
            assert_eq!((lock.calls(), lock.late_calls()), (1, 0), "view {in_a_view}");
        }
    }
}

#[tokio::test]
async fn a_view_whose_lock_is_lost_does_nothing_more() {
    let lock = Leased::default();
    let (ground, store) = ground(&lock, 1).await;
    let view: LockedView<Seen, Leased> = store.folders(&write("/")).await.unwrap();
    lock.lose();
    for (name, operation) in all(&view) {
        let error = soon(operation).await.expect_err(name);
        let lost = LockError::of(&error);
        assert!(matches!(lost, Some(LockError::Lost { begun: false, .. })), "{name}: {error}");
    }
    assert!(is_lost(&view.list_dir("a").await.unwrap_err()));
    let error = view.rename_dir("a", "b").await.unwrap_err();
    assert!(matches!(error, DirError::Lock(LockError::Lost { begun: false, .. })), "{error}");
    assert_eq!(lock.calls(), 0);
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}

#[tokio::test]
async fn errors_of_the_lock_say_what_to_do() {
    let (_ground, store) = ground(&Leased::failing(), 1).await;
    let error = store.rename_dir("a", "b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rename_dir: asking for the lock `write /a, write /b` failed, nothing was done: nobody \
         answers; see that the endpoints are right"
    );
    assert!(LockError::of(&error).unwrap().source().is_some());
    let lock = Leased::lost_at_call(1);
    let (_ground, store) = ground(&lock, 1).await;
    let error = store.put(&Path::from("a/1"), "x".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Generic LockedStore error: put: the lock `write /a/1` was lost meanwhile, so others may \
         have been there at the same time; look at what is there before you go on"
    );
    let lost = "Generic LockedStore error: rename_dir: the lock `write /a, write /b` was lost \
                meanwhile, so others may have been there at the same time; look at what is there \
                before you go on";
    let told = async |call, verb: &str| {
        let (_ground, store) = ground(&Leased::lost_at_call(call), 1).await;
        let job = match verb {
            "rename" => store.rename_dir("a", "b"),
            _ => store.delete_dir("a"),
        };
        job.parallelism(1).await.unwrap_err().to_string()
    };
    assert_eq!(
        told(2, "rename").await,
        format!(
            "rename_dir `a` -> `b` stopped while copying, with 2 of 5 objects copied and none \
             deleted; if nobody else was there, `.overwrite(true)` goes on: {lost}"
        )
    );
    assert_eq!(
        told(6, "rename").await,
        format!(
            "rename_dir `a` -> `b` stopped while deleting the sources, with 1 of 5 deleted, when \
             every copy stood below `b`; if nobody else was there, delete_dir(\"a\") finishes the \
             rename: {lost}"
        )
    );
    let deleted = told(3, "delete").await;
    let start = "delete_dir `a` stopped with 3 of 5 objects deleted; if nobody else was there, call \
                 it again to delete the rest: Generic LockedStore error: delete_dir: the lock `write /a`";
    assert!(deleted.starts_with(start), "{deleted}");
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
    let mut rename = other.rename_dir("a", "b").into_future();
    assert!(poll(&mut rename).is_pending());
    assert_eq!(one.lock().snapshot().unwrap().waiting().count(), 1);
    let text = view.get(&Path::from("a/1")).await.unwrap().bytes().await.unwrap();
    assert_eq!(text, "a/1");
    drop(view);
    soon(rename).await.unwrap();

    let view = one.write_folder("b").await.unwrap();
    assert!(view.guard().is_valid());
    std::fs::remove_dir_all(&table).unwrap();
    assert!(is_lost(&view.delete_dir("b").await.unwrap_err()));
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}
