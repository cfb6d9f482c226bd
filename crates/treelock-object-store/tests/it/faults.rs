//! The store fails at each call in turn: nothing is lost, the error says what is where, and its
//! advice works.

use std::collections::BTreeSet;

use object_store::path::Path;
use treelock_object_store::{FolderError, Folders, Incomplete, LockedStore, Phase, Verb};

use crate::faulty::{Call, Faulty, How};
use crate::ground::{Ground, live, soon};

const OBJECTS: [&str; 5] = ["a/1", "a/2", "a/3", "a/sub/4", "a/sub/5"];

fn below(path: &Path, from: &str) -> String {
    path.as_ref().strip_prefix(from).unwrap().trim_start_matches('/').to_string()
}

/// Asserts that each object exists below `a`, below `b`, or both, with its own content.
async fn assert_nothing_lost(ground: &Ground, context: &str) {
    let contents = ground.contents().await;
    for name in OBJECTS {
        let moved = name.replacen("a/", "b/", 1);
        let found: Vec<_> = [name, &moved].iter().filter_map(|at| contents.get(*at)).collect();
        assert!(!found.is_empty(), "{context}: {name} is lost; there is {contents:?}");
        assert!(found.iter().all(|text| *text == name), "{context}: {name} holds {found:?}");
    }
}

/// Checks the lists of the error against what exists in the store.
async fn assert_tells_the_truth(ground: &Ground, state: &Incomplete, how: How, context: &str) {
    let contents = ground.contents().await;
    let listed: BTreeSet<_> = state.done.iter().chain(&state.remaining).map(Path::as_ref).collect();
    assert_eq!(listed, OBJECTS.into_iter().collect(), "{context}: all, each once");
    assert_eq!(state.done.len() + state.remaining.len(), OBJECTS.len(), "{context}");
    for path in &state.done {
        match state.phase {
            Phase::Copy => {
                let copy = format!("b/{}", below(path, "a"));
                assert!(contents.contains_key(&copy), "{context}: no copy of {path}")
            }
            Phase::Delete => assert!(!contents.contains_key(path.as_ref()), "{context}: {path}"),
        }
    }
    if how == How::Before && state.phase == Phase::Delete {
        for path in &state.remaining {
            assert!(contents.contains_key(path.as_ref()), "{context}: {path} is gone, unsaid");
        }
    }
    if state.phase == Phase::Copy {
        assert!(OBJECTS.iter().all(|name| contents.contains_key(*name)), "{context}: a source");
    }
}

fn incomplete(error: FolderError, context: &str) -> Box<Incomplete> {
    match error {
        FolderError::Incomplete(state) => state,
        error => panic!("{context}: {error:?}"),
    }
}

async fn fail_at(verb: Verb, call: Call, nth: usize, how: How, parallelism: usize) {
    for ground in Ground::both() {
        let context = format!("{verb}, {call:?} {nth} {how:?} x{parallelism} on {}", ground.name);
        let ground = ground.with(&OBJECTS).await;
        let store = LockedStore::new(Faulty::new(ground.bare.clone(), call, nth, how));
        let job = match verb {
            Verb::Rename => store.rename_folder("a", "b"),
            _ => store.copy_folder("a", "b"),
        };
        let error = soon(job.parallelism(parallelism)).await.unwrap_err();
        assert!(store.inner().came(), "{context}: the fault never came");
        assert_eq!(live(store.lock()), 0, "{context}: left a lock");
        let state = incomplete(error, &context);
        assert_eq!(state.verb, verb, "{context}");
        assert_eq!(state.phase == Phase::Copy, call == Call::Copy, "{context}");
        assert_nothing_lost(&ground, &context).await;
        assert_tells_the_truth(&ground, &state, how, &context).await;
        follow_the_advice(&ground, &store, &state, &context).await;
    }
}

