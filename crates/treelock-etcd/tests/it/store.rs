//! The object store on this lock: two of them, with handles of their own, over one directory.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use etcd_client::Client;
use futures_util::{TryStreamExt, future::join};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem};
use treelock::Request;
use treelock_etcd::{EtcdLock, Options};
use treelock_object_store::{FolderError, Folders, LockError, LockedStore, Phase};

use crate::{
    asking::within,
    server::{Cluster, runtime},
};

const FILES: usize = 8;

type Store = LockedStore<LocalFileSystem, EtcdLock>;

/// A store as another process has it: its own handle to the directory, and its own session.
fn store(cluster: &Cluster, directory: &Path) -> Store {
    let bare = LocalFileSystem::new_with_prefix(directory).expect("a directory");
    let options = Options::new(cluster.endpoints()).ttl(Duration::from_secs(4));
    LockedStore::with_lock(bare, EtcdLock::new(&options))
}

/// Puts a folder, seen by no lock.
async fn fill(store: &Store, folder: &str) {
    for file in 0..FILES {
        let at = format!("{folder}/{file}").into();
        store.inner().put(&at, "x".into()).await.expect("a directory that works");
    }
}

/// How many files are below a folder, seen by no lock.
async fn count(store: &Store, folder: &str) -> usize {
    let listed = store.inner().list(Some(&folder.into())).try_collect::<Vec<_>>().await;
    listed.expect("a directory that works").len()
}

#[test]
fn folders_are_never_torn() {
    let Some(cluster) = Cluster::start(1) else { return };
    let directory = tempfile::tempdir().expect("a place for temporary files");
    let (one, other) = (store(&cluster, directory.path()), store(&cluster, directory.path()));
    let is_over = AtomicBool::new(false);
    let renaming = async {
        for (from, to) in [("a/x", "a/y"), ("a/y", "a/x")].into_iter().cycle().take(40) {
            one.rename_folder(from, to).await.expect("a cluster that works");
        }
        is_over.store(true, Ordering::SeqCst);
    };
    let looking = async {
        let mut looks = 0;
        while !is_over.load(Ordering::SeqCst) {
            let both = Request::new().read("a").expect("a good node");
            let view = other.view(&both).await.expect("a cluster that works");
            let [x, y] = [count(&other, "a/x").await, count(&other, "a/y").await];
            assert_eq!((x + y, x * y), (FILES, 0), "torn");
            drop(view);
            looks += 1;
        }
        looks
    };
    runtime().block_on(async {
        fill(&one, "a/x").await;
        let ((), looks) = within("both end", join(renaming, looking)).await;
        assert!(looks > 5, "{looks} looks see little");
    });
}

/// The lease is ended while a folder is being renamed: nothing more is begun.
#[test]
fn a_rename_stops_when_its_lock_is_lost() {
    let Some(cluster) = Cluster::start(1) else { return };
    let directory = tempfile::tempdir().expect("a place for temporary files");
    let store = store(&cluster, directory.path());
    runtime().block_on(async {
        fill(&store, "a").await;
        let request = Request::new().write("a").and_then(|request| request.write("b"));
        let view = store.view(&request.expect("good nodes")).await.expect("it works");
        let (endpoints, held) = (cluster.endpoints(), view.clone());
        // Called after each object, on this very thread: the runtime has others.
        let job = view.rename_folder("a", "b").parallelism(1).progress(move |now| {
            if now.done == 3 {
                let ended = end_leases(endpoints.clone());
                std::thread::scope(|scope| scope.spawn(|| runtime().block_on(ended)).join())
                    .expect("it works");
                while held.guard().is_valid() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        let error = within("it ends", job.into_future()).await.expect_err("its lock was lost");
        let FolderError::Incomplete(state) = &error else { panic!("{error}") };
        assert!(LockError::of(&error).is_some_and(LockError::is_lost), "{error}");
        assert_eq!((state.phase, state.done.len()), (Phase::Copy, 3), "{error}");
        assert_eq!((count(&store, "a").await, count(&store, "b").await), (FILES, 3));
    });
}

async fn end_leases(endpoints: Vec<String>) {
    let mut client = Client::connect(endpoints, None).await.expect("it runs");
    for lease in client.leases().await.expect("it works").leases() {
        client.lease_revoke(lease.id()).await.expect("it was there");
    }
}

/// More objects than one request of etcd can name.
#[test]
fn many_objects_are_deleted_in_requests_that_etcd_takes() {
    let Some(cluster) = Cluster::start(1) else { return };
    let directory = tempfile::tempdir().expect("a place for temporary files");
    let store = store(&cluster, directory.path());
    runtime().block_on(async {
        for file in 0..250 {
            let at = format!("a/{file}").into();
            store.inner().put(&at, "x".into()).await.expect("a directory that works");
        }
        let all = store.list(None).map_ok(|object| object.location);
        let deleting = store.delete_stream(Box::pin(all)).try_collect::<Vec<_>>();
        let deleted = within("it ends", deleting).await.expect("a cluster that works");
        assert_eq!((deleted.len(), count(&store, "a").await), (250, 0));
    });
}

/// No etcd: nothing is done, and the error says what is wrong.
#[test]
fn a_store_whose_lock_cannot_be_asked() {
    let directory = tempfile::tempdir().expect("a place for temporary files");
    let bare = LocalFileSystem::new_with_prefix(directory.path()).expect("a directory");
    let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:1"]).ttl(Duration::from_secs(2)));
    let store = LockedStore::with_lock(bare, lock);
    runtime().block_on(async {
        let at = "a".into();
        let put = store.put(&at, "x".into());
        let error = within("it is told", put).await.expect_err("nobody answers");
        let source = LockError::of(&error);
        assert!(matches!(source, Some(LockError::NotGranted { .. })), "{error}");
        // What is wrong is in the cause, once.
        let cause = source.and_then(std::error::Error::source).expect("why it was not granted");
        assert!(cause.to_string().contains("no etcd member answered"), "{cause}");
        assert_eq!(count(&store, "a").await, 0);
    });
}
