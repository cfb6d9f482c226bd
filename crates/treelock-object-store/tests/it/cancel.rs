//! A folder verb dropped at each of its calls: nothing is lost, the lock is free, and asking again
//! finishes it.

use std::time::Duration;

use treelock::Wait;
use treelock_object_store::{Folders, LockedStore};

use crate::faulty::{Call, Faulty, How};
use crate::ground::{Ground, live, poll, soon, waiting, write};

const OBJECTS: [&str; 4] = ["a/1", "a/2", "a/sub/3", "a/sub/4"];

async fn drop_at(call: Call, nth: usize) {
    for ground in Ground::both() {
        let context = format!("dropped at {call:?} {nth} on {}", ground.name);
        let ground = ground.with(&OBJECTS).await;
        let store = LockedStore::new(Faulty::new(ground.bare.clone(), call, nth, How::Hang));
        let mut job = store.rename_folder("a", "b").parallelism(2);
        while !store.inner().came() {
            // With a time-out of zero, blocking threads could not finish their files.
            let step = tokio::time::timeout(Duration::from_millis(5), &mut job).await;
            assert!(step.is_err(), "{context}: it ended");
        }
        assert_eq!(live(store.lock()), 1, "{context}");
        drop(job);
        assert_eq!(live(store.lock()), 0, "{context}: still locked");

        let contents = ground.contents().await;
        for name in OBJECTS {
            let moved = name.replacen("a/", "b/", 1);
            let found = [name, &moved].iter().any(|at| contents.contains_key(*at));
            assert!(found, "{context}: {name} is lost; there is {contents:?}");
        }
        // Dropped at the very end of the deletes, the source may be gone already.
        if contents.keys().any(|name| name.starts_with("a/")) {
            soon(store.rename_folder("a", "b").overwrite(true)).await.unwrap();
        }
        let expected = OBJECTS.map(|name| (name.replacen("a/", "b/", 1), name.to_string()));
        assert_eq!(ground.contents().await, expected.into(), "{context}");
    }
}

#[tokio::test]
async fn a_rename_dropped_at_any_call_loses_nothing() {
    for nth in 0..OBJECTS.len() {
        drop_at(Call::Copy, nth).await;
        drop_at(Call::Delete, nth).await;
    }
}

#[tokio::test]
async fn a_verb_dropped_in_the_queue_did_nothing() {
    let ground = Ground::memory().with(&OBJECTS).await;
    let store = ground.locked();
    let reader = store.read_folder("a/sub").await.unwrap();
    let mut job = store.rename_folder("a", "b");
    assert_eq!(live(store.lock()), 1, "not polled, not asked");
    assert!(poll(&mut job).is_pending());
    assert_eq!(waiting(store.lock()), 1);
    drop(job);
    assert_eq!(live(store.lock()), 1);
    drop(reader);
    assert!(store.lock().try_acquire(&write("/")).wait().is_ok());
    assert_eq!(ground.contents().await.len(), OBJECTS.len());
}
