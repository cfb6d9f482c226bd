//! Streams and uploads: a stream ends with the loss, an upload is not completed without its lock.

use futures_util::stream::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use treelock_object_store::LockError;

use crate::ground::live;
use crate::leased::Leased;
use crate::lost::{OBJECTS, ground, is_lost, lost_begun};

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
