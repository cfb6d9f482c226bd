//! Errors say what happened, to what, and what to do; each text is pinned.

use std::error::Error;
use std::future::IntoFuture;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use treelock_object_store::{DirError, LockedStore};

use crate::faulty::{Call, Faulty, How};
use crate::ground::{Ground, read, soon};

async fn texts() -> Vec<String> {
    let ground = Ground::memory().with(&["a/1", "a/2", "b/1", "file"]).await;
    let store = ground.locked();
    let view = store.view(&read("a").write("w").unwrap()).await;
    let jobs = [
        store.delete_dir(""),
        store.rename_dir("a/../b", "c"),
        store.rename_dir("a", "/a/"),
        store.copy_dir("a", "a/b"),
        store.delete_dir("none"),
        store.delete_dir("file"),
        view.rename_dir("a", "b"),
    ];
    let mut texts = Vec::new();
    for job in jobs {
        texts.push(soon(job.into_future()).await.unwrap_err().to_string());
    }
    drop(view);
    texts.push(store.rename_dir("a", "b").await.unwrap_err().to_string());
    texts
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let expected = [
        "delete_dir refuses the empty path, which is the whole store: is a variable unset? \
         name a folder",
        "rename_dir: Error parsing Path \"a/../b\": Encountered illegal character sequence \"..\" \
         whilst parsing path segment \"..\"; give slash-separated names without `.`, `..` or empty \
         segments",
        "rename_dir `a` onto itself would change nothing; give another target",
        "copy_dir `a` -> `a/b`: one of the folders lies in the other; give a target outside, or go \
         by way of a third folder",
        "delete_dir: there is no object below `none/`; check the name",
        "delete_dir: there is no object below `file/`, but `file` is itself an object; for one \
         object use `rename`, `copy` or `delete`",
        "rename_dir needs `write /a, write /b`, but the view holds `read /a, write /w`; ask for a \
         view that covers it",
        "rename_dir: the target `b` exists (found `b/1`); choose another, delete it first, or give \
         `.overwrite(true)` to merge into it",
    ];
    assert_eq!(texts().await, expected);
}

async fn broken(call: Call, nth: usize) -> DirError {
    let ground = Ground::memory().with(&["a/1", "a/2", "a/3"]).await;
    let store = LockedStore::new(Faulty::new(ground.bare, call, nth, How::Before));
    soon(store.rename_dir("a", "b").parallelism(1).into_future()).await.unwrap_err()
}

#[tokio::test]
async fn failures_say_what_is_where() {
    let copy = broken(Call::Copy, 1).await;
    assert_eq!(
        copy.to_string(),
        "rename_dir `a` -> `b` failed while copying, with 1 of 3 objects copied: every object \
         still stands below `a`, and nothing was deleted; give `.overwrite(true)` to go on, or \
         delete_dir(\"b\") to undo: Generic Faulty error: the line is cut"
    );
    assert!(copy.source().unwrap().to_string().contains("the line is cut"));
    assert_eq!(
        broken(Call::List, 0).await.to_string(),
        "rename_dir: looking at `a` failed, nothing was changed: Generic Faulty error: the line is \
         cut"
    );
    let delete = broken(Call::Delete, 2).await.to_string();
    assert!(delete.contains("of 3 deleted: `b` is whole"), "{delete}");
    assert!(delete.contains("delete_dir(\"a\") finishes the rename"), "{delete}");
}

#[tokio::test]
async fn errors_become_the_stores_own() {
    async fn missing(store: &crate::ground::Store) -> object_store::Result<()> {
        store.delete_dir("none").await?;
        Ok(())
    }
    let store = Ground::memory().locked();
    let error = missing(&store).await.unwrap_err();
    assert!(matches!(&error, object_store::Error::NotFound { path, .. } if path == "none"));
    store.put(&Path::from("a/1"), "1".into()).await.unwrap();
    store.put(&Path::from("b/1"), "1".into()).await.unwrap();
    let error = object_store::Error::from(store.copy_dir("a", "b").await.unwrap_err());
    assert!(matches!(&error, object_store::Error::AlreadyExists { path, .. } if path == "b"));
    let error = object_store::Error::from(store.copy_dir("a", "a").await.unwrap_err());
    assert!(matches!(error, object_store::Error::Generic { store: "LockedStore", .. }));
}
