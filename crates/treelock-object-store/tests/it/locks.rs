//! Every operation takes the right lock, no less and no more: each is polled against a holder of
//! each access on each node around it, and must wait exactly if its expected request conflicts.

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use treelock::{Access, Node, Request, TreeLock, Wait};
use treelock_object_store::{Folders, LockedStore};

use crate::ground::{Ground, Store, hold, live, poll, read, soon, waiting, write};

type Operation = fn(Store) -> BoxFuture<'static, Result<(), Box<dyn std::error::Error>>>;

/// The objects that exist before each operation.
const OBJECTS: [&str; 3] = ["a/b/x", "a/b/y", "a/c"];

/// The nodes that are held against each operation.
const NODES: [&str; 11] =
    ["/", "a", "a/b", "a/b/x", "a/b/x/deep", "a/b/y", "a/c", "z", "z/w", "z/w/x", "other"];

fn path(text: &str) -> Path {
    Path::from(text)
}

macro_rules! operation {
    ($name:literal, $request:expr, |$store:ident| $body:expr) => {
        ($name, $request, |$store| {
            async move {
                $body;
                Ok(())
            }
            .boxed()
        })
    };
}

fn reads() -> Vec<(&'static str, Request, Operation)> {
    let root = Request::new().with(Access::Read, Node::root());
    vec![
        operation!("get", read("a/b/x"), |s| s.get(&path("a/b/x")).await?.bytes().await?),
        operation!("head", read("a/b/x"), |s| s.head(&path("a/b/x")).await?),
        operation!("get_range", read("a/b/x"), |s| s.get_range(&path("a/b/x"), 0..2).await?),
        operation!("get_ranges", read("a/b/x"), |s| {
            s.get_ranges(&path("a/b/x"), &[0..1, 3..4]).await?
        }),
        operation!("list", read("a/b"), |s| {
            s.list(Some(&path("a/b"))).try_collect::<Vec<_>>().await?
        }),
        operation!("list none", root.clone(), |s| s.list(None).try_collect::<Vec<_>>().await?),
        operation!("list empty", root.clone(), |s| {
            s.list(Some(&Path::ROOT)).try_collect::<Vec<_>>().await?
        }),
        operation!("list_with_offset", read("a/b"), |s| {
            let offset = path("a/b/x");
            s.list_with_offset(Some(&path("a/b")), &offset).try_collect::<Vec<_>>().await?
        }),
        operation!("list_with_delimiter", read("a"), |s| {
            s.list_with_delimiter(Some(&path("a"))).await?
        }),
        operation!("list_with_delimiter none", root.clone(), |s| {
            s.list_with_delimiter(None).await?
        }),
        operation!("list_folder", read("a"), |s| s.list_folder("a").await?),
        operation!("list_folder empty", root, |s| s.list_folder("").await?),
        operation!("read_folder", read("a/b"), |s| drop(s.read_folder("a/b").await?)),
    ]
}

fn writes() -> Vec<(&'static str, Request, Operation)> {
    vec![
        operation!("put", write("a/b/x"), |s| s.put(&path("a/b/x"), "new".into()).await?),
        operation!("put create", write("z/w"), |s| {
            s.put_opts(&path("z/w"), "new".into(), PutMode::Create.into()).await?
        }),
        operation!("put_multipart", write("z/w"), |s| {
            let mut upload = s.put_multipart(&path("z/w")).await?;
            upload.put_part("part".into()).await?;
            upload.complete().await?
        }),
        operation!("delete", write("a/b/x"), |s| s.delete(&path("a/b/x")).await?),
        operation!("delete_stream", write("a/b/x").write("a/c").unwrap(), |s| {
            let both = stream::iter([Ok(path("a/b/x")), Ok(path("a/c"))]).boxed();
            s.delete_stream(both).try_collect::<Vec<_>>().await?
        }),
        operation!("write_folder", write("a/b"), |s| drop(s.write_folder("a/b").await?)),
        operation!("delete_folder", write("a/b"), |s| s.delete_folder("a/b").await?),
    ]
}

fn twos() -> Vec<(&'static str, Request, Operation)> {
    let copy = || read("a/b/x").write("z/w").unwrap();
    let rename = || write("a/b/x").write("z/w").unwrap();
    vec![
        operation!("copy", copy(), |s| s.copy(&path("a/b/x"), &path("z/w")).await?),
        operation!("copy_if_not_exists", copy(), |s| {
            s.copy_if_not_exists(&path("a/b/x"), &path("z/w")).await?
        }),
        operation!("rename", rename(), |s| s.rename(&path("a/b/x"), &path("z/w")).await?),
        operation!("rename_if_not_exists", rename(), |s| {
            s.rename_if_not_exists(&path("a/b/x"), &path("z/w")).await?
        }),
        operation!("rename_folder", write("a/b").write("z/w").unwrap(), |s| {
            s.rename_folder("a/b", "z/w").await?
        }),
        operation!("copy_folder", read("a/b").write("z/w").unwrap(), |s| {
            s.copy_folder("a/b", "z/w").await?
        }),
        operation!("view", read("a/b").write("z").unwrap(), |s| {
            drop(s.view(&read("a/b").write("z").unwrap()).await?)
        }),
    ]
}

