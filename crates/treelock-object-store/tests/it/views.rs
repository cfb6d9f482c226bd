//! A view works within what it has locked, refuses the rest, and never waits for itself.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use treelock::{Access, Node, Request};
use treelock_object_store::{FolderError, Folders};

use crate::ground::{Ground, is_free, live, read, soon, write};

fn path(text: &str) -> Path {
    Path::from(text)
}

fn denied<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::PermissionDenied { .. })), "{result:?}");
}

#[tokio::test]
async fn a_write_view_does_everything_below_its_folder() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/1"]).await;
        let store = ground.locked();
        let view = store.write_folder("a").await.unwrap();
        soon(async {
            view.put(&path("a/2"), "two".into()).await.unwrap();
            let mut upload = view.put_multipart(&path("a/3")).await.unwrap();
            upload.put_part("three".into()).await.unwrap();
            upload.complete().await.unwrap();
            view.copy(&path("a/3"), &path("a/4")).await.unwrap();
            view.rename(&path("a/2"), &path("a/sub/2")).await.unwrap();
            view.rename_folder("a/sub", "a/bus").await.unwrap();
            view.copy_folder("a/bus", "a/copy").await.unwrap();
            view.delete_folder("a/bus").await.unwrap();
            assert_eq!(view.get(&path("a/3")).await.unwrap().bytes().await.unwrap(), "three");
            assert_eq!(view.get_ranges(&path("a/3"), &[0..1, 2..3]).await.unwrap().len(), 2);
            // Reading while deleting, which on the locked store itself would be a deadlock.
            let listed = view.list(Some(&path("a"))).map_ok(|meta| meta.location).boxed();
            assert_eq!(view.delete_stream(listed).count().await, 4);
        })
        .await;
        assert_eq!(live(store.lock()), 1, "a view takes no second lock");
        drop(view);
        assert_eq!(live(store.lock()), 0);
    }
}

#[tokio::test]
async fn a_view_refuses_what_it_has_not_locked() {
    let ground = Ground::memory().with(&["a/1", "b/1"]).await;
    let before = ground.contents().await;
    let store = ground.locked();
    let view = store.view(&read("a").write("w").unwrap()).await.unwrap();
    let (inside, outside) = (path("a/1"), path("b/1"));

    denied(view.get(&outside).await);
    denied(view.head(&path("ab")).await);
    denied(view.get_ranges(&outside, &[0..1, 2..3]).await);
    denied(view.list(None).try_collect::<Vec<_>>().await);
    denied(view.list(Some(&path("b"))).try_collect::<Vec<_>>().await);
    denied(view.list_with_offset(None, &path("a")).try_collect::<Vec<_>>().await);
    denied(view.list_with_delimiter(None).await);
    denied(view.put(&inside, "x".into()).await);
    denied(view.put_multipart(&inside).await);
    denied(view.delete(&inside).await);
    denied(view.copy(&outside, &path("w/1")).await);
    denied(view.copy(&inside, &path("a/2")).await);
    denied(view.rename(&inside, &path("w/1")).await);
    let mixed = stream::iter([Ok(path("a/1")), Ok(path("w/none"))]).boxed();
    let mixed: Vec<_> = view.delete_stream(mixed).collect().await;
    assert!(mixed[0].is_err() && mixed[1].is_ok(), "{mixed:?}");
    assert!(matches!(view.list_folder("b").await, Err(FolderError::Store { .. })));
    for job in [view.rename_folder("a", "w/a"), view.copy_folder("a", "c"), view.delete_folder("a")]
    {
        let refused = soon(job).await;
        assert!(matches!(refused, Err(FolderError::OutsideView { .. })), "{refused:?}");
    }
    assert_eq!(ground.contents().await, before);

    view.copy_folder("a", "w/a").await.unwrap();
    view.copy(&inside, &path("w/1")).await.unwrap();
}

/// Makes one thing from a view, drops the view, and asserts that the thing holds the lock alone.
macro_rules! keeps_the_lock {
    ($($name:ident: |$view:ident| $made:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let ground = Ground::memory().with(&["a/1"]).await;
            let store = ground.locked();
            let $view = store.write_folder("a").await.unwrap();
            let made = $made;
            drop($view);
            assert!(!is_free(store.lock(), &read("a")), "released with the view");
            drop(made);
            assert!(is_free(store.lock(), &write("a")), "still held");
        }
    )*};
}

keeps_the_lock! {
    a_clone_keeps_the_lock: |view| view.clone();
    a_payload_keeps_the_lock: |view| view.get(&path("a/1")).await.unwrap();
    a_list_keeps_the_lock: |view| view.list(Some(&path("a")));
    a_list_with_offset_keeps_the_lock: |view| view.list_with_offset(Some(&path("a")), &path("a/0"));
    an_upload_keeps_the_lock: |view| view.put_multipart(&path("a/2")).await.unwrap();
    deletes_keep_the_lock: |view| view.delete_stream(stream::empty().boxed());
    a_job_keeps_the_lock: |view| view.delete_folder("a");
}

#[tokio::test]
async fn the_whole_store_is_read_by_name_and_written_on_purpose_only() {
    let ground = Ground::memory().with(&["a/1"]).await;
    let store = ground.locked();
    for whole in ["", "/"] {
        let view = store.read_folder(whole).await.unwrap();
        assert_eq!(view.list(None).count().await, 1);
        let refused = store.write_folder(whole).await;
        assert!(matches!(refused, Err(FolderError::EmptyPath { .. })));
    }
    let bad = store.read_folder("a/..").await;
    assert!(matches!(bad, Err(FolderError::InvalidPath { .. })));
    let view = store.view(&Request::new().with(Access::Write, Node::root())).await.unwrap();
    view.put(&path("anywhere"), "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_view_of_nothing_can_do_nothing() {
    let store = Ground::memory().locked();
    let view = store.view(&Request::new()).await.unwrap();
    denied(view.get(&path("a")).await);
    assert_eq!(view.to_string(), format!("LockedView({}, InMemory)", Request::new()));
    assert!(format!("{view:?} {store:?}").contains("LockedStore"));
}