/// Does what the error advises: the verb is then finished as if nothing had failed.
async fn follow_the_advice(
    ground: &Ground,
    store: &LockedStore<Faulty>,
    state: &Incomplete,
    context: &str,
) {
    let advice = state.to_string();
    match (state.verb, state.phase) {
        (Verb::Rename, Phase::Delete) => {
            assert!(advice.contains("delete_folder(\"a\")"), "{advice}");
            // Where the last delete was done and only its answer lost, nothing is left to delete.
            let finished = soon(store.delete_folder("a")).await;
            assert!(matches!(finished, Ok(_) | Err(FolderError::NotFound { .. })), "{context}");
        }
        (verb, _) => {
            assert!(advice.contains(".overwrite(true)"), "{advice}");
            let job = match verb {
                Verb::Rename => store.rename_folder("a", "b"),
                _ => store.copy_folder("a", "b"),
            };
            soon(job.overwrite(true)).await.unwrap();
        }
    }
    let expected: BTreeSet<_> = OBJECTS.map(|name| name.replacen("a/", "b/", 1)).into();
    let found = ground.contents().await;
    let copies: BTreeSet<_> = found.keys().filter(|at| at.starts_with("b/")).cloned().collect();
    assert_eq!(copies, expected, "{context}");
    let sources = found.keys().filter(|at| at.starts_with("a/")).count();
    assert_eq!(sources, if state.verb == Verb::Rename { 0 } else { OBJECTS.len() }, "{context}");
    assert_nothing_lost(ground, context).await;
}

#[tokio::test]
async fn a_copy_that_fails_at_any_point_loses_nothing() {
    for nth in 0..OBJECTS.len() {
        for how in [How::Before, How::After, How::NotFound] {
            for parallelism in [1, 3, 16] {
                fail_at(Verb::Rename, Call::Copy, nth, how, parallelism).await;
                fail_at(Verb::Copy, Call::Copy, nth, how, parallelism).await;
            }
        }
    }
}

#[tokio::test]
async fn a_delete_that_fails_at_any_point_loses_nothing() {
    for nth in 0..OBJECTS.len() {
        for how in [How::Before, How::After] {
            fail_at(Verb::Rename, Call::Delete, nth, how, 16).await;
        }
    }
}

#[tokio::test]
async fn the_first_failure_starts_no_more() {
    let ground = Ground::memory().with(&OBJECTS).await;
    let store = LockedStore::new(Faulty::new(ground.bare.clone(), Call::Copy, 2, How::Before));
    let error = soon(store.rename_folder("a", "b").parallelism(1)).await.unwrap_err();
    let state = incomplete(error, "");
    assert_eq!((state.done.len(), state.remaining.len()), (2, 3));
    assert_eq!(ground.contents().await.len(), OBJECTS.len() + 2);
}

#[tokio::test]
async fn an_object_that_is_already_gone_is_no_failure_to_delete() {
    for verb in ["rename", "delete"] {
        let ground = Ground::memory().with(&OBJECTS).await;
        let faulty = Faulty::new(ground.bare.clone(), Call::Delete, 1, How::NotFound);
        let store = LockedStore::new(faulty);
        let job =
            if verb == "rename" { store.rename_folder("a", "b") } else { store.delete_folder("a") };
        soon(job).await.unwrap();
        assert!(store.inner().came());
    }
}

#[tokio::test]
async fn delete_dir_that_fails_half_way_says_what_remains() {
    for nth in 0..OBJECTS.len() {
        for ground in Ground::both() {
            let ground = ground.with(&OBJECTS).await;
            let faulty = Faulty::new(ground.bare.clone(), Call::Delete, nth, How::Before);
            let store = LockedStore::new(faulty);
            let error = soon(store.delete_folder("a")).await.unwrap_err();
            let state = incomplete(error, "delete_folder");
            assert_eq!((state.verb, state.phase, &state.to), (Verb::Delete, Phase::Delete, &None));
            let left: Vec<_> = ground.contents().await.into_keys().collect();
            let remaining: Vec<_> = state.remaining.iter().map(Path::to_string).collect();
            assert!(!left.is_empty() && left.iter().all(|name| remaining.contains(name)));
            soon(store.delete_folder("a")).await.unwrap();
            assert!(ground.contents().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_looked_at_stops_the_verb_before_it_begins() {
    // Lists: the source, then the target. The only look at one object: the target's name.
    for (call, nth) in [(Call::List, 0), (Call::List, 1), (Call::Head, 0)] {
        let ground = Ground::memory().with(&OBJECTS).await;
        let before = ground.contents().await;
        let store = LockedStore::new(Faulty::new(ground.bare.clone(), call, nth, How::Before));
        let error = soon(store.rename_folder("a", "b")).await.unwrap_err();
        assert!(matches!(error, FolderError::Store { verb: Verb::Rename, .. }), "{error:?}");
        assert_eq!(ground.contents().await, before);
        assert_eq!(live(store.lock()), 0);
    }
}
