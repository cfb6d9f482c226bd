//! The ground that tests stand on: both kinds of store, some objects, and ways to look.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use treelock::{Guard, Request, TreeLock, Wait};
use treelock_object_store::LockedStore;

pub(crate) type Store = LockedStore<Arc<dyn ObjectStore>>;

/// A bare store of each kind; the directory lives as long as the value.
pub(crate) struct Ground {
    pub(crate) bare: Arc<dyn ObjectStore>,
    pub(crate) name: &'static str,
    _directory: Option<TempDir>,
}

impl Ground {
    pub(crate) fn both() -> [Ground; 2] {
        [Ground::memory(), Ground::local()]
    }

    pub(crate) fn memory() -> Ground {
        Ground { bare: Arc::new(InMemory::new()), name: "memory", _directory: None }
    }

    pub(crate) fn local() -> Ground {
        let directory = TempDir::new().unwrap();
        let bare = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
        Ground { bare, name: "local", _directory: Some(directory) }
    }

    /// Puts objects that hold their own names.
    pub(crate) async fn with(self, names: &[&str]) -> Ground {
        for name in names {
            self.bare.put(&Path::from(*name), name.to_string().into()).await.unwrap();
        }
        self
    }

    pub(crate) fn locked(&self) -> Store {
        LockedStore::new(Arc::clone(&self.bare))
    }

    /// Returns all objects, name to content, read without locks.
    pub(crate) async fn contents(&self) -> BTreeMap<String, String> {
        contents(&*self.bare).await
    }

    /// Asserts that the store holds exactly these names, each with the content it was put with.
    pub(crate) async fn assert_holds(&self, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(name, text)| (name.to_string(), text.to_string()));
        assert_eq!(self.contents().await, expected.collect(), "on {}", self.name);
    }
}

pub(crate) async fn contents(store: &dyn ObjectStore) -> BTreeMap<String, String> {
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut all = BTreeMap::new();
    for object in listed {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        all.insert(object.location.to_string(), String::from_utf8(bytes.to_vec()).unwrap());
    }
    all
}

pub(crate) fn read(name: &str) -> Request {
    Request::new().read(name).unwrap()
}

pub(crate) fn write(name: &str) -> Request {
    Request::new().write(name).unwrap()
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn waiting(lock: &TreeLock) -> usize {
    lock.snapshot().wait().waiting().count()
}

pub(crate) fn live(lock: &TreeLock) -> usize {
    lock.snapshot().wait().entries.len()
}

/// Returns whether a request would be granted now.
pub(crate) fn is_free(lock: &TreeLock, request: &Request) -> bool {
    lock.try_acquire(request).wait().is_ok()
}

pub(crate) fn hold(lock: &TreeLock, request: &Request) -> Guard {
    lock.try_acquire(request).wait().unwrap()
}

/// Fails instead of hanging, because a deadlock must be a red test.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("deadlock: it never ended")
}
