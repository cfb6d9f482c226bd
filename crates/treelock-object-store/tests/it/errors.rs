//! Errors say what happened, to what, and what to do; each text is pinned.

use std::error::Error;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use treelock::{Request, TreeLock};
use treelock_object_store::{FolderError, Folders, LockError, LockedStore};

use crate::faulty::{Call, Faulty, How};
use crate::ground::{Ground, read, soon, write};
use crate::leased::{Leased, Refusal};
use crate::lost::ground;

async fn texts() -> Vec<String> {
    let ground = Ground::memory().with(&["a/1", "a/2", "b/1", "file"]).await;
    let store = ground.locked();
    let view = store.view(&read("a").write("w").unwrap()).await.unwrap();
    let jobs = [
        store.delete_folder(""),
        store.rename_folder("a/../b", "c"),
        store.rename_folder("a", "/a/"),
        store.copy_folder("a", "a/b"),
        store.delete_folder("none"),
        store.delete_folder("file"),
        view.rename_folder("a", "b"),
    ];
    let mut texts = Vec::new();
    for job in jobs {
        texts.push(soon(job).await.unwrap_err().to_string());
    }
    drop(view);
    texts.push(store.rename_folder("a", "b").await.unwrap_err().to_string());
    texts
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let expected = [
        "delete_folder refuses the empty path, which is the whole store: is a variable unset? \
         name a folder",
        "rename_folder: \"a/../b\" is not a path; give slash-separated names without `.`, `..`, \
         empty segments or control characters",
        "rename_folder `a` onto itself would change nothing; give another target",
        "copy_folder `a` -> `a/b`: one of the folders lies in the other; give a target outside, or \
         go by way of a third folder",
        "delete_folder: there is no object below `none/`; check the name",
        "delete_folder: there is no object below `file/`, but `file` is itself an object; for one \
         object use `rename`, `copy` or `delete`",
        "rename_folder needs `write /a, write /b`, but the view holds `read /a, write /w`; ask for \
         a view that covers it",
        "rename_folder: the target `b` exists (found `b/1`); choose another, delete it first, or \
         give `.overwrite(true)` to merge into it",
    ];
    assert_eq!(texts().await, expected);
}

async fn broken(call: Call, nth: usize) -> FolderError {
    let ground = Ground::memory().with(&["a/1", "a/2", "a/3"]).await;
    let store = LockedStore::new(Faulty::new(ground.bare, call, nth, How::Before));
    soon(store.rename_folder("a", "b").parallelism(1)).await.unwrap_err()
}

#[tokio::test]
async fn failures_say_what_is_where() {
    let copy = broken(Call::Copy, 1).await;
    assert_eq!(
        copy.to_string(),
        "rename_folder `a` -> `b` failed while copying, with 1 of 3 objects copied: every object \
         still exists below `a`, and nothing was deleted; give `.overwrite(true)` to go on, or \
         delete_folder(\"b\") to undo"
    );
    assert!(copy.source().unwrap().to_string().contains("the line is cut"));
    let look = broken(Call::List, 0).await;
    assert_eq!(
        look.to_string(),
        "rename_folder: the store failed to look at `a`, so nothing was changed"
    );
    assert!(look.source().unwrap().to_string().contains("the line is cut"));
    let delete = broken(Call::Delete, 2).await.to_string();
    assert!(delete.contains("of 3 deleted: `b` is whole"), "{delete}");
    assert!(delete.contains("delete_folder(\"a\") finishes the rename"), "{delete}");
}

#[tokio::test]
async fn errors_become_the_stores_own() {
    async fn missing(store: &crate::ground::Store) -> object_store::Result<()> {
        store.delete_folder("none").await?;
        Ok(())
    }
    let store = Ground::memory().locked();
    let error = missing(&store).await.unwrap_err();
    assert!(matches!(&error, object_store::Error::NotFound { path, .. } if path == "none"));
    store.put(&Path::from("a/1"), "1".into()).await.unwrap();
    store.put(&Path::from("b/1"), "1".into()).await.unwrap();
    let error = object_store::Error::from(store.copy_folder("a", "b").await.unwrap_err());
    assert!(matches!(&error, object_store::Error::AlreadyExists { path, .. } if path == "b"));
    let error = object_store::Error::from(store.copy_folder("a", "a").await.unwrap_err());
    assert!(matches!(error, object_store::Error::Generic { store: "LockedStore", .. }));
}