/// Returns whether two requests conflict: the rule of C1, written out anew so that the core does
/// not judge itself.
fn conflict(one: &Request, other: &Request) -> bool {
    one.roots().any(|(access, node)| {
        other.roots().any(|(its_access, its_node)| {
            let meet = node.contains(its_node) || its_node.contains(node);
            meet && (access == Access::Write || its_access == Access::Write)
        })
    })
}

async fn check(operations: Vec<(&'static str, Request, Operation)>) {
    for (name, expected, operation) in operations {
        for node in NODES {
            for holder in [read(node), write(node)] {
                for ground in Ground::both() {
                    check_one(name, &expected, operation, &holder, ground).await;
                }
            }
        }
    }
}

async fn check_one(
    name: &str,
    expected: &Request,
    operation: Operation,
    holder: &Request,
    ground: Ground,
) {
    let ground = ground.with(&OBJECTS).await;
    let store = ground.locked();
    let guard = hold(store.lock(), holder);
    let mut future = operation(store.clone());
    let first = poll(&mut future);
    let waits = waiting(store.lock()) == 1;
    let context = format!("{name} on {}, held: {holder}", ground.name);
    assert_eq!(waits, conflict(expected, holder), "{context}: waits?");
    if waits {
        assert!(first.is_pending(), "{context}: waits and is ready");
        drop(guard);
    } // else the guard stays: the operation has to end beside it
    if first.is_pending() {
        soon(future).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    let left = live(store.lock());
    assert_eq!(left, usize::from(!waits), "{context}: the operation left its lock behind");
}

#[tokio::test]
async fn reads_take_the_right_lock() {
    check(reads()).await;
}

#[tokio::test]
async fn writes_take_the_right_lock() {
    check(writes()).await;
}

#[tokio::test]
async fn operations_on_two_paths_take_the_right_lock() {
    check(twos()).await;
}

#[tokio::test]
async fn one_lock_serves_several_stores() {
    let lock = TreeLock::new();
    let (one, other) = (Ground::memory().with(&["a/x"]).await, Ground::memory());
    let one = LockedStore::with_lock(one.bare, lock.clone());
    let other = LockedStore::with_lock(other.bare, lock.clone());
    let view = one.write_folder("a").await.unwrap();
    let put = path("a/x");
    let mut blocked = other.put(&put, "x".into()).boxed();
    assert!(poll(&mut blocked).is_pending());
    assert_eq!(waiting(&lock), 1);
    drop(view);
    soon(blocked).await.unwrap();
    assert_eq!(live(&lock), 0);
}

#[tokio::test]
async fn a_failing_operation_gives_its_lock_back() {
    for ground in Ground::both() {
        let store = ground.locked();
        assert!(store.get(&path("none")).await.is_err());
        assert!(store.copy(&path("none"), &path("z")).await.is_err());
        assert!(store.rename_folder("none", "z").await.is_err());
        assert_eq!(live(store.lock()), 0, "on {}", ground.name);
    }
}

#[tokio::test]
async fn an_operation_that_stops_waiting_leaves_no_trace() {
    let ground = Ground::memory().with(&OBJECTS).await;
    for (name, expected, operation) in reads().into_iter().chain(writes()).chain(twos()) {
        let store = ground.locked();
        let guard = hold(store.lock(), &write("/"));
        let mut future = operation(store.clone());
        assert!(poll(&mut future).is_pending(), "{name}");
        drop(future);
        assert_eq!(live(store.lock()), 1, "{name} still waits");
        drop(guard);
        assert!(store.lock().try_acquire(&expected).wait().is_ok(), "{name} blocks");
    }
}

#[tokio::test]
async fn renaming_an_object_onto_itself_keeps_it() {
    for ground in Ground::both() {
        let ground = ground.with(&["a/x"]).await;
        let (store, x, none) = (ground.locked(), path("a/x"), path("none"));
        soon(store.rename(&x, &x)).await.unwrap();
        soon(store.write_folder("a")).await.unwrap().rename(&x, &x).await.unwrap();
        assert!(store.rename_if_not_exists(&x, &x).await.is_err());
        let missing = store.rename(&none, &none).await;
        assert!(matches!(missing, Err(object_store::Error::NotFound { .. })), "{missing:?}");
        ground.assert_holds(&[("a/x", "a/x")]).await;
    }
}
