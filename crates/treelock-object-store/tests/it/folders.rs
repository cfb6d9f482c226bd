//! The folder verbs when all goes well, and what they refuse, with nothing changed.

use std::sync::{Arc, Mutex};

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use treelock_object_store::{
    FolderError, FolderJob, FolderSummary, Folders, LockedStore, Phase, Verb,
};

use crate::faulty::Counting;
use crate::ground::{Ground, Store, live, poll, soon, waiting};

const TREE: [&str; 4] = ["a/b/1", "a/b/deep/er/2", "a/bc/3", "other/4"];

async fn summary<S: object_store::ObjectStore>(job: FolderJob<S>) -> (usize, u64) {
    let FolderSummary { objects, bytes, .. } = soon(job).await.unwrap();
    (objects, bytes)
}

#[tokio::test]
async fn rename_moves_all_below_and_nothing_beside() {
    for ground in Ground::both() {
        let ground = ground.with(&TREE).await;
        let bytes = ("a/b/1".len() + "a/b/deep/er/2".len()) as u64;
        assert_eq!(summary(ground.locked().rename_folder("a/b", "z/y")).await, (2, bytes));
        let expected = [
            ("z/y/1", "a/b/1"),
            ("z/y/deep/er/2", "a/b/deep/er/2"),
            ("a/bc/3", "a/bc/3"),
            ("other/4", "other/4"),
        ];
        ground.assert_holds(&expected).await;
    }
}

#[tokio::test]
async fn copy_keeps_the_source() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/b/1", "a/b/c/2"]).await;
        assert_eq!(summary(ground.locked().copy_folder("a/b", "a/z")).await.0, 2);
        let expected = [
            ("a/b/1", "a/b/1"),
            ("a/b/c/2", "a/b/c/2"),
            ("a/z/1", "a/b/1"),
            ("a/z/c/2", "a/b/c/2"),
        ];
        ground.assert_holds(&expected).await;
    }
}

#[tokio::test]
async fn delete_takes_all_below_and_nothing_beside() {
    for ground in Ground::both() {
        let ground = ground.with(&TREE).await;
        assert_eq!(summary(ground.locked().delete_folder("a/b")).await.0, 2);
        ground.assert_holds(&[("a/bc/3", "a/bc/3"), ("other/4", "other/4")]).await;
    }
}

#[tokio::test]
async fn list_shows_what_is_directly_below() {
    for ground in Ground::both() {
        let ground = ground.with(&TREE).await;
        let store = ground.locked();
        let names = |listed: object_store::ListResult| {
            let objects: Vec<_> = listed.objects.iter().map(|o| o.location.to_string()).collect();
            let folders: Vec<_> = listed.common_prefixes.iter().map(Path::to_string).collect();
            (objects, folders)
        };
        let (objects, folders) = names(store.list_folder("a/b").await.unwrap());
        assert_eq!((objects, folders), (vec!["a/b/1".to_string()], vec!["a/b/deep".to_string()]));
        for top in ["", "/"] {
            let (objects, folders) = names(store.list_folder(top).await.unwrap());
            assert_eq!((objects.len(), folders.len()), (0, 2), "the top, as {top:?}");
        }
        let (objects, folders) = names(store.list_folder("none").await.unwrap());
        assert!(objects.is_empty() && folders.is_empty(), "what is missing lists as empty");
    }
}

#[tokio::test]
async fn paths_are_texts_strings_or_paths_and_are_not_encoded() {
    let ground = Ground::memory();
    let (odd, tilde) = (Path::parse("über#1/100%").unwrap(), Path::from("~c"));
    ground.bare.put(&odd, "odd".into()).await.unwrap();
    let store = ground.locked();
    store.rename_folder("/über#1/", String::from("b")).await.unwrap();
    store.rename_folder("b", tilde.clone()).await.unwrap();
    store.rename_folder(&tilde, "d~").await.unwrap();
    ground.assert_holds(&[("d~/100%", "odd")]).await;
}

/// Asks, and asserts that it is refused with nothing changed.
async fn refused(
    ground: Ground,
    ask: fn(&Store) -> FolderJob<Arc<dyn object_store::ObjectStore>>,
) -> FolderError {
    let before = ground.contents().await;
    let store = ground.locked();
    let error = soon(ask(&store)).await.unwrap_err();
    assert_eq!(ground.contents().await, before, "{error} changed something, on {}", ground.name);
    assert_eq!(live(store.lock()), 0, "{error} left a lock");
    error
}

