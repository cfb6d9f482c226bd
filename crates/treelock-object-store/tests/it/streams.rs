//! What outlives its call holds its lock until it ends or is dropped, and no longer.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt, PutPayload};
use treelock_object_store::{Folders, LockedStore};

use crate::faulty::{Call, Faulty, How};
use crate::ground::{Ground, is_free, live, read, soon, write};

/// More than is read in one go, so that the file comes in pieces.
const LARGE: usize = (8 << 20) + 1;

async fn large(ground: &Ground) -> Path {
    let location = Path::from("a/large");
    let bytes: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
    ground.bare.put(&location, PutPayload::from(bytes)).await.unwrap();
    location
}

#[tokio::test]
async fn a_payload_holds_the_read_until_it_ends() {
    for ground in Ground::both() {
        let location = large(&ground).await;
        let store = ground.locked();
        let result = store.get(&location).await.unwrap();
        assert!(matches!(result.payload, GetResultPayload::Stream(_)));
        assert!(is_free(store.lock(), &read("a/large")), "readers share");
        assert!(!is_free(store.lock(), &write("a")), "unread, on {}", ground.name);

        let mut payload = result.into_stream();
        let mut read_so_far = payload.try_next().await.unwrap().unwrap().len();
        assert!(!is_free(store.lock(), &write("a")), "half-way, on {}", ground.name);
        while let Some(bytes) = payload.try_next().await.unwrap() {
            read_so_far += bytes.len();
        }
        assert_eq!(read_so_far, LARGE);
        assert!(is_free(store.lock(), &write("a")), "ended but not dropped, on {}", ground.name);
        assert!(payload.try_next().await.unwrap().is_none(), "fused");
    }
}

#[tokio::test]
async fn a_dropped_payload_releases_at_any_point() {
    for ground in Ground::both() {
        let location = large(&ground).await;
        let store = ground.locked();
        drop(store.get(&location).await.unwrap());
        assert_eq!(live(store.lock()), 0, "unread, on {}", ground.name);
        let mut payload = store.get(&location).await.unwrap().into_stream();
        payload.try_next().await.unwrap();
        drop(payload);
        assert_eq!(live(store.lock()), 0, "half-way, on {}", ground.name);
    }
}

#[tokio::test]
async fn payloads_say_what_the_bare_store_says() {
    for ground in Ground::both() {
        let location = large(&ground).await;
        ground.bare.put(&Path::from("a/small"), "0123456789".into()).await.unwrap();
        let store = ground.locked();
        let (ours, bare) = (store.get(&location).await.unwrap(), ground.bare.get(&location).await);
        let bare = bare.unwrap();
        assert_eq!((&ours.meta, &ours.range), (&bare.meta, &bare.range));
        assert!(ours.bytes().await.unwrap() == bare.bytes().await.unwrap(), "on {}", ground.name);
        let small = Path::from("a/small");
        assert_eq!(store.get_range(&small, 2..5).await.unwrap(), "234");
        assert_eq!(store.get(&small).await.unwrap().bytes().await.unwrap(), "0123456789");
    }
}

#[tokio::test]
async fn a_list_holds_the_read_from_its_first_poll_to_its_end() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/1", "a/2", "b/1"]).await;
        let store = ground.locked();
        let prefix = Path::from("a");
        for offset in [None, Some(Path::from("a/0"))] {
            let mut list = match &offset {
                None => store.list(Some(&prefix)),
                Some(offset) => store.list_with_offset(Some(&prefix), offset),
            };
            assert_eq!(live(store.lock()), 0, "a list that nobody polls locks nothing");
            list.try_next().await.unwrap().unwrap();
            assert!(!is_free(store.lock(), &write("a/2")), "half-way, on {}", ground.name);
            assert!(is_free(store.lock(), &write("b")), "beside, on {}", ground.name);
            list.try_next().await.unwrap().unwrap();
            assert!(list.try_next().await.unwrap().is_none());
            assert_eq!(live(store.lock()), 0, "ended but not dropped, on {}", ground.name);
            drop(list);

            let mut list = store.list(Some(&prefix));
            list.try_next().await.unwrap().unwrap();
            drop(list);
            assert_eq!(live(store.lock()), 0, "dropped half-way, on {}", ground.name);
        }
    }
}

#[tokio::test]
async fn a_list_sees_what_stands_when_it_is_granted() {
    let ground = Ground::memory().with(&["a/1"]).await;
    let store = ground.locked();
    let list = store.list(Some(&Path::from("a")));
    store.rename_folder("a", "b").await.unwrap();
    assert_eq!(list.count().await, 0, "the list was taken before its lock");
}

