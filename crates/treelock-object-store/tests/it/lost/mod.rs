//! If a lock is not granted, nothing is done. If it is lost, nothing more is begun, and nothing
//! returns `Ok` that did not hold its lock to the end.

mod carriers;
mod operations;
mod verbs;
mod views;

use std::error::Error;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use treelock_object_store::{LockError, LockedStore};

use crate::ground::Ground;
use crate::leased::Leased;
use crate::seen::Seen;

pub(crate) const OBJECTS: [&str; 5] = ["a/1", "a/2", "a/3", "a/sub/4", "a/sub/5"];

pub(crate) type Store = LockedStore<Seen, Leased>;

pub(crate) async fn ground(lock: &Leased, chunk: usize) -> (Ground, Store) {
    let ground = Ground::memory().with(&OBJECTS).await;
    let store = LockedStore::with_lock(lock.seen(Arc::clone(&ground.bare), chunk), lock.clone());
    (ground, store)
}

pub(crate) fn is_lost(error: &(dyn Error + 'static)) -> bool {
    LockError::of(error).is_some_and(LockError::is_lost)
}

/// Returns whether work had begun when the lock was lost; `None` if the error is another one.
pub(crate) fn lost_begun(error: &(dyn Error + 'static)) -> Option<bool> {
    match LockError::of(error) {
        Some(LockError::Lost { begun, .. }) => Some(*begun),
        _ => None,
    }
}

pub(crate) type Ends = BoxFuture<'static, object_store::Result<()>>;

/// Returns each operation of the store, with its name.
pub(crate) fn all<S: ObjectStore + Clone>(store: &S) -> Vec<(&'static str, Ends)> {
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

pub(crate) fn once(path: Path) -> BoxStream<'static, object_store::Result<Path>> {
    stream::once(async { Ok(path) }).boxed()
}

pub(crate) async fn done<T>(_: T) -> object_store::Result<()> {
    Ok(())
}

/// Asserts that each object exists below `a`, below `b`, or both.
pub(crate) async fn assert_nothing_is_gone(ground: &Ground, context: &str) {
    let contents = ground.contents().await;
    for name in OBJECTS {
        let moved = name.replacen("a/", "b/", 1);
        let stands = [name, &moved].iter().any(|at| contents.contains_key(*at));
        assert!(stands, "{context}: {name} is gone; there is {contents:?}");
    }
}