macro_rules! refuses {
    ($($name:ident: $objects:expr, [$(|$store:ident| $ask:expr),+ $(,)?], $pattern:pat,)*) => {$(
        #[tokio::test]
        async fn $name() {
            for ground in [Ground::memory, Ground::local] {
                $(
                    let error = refused(ground().with(&$objects).await, |$store| $ask).await;
                    assert!(matches!(error, $pattern), "{}: {error:?}", stringify!($ask));
                )+
            }
        }
    )*};
}

refuses! {
    the_empty_path_is_refused: TREE, [
        |s| s.delete_folder(""), |s| s.delete_folder("/"), |s| s.delete_folder(Path::ROOT),
        |s| s.rename_folder("", "z"), |s| s.rename_folder("a", ""), |s| s.copy_folder("/", "z"),
        |s| s.copy_folder("a", "/"), |s| s.copy_folder("a", "").overwrite(true),
    ], FolderError::EmptyPath { .. },

    what_is_no_path_is_refused: TREE, [
        |s| s.delete_folder(".."), |s| s.delete_folder("a//b"), |s| s.rename_folder("a/.", "z"),
        |s| s.copy_folder("a", "z\0"), |s| s.delete_folder("//"),
    ], FolderError::InvalidPath { .. },

    onto_itself_into_itself_and_onto_a_parent_are_refused: TREE, [
        |s| s.rename_folder("a/b", "a/b"), |s| s.rename_folder("a/b", "/a/b/"),
        |s| s.copy_folder("a/b", "a/b").overwrite(true),
        |s| s.rename_folder("a", "a/b/inside"), |s| s.copy_folder("a", "a/new"),
        |s| s.rename_folder("a/b", "a"), |s| s.copy_folder("a/b/deep", "a").overwrite(true),
    ], FolderError::Overlap { .. },

    what_is_missing_is_refused: TREE, [
        |s| s.rename_folder("none", "z"), |s| s.copy_folder("a/none", "z"),
        |s| s.delete_folder("a/b/x"),
    ], FolderError::NotFound { is_object: false, .. },

    an_object_is_no_folder: TREE, [
        |s| s.rename_folder("a/b/1", "z"), |s| s.copy_folder("a/b/1", "z"),
        |s| s.delete_folder("other/4"),
    ], FolderError::NotFound { is_object: true, .. },

    a_target_that_exists_is_refused: TREE, [
        |s| s.rename_folder("a", "other"), |s| s.copy_folder("a/b", "a/bc"),
        |s| s.rename_folder("other", "a/b/deep"),
        // An object named exactly as the target is in the way too.
        |s| s.rename_folder("a/bc", "other/4"), |s| s.copy_folder("a/bc", "a/b/1"),
    ], FolderError::AlreadyExists { .. },
}

#[tokio::test]
async fn names_that_only_begin_alike_do_not_overlap() {
    let ground = Ground::memory().with(&["a/b/1"]).await;
    ground.locked().rename_folder("a/b", "a/bc").await.unwrap();
    ground.locked().rename_folder("a/bc", "a/b").await.unwrap();
    ground.assert_holds(&[("a/b/1", "a/b/1")]).await;
}

#[tokio::test]
async fn an_object_named_as_the_folder_stays_but_is_locked_with_it() {
    let ground = Ground::memory().with(&["a/b", "a/b/1"]).await;
    let store = ground.locked();
    let view = store.read_folder("a/b").await.unwrap();
    let location = Path::from("a/b");
    let mut put = Box::pin(store.put(&location, "new".into()));
    assert!(poll(&mut put).is_pending());
    assert_eq!(waiting(store.lock()), 1, "the folder's lock does not cover the object");
    drop((put, view));

    store.copy_folder("a/b", "c").await.unwrap();
    store.rename_folder("a/b", "d").await.unwrap();
    ground.assert_holds(&[("a/b", "a/b"), ("c/1", "a/b/1"), ("d/1", "a/b/1")]).await;
    store.rename_folder("c", "a/b").await.unwrap_err(); // the object `a/b` is in the way
    store.rename_folder("c", "a/b").overwrite(true).await.unwrap();
    store.delete_folder("a/b").await.unwrap();
    ground.assert_holds(&[("a/b", "a/b"), ("d/1", "a/b/1")]).await;
}