#[tokio::test]
async fn a_multipart_upload_holds_the_write_until_completed_aborted_or_dropped() {
    for ground in Ground::both() {
        let store = ground.locked();
        let location = Path::from("a/upload");
        for end in ["complete", "abort", "drop"] {
            let mut upload = store.put_multipart(&location).await.unwrap();
            upload.put_part("part".into()).await.unwrap();
            assert!(!is_free(store.lock(), &read("a")), "{end}, on {}", ground.name);
            assert!(is_free(store.lock(), &write("a/other")));
            match end {
                "complete" => drop(upload.complete().await.unwrap()),
                "abort" => upload.abort().await.unwrap(),
                _ => {
                    drop(upload);
                    assert!(is_free(store.lock(), &read("a")), "{end}, on {}", ground.name);
                    continue;
                }
            }
            // The upload still exists: its end released the lock, not its drop.
            assert!(is_free(store.lock(), &read("a")), "{end}, on {}", ground.name);
            drop(upload);
        }
        assert_eq!(store.get(&location).await.unwrap().bytes().await.unwrap(), "part");
    }
}

#[tokio::test]
async fn a_multipart_upload_that_fails_to_complete_keeps_its_lock() {
    let ground = Ground::memory();
    let faulty = Faulty::new(ground.bare.clone(), Call::Complete, 0, How::Before);
    let store = LockedStore::new(faulty);
    let mut upload = store.put_multipart(&Path::from("a/upload")).await.unwrap();
    assert!(upload.complete().await.is_err());
    assert!(!is_free(store.lock(), &read("a")), "a failed upload let go of its lock");
    upload.complete().await.unwrap();
    assert!(is_free(store.lock(), &read("a")));
}

#[tokio::test]
async fn deleting_what_is_listed_does_not_wait_for_its_own_list() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/1", "a/2", "b/1"]).await;
        let store = ground.locked();
        let listed = store.list(Some(&Path::from("a"))).map_ok(|meta| meta.location).boxed();
        let deleted: Vec<_> = soon(store.delete_stream(listed).try_collect()).await.unwrap();
        assert_eq!(deleted.len(), 2);
        ground.assert_holds(&[("b/1", "b/1")]).await;
    }
}

#[tokio::test]
async fn deletes_go_in_batches_and_in_order() {
    let ground = Ground::memory();
    let store = ground.locked();
    let all: Vec<_> = (0..2500).map(|index| Path::from(format!("a/{index}"))).collect();
    for location in &all {
        ground.bare.put(location, "x".into()).await.unwrap();
    }
    let mut deletes = store.delete_stream(stream::iter(all.clone()).map(Ok).boxed());
    let mut seen = vec![deletes.try_next().await.unwrap().unwrap()];
    assert!(!is_free(store.lock(), &read("a/999")), "the first batch is locked");
    assert!(is_free(store.lock(), &write("a/1000")), "the second is not yet");
    seen.extend(soon(deletes.try_collect::<Vec<_>>()).await.unwrap());
    assert_eq!(seen, all);
    assert_eq!(live(store.lock()), 0);
    assert!(ground.contents().await.is_empty());
}

#[tokio::test]
async fn a_bad_location_among_deletes_comes_out_in_its_place() {
    let ground = Ground::memory().with(&["a", "b"]).await;
    let bad = || object_store::Error::NotSupported { source: "bad".into() };
    let locations = [Ok(Path::from("a")), Err(bad()), Ok(Path::from("b"))];
    let results: Vec<_> =
        ground.locked().delete_stream(stream::iter(locations).boxed()).collect().await;
    assert!(results[0].is_ok() && results[1].is_err() && results[2].is_ok(), "{results:?}");
    assert!(ground.contents().await.is_empty());
}

/// The trait object, its streams and its jobs can be sent to other threads.
#[tokio::test]
async fn stores_and_streams_are_send_and_static() {
    fn movable<T: Send + 'static>(value: T) -> T {
        value
    }
    let store = movable(Arc::new(Ground::memory().locked()));
    let any: Arc<dyn ObjectStore> = store.clone();
    drop(movable(any.list(None)));
    drop(movable(any.delete_stream(stream::empty().boxed())));
    let job = store.rename_folder("a", "b");
    assert!(tokio::spawn(movable(job)).await.unwrap().is_err());
}