#[tokio::test]
async fn errors_of_the_lock_say_what_to_do() {
    let (_ground, store) = ground(&Leased::refusing(Refusal::NobodyAnswers), 1).await;
    let error = store.rename_folder("a", "b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rename_folder: the lock `write /a, write /b` was not granted, so nothing was done"
    );
    let source = "nobody answers; check that the endpoints are right";
    assert_eq!(error.source().unwrap().to_string(), source);
    assert_eq!(LockError::of(&error).unwrap().source().unwrap().to_string(), source);
    let lock = Leased::lost_at_call(1);
    let (_ground, store) = ground(&lock, 1).await;
    let error = store.put(&Path::from("a/1"), "x".into()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Generic LockedStore error: put: the lock `write /a/1` was lost during the work, so others \
         may have been there at the same time; look at what is there before you go on"
    );
    let lost = "the lock `write /a, write /b` was lost during the work, so others may have been \
                there at the same time; look at what is there before you go on";
    let told = async |call, verb: &str| {
        let (_ground, store) = ground(&Leased::lost_at_call(call), 1).await;
        let job = match verb {
            "rename" => store.rename_folder("a", "b"),
            _ => store.delete_folder("a"),
        };
        let error = job.parallelism(1).await.unwrap_err();
        (error.to_string(), error.source().unwrap().to_string())
    };
    let (error, source) = told(2, "rename").await;
    assert_eq!(
        error,
        "rename_folder `a` -> `b` lost its lock while copying, with 2 of 5 objects copied and none \
         deleted; if nobody else was there, `.overwrite(true)` goes on"
    );
    assert_eq!(source, format!("rename_folder: {lost}"));
    let (error, source) = told(6, "rename").await;
    assert_eq!(
        error,
        "rename_folder `a` -> `b` lost its lock while deleting the sources, with 1 of 5 deleted, \
         when every copy existed below `b`; if nobody else was there, delete_folder(\"a\") \
         finishes the rename"
    );
    assert_eq!(source, format!("rename_folder: {lost}"));
    let (error, source) = told(3, "delete").await;
    assert_eq!(
        error,
        "delete_folder `a` lost its lock, with 3 of 5 objects deleted; if nobody else was there, \
         call it again to delete the rest"
    );
    assert!(source.starts_with("delete_folder: the lock `write /a` was lost"), "{source}");
}

#[tokio::test]
async fn errors_of_the_lock_answer_as_the_engines_own() {
    let blocked = async {
        let lock = TreeLock::new();
        let _guard = lock.acquire(&write("a").with_label("import")).await;
        lock.try_acquire(&read("a")).await.unwrap_err()
    };
    let cases = [
        (Refusal::from(blocked.await), (true, false, false)),
        (Refusal::LostPlace, (false, true, false)),
        (Refusal::NobodyAnswers, (false, false, true)),
    ];
    for (refusal, expected) in cases {
        let (_ground, store) = ground(&Leased::refusing(refusal), 1).await;
        let error = store.delete_folder("a").await.unwrap_err();
        let answers = (error.blocked().is_some(), error.is_lost(), error.is_unavailable());
        assert_eq!(answers, expected, "{error:?}");
        let label = error.blocked().map(|blocked| blocked.label.as_deref());
        assert!(matches!(label, None | Some(Some("import"))), "{error:?}");
        let error = store.put(&Path::from("a/1"), "x".into()).await.unwrap_err();
        let lock = LockError::of(&error).expect("it is the lock's");
        let answers = (lock.blocked().is_some(), lock.is_lost(), lock.is_unavailable());
        assert_eq!(answers, expected, "{error:?}");
    }
    let (_ground, store) = ground(&Leased::lost_at_call(1), 1).await;
    let error = store.delete_folder("a").await.unwrap_err();
    let answers = (error.blocked().is_some(), error.is_lost(), error.is_unavailable());
    assert_eq!(answers, (false, true, false), "{error:?}");
    let (_ground, store) = ground(&Leased::default(), 1).await;
    let error = store.delete_folder("").await.unwrap_err();
    let answers = (error.blocked().is_some(), error.is_lost(), error.is_unavailable());
    assert_eq!(answers, (false, false, false), "{error:?}");
}

#[tokio::test]
async fn requests_and_views_share_one_error() {
    async fn archive(store: &crate::ground::Store, folder: &str) -> Result<(), FolderError> {
        let view = store.view(&Request::new().write(folder)?.write("archive")?).await?;
        view.rename_folder(folder, "archive/here").await?;
        Ok(())
    }
    let store = Ground::memory().with(&["a/1"]).await.locked();
    archive(&store, "a").await.unwrap();
    let error = archive(&store, "").await.unwrap_err();
    assert!(matches!(&error, FolderError::Node(node) if node.text() == ""), "{error:?}");
    assert_eq!(error.to_string(), Request::new().write("").unwrap_err().to_string());
    assert!(error.source().is_none());
}