#[tokio::test]
async fn overwrite_merges() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/1", "a/2", "z/2", "z/3"]).await;
        let store = ground.locked();
        store.copy_folder("a", "z").overwrite(true).await.unwrap();
        let merged = [("z/1", "a/1"), ("z/2", "a/2"), ("z/3", "z/3")];
        let all = [&[("a/1", "a/1"), ("a/2", "a/2")], &merged[..]].concat();
        ground.assert_holds(&all).await;
        store.rename_folder("a", "z").overwrite(true).await.unwrap();
        ground.assert_holds(&merged).await;
    }
}

#[tokio::test]
async fn progress_tells_of_each_object_first_copied_then_deleted() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/1", "a/2", "a/3"]).await;
        let store = ground.locked();
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let job = store.rename_folder("a", "b").progress(move |now| {
            assert_eq!((now.verb, now.total), (Verb::Rename, 3));
            assert!(now.path.as_ref().starts_with("a/"));
            sink.lock().unwrap().push((now.phase, now.done));
        });
        soon(job).await.unwrap();
        let expected: Vec<_> = [Phase::Copy, Phase::Delete]
            .into_iter()
            .flat_map(|phase| (1..=3).map(move |done| (phase, done)))
            .collect();
        assert_eq!(*told.lock().unwrap(), expected);
    }
}

/// A job is the future itself, to be joined and polled by reference.
#[tokio::test]
async fn jobs_are_futures() {
    let ground = Ground::memory().with(&["a/1", "b/1"]).await;
    let store = ground.locked();
    let (mut one, other) = (store.copy_folder("a", "x"), store.copy_folder("b", "y"));
    assert!(format!("{one:?}").contains("Copy"), "{one:?}");
    let (one, other) = soon(futures_util::future::join(&mut one, other)).await;
    assert_eq!((one.unwrap().objects, other.unwrap().objects), (1, 1));
    let all = [("a/1", "a/1"), ("b/1", "b/1"), ("x/1", "a/1"), ("y/1", "b/1")];
    ground.assert_holds(&all).await;
}

#[tokio::test]
async fn a_panic_in_progress_releases_and_loses_nothing() {
    let ground = Ground::memory().with(&["a/1", "a/2"]).await;
    let store = ground.locked();
    let job = store.rename_folder("a", "b").progress(|_| panic!("on purpose"));
    assert!(tokio::spawn(job).await.unwrap_err().is_panic());
    assert_eq!(live(store.lock()), 0);
    let contents = ground.contents().await;
    assert!(contents.contains_key("a/1") && contents.contains_key("a/2"), "{contents:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_motion_is_whole_to_whoever_reads_it() {
    for ground in Ground::both() {
        let names: Vec<String> = (0..20).map(|index| format!("a/{index:02}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ground = ground.with(&names).await;
        let store = ground.locked();
        let mover = {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    store.rename_folder("a", "b").await.unwrap();
                    store.rename_folder("b", "a").await.unwrap();
                }
            })
        };
        while !mover.is_finished() {
            for folder in ["a", "b"] {
                let seen = store.list_folder(folder).await.unwrap().objects.len();
                assert!(seen == 0 || seen == 20, "{seen} of 20 objects seen in {folder}");
                tokio::task::yield_now().await;
            }
        }
        soon(mover).await.unwrap();
    }
}

/// Copies run side by side, up to the bound and no further.
#[tokio::test]
async fn parallelism_is_bounded() {
    for (bound, expected) in [(0, 1), (1, 1), (4, 4), (64, 20)] {
        let store = LockedStore::new(Counting::new(InMemory::new()));
        for index in 0..20 {
            store.put(&Path::from(format!("a/{index}")), "x".into()).await.unwrap();
        }
        soon(store.copy_folder("a", "b").parallelism(bound)).await.unwrap();
        assert_eq!(store.inner().most_at_once(), expected, "parallelism({bound})");
    }
}

#[tokio::test]
async fn a_marker_that_the_store_lists_is_no_part_of_the_folder() {
    let store = LockedStore::new(Counting::new(InMemory::new()));
    for name in ["a", "a/1", "marker"] {
        store.put(&Path::from(name), name.into()).await.unwrap();
    }
    assert_eq!(summary(store.rename_folder("a", "b")).await, (1, 3));
    assert!(store.head(&Path::from("a")).await.is_ok(), "the marker moved");
    assert!(store.head(&Path::from("b")).await.is_err(), "the marker was copied");
    let empty = soon(store.delete_folder("marker")).await;
    assert!(matches!(empty, Err(FolderError::NotFound { is_object: true, .. })), "{empty:?}");
}
