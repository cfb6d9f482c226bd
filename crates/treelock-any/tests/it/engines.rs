//! Which engine a text is, and what only that engine has.

use treelock_any::{
    AnyLock, Wait,
    treelock::{Request, TreeLock},
};

#[test]
fn a_lock_in_memory_is_its_own_and_that_of_its_clones() {
    let lock = AnyLock::open("memory:").unwrap();
    let request = Request::new().write("a").unwrap();
    let _guard = lock.acquire(&request).wait().unwrap();
    assert!(lock.clone().try_acquire(&request).wait().is_err());
    assert!(AnyLock::open("memory:").unwrap().try_acquire(&request).wait().is_ok());
    let own = lock.downcast_ref::<TreeLock>().unwrap();
    assert_eq!((own.held_count(), lock.max_roots()), (1, usize::MAX));
    assert!(lock.downcast_ref::<AnyLock>().is_none());
}

#[cfg(feature = "dir")]
mod dir {
    use std::{fs, process::Command};

    use treelock_any::{
        AnyLock, Error, Wait,
        treelock::Request,
        treelock_dir::{self, DirLock},
    };

    fn request() -> Request {
        Request::new().write("a").unwrap()
    }

    #[test]
    fn a_text_is_the_directory_that_others_use() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("locks");
        let lock = AnyLock::open(&format!("dir:{}", path.display())).unwrap();
        assert!(!path.exists(), "opening makes nothing");
        let guard = lock.acquire(&request()).wait().unwrap();
        let other = DirLock::new(&path);
        assert!(other.try_acquire(&request()).wait().is_err());
        let own = lock.downcast_ref::<DirLock>().unwrap();
        assert_eq!(own.processes(guard.ticket()).unwrap(), [std::process::id()]);
        let mut command = Command::new("true");
        guard.downcast_ref::<treelock_dir::Guard>().unwrap().inherit(&mut command).unwrap();
        assert!(command.status().unwrap().success());
    }

    #[test]
    fn a_lock_is_lost_with_its_table() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("locks");
        let lock = AnyLock::open(&format!("dir:{}", path.display())).unwrap();
        let guard = lock.acquire(&request()).wait().unwrap();
        let lost = guard.lost();
        assert!(guard.is_valid());
        fs::remove_dir_all(&path).unwrap();
        lost.wait();
        assert!(!guard.is_valid());
    }

    #[test]
    fn what_the_engine_says_is_kept() {
        let lock = AnyLock::open("dir:/dev/null/locks").unwrap();
        let error = lock.acquire(&request()).wait().unwrap_err();
        assert!(!error.is_timeout() && !error.is_lost() && !error.is_unavailable());
        assert!(matches!(error.downcast_ref(), Some(treelock_dir::Error::Io { .. })), "{error:?}");
        let own = DirLock::new("/dev/null/locks").acquire(&request()).wait().unwrap_err();
        assert_eq!(error.to_string(), own.to_string());
        let causes = |error: &dyn std::error::Error| error.source().map(ToString::to_string);
        assert_eq!(causes(&error), causes(&own));
        assert!(matches!(error, Error::Engine(_)));
    }
}

#[cfg(feature = "etcd")]
mod etcd {
    use treelock_any::{
        AnyLock, Wait,
        treelock::Request,
        treelock_etcd::{self, EtcdLock},
    };

    use crate::server::Cluster;

    #[test]
    fn a_text_is_the_namespace_that_others_use() {
        let Some(cluster) = Cluster::start(1) else { return };
        let text = format!("etcd://{}/one", cluster.endpoints().join(","));
        let (lock, other) = (AnyLock::open(&text).unwrap(), AnyLock::open(&text).unwrap());
        let request = Request::new().write("a").unwrap();
        let guard = lock.acquire(&request).wait().unwrap();
        assert!(other.try_acquire(&request).wait().unwrap_err().is_timeout());
        let elsewhere = AnyLock::open(&text.replace("/one", "/two")).unwrap();
        drop(elsewhere.try_acquire(&request).wait().unwrap());
        // What only this engine has: the lock is taken away, and lost.
        let lost = guard.lost();
        let own = other.downcast_ref::<EtcdLock>().unwrap();
        assert!(own.revoke(guard.ticket()).wait().unwrap());
        lost.wait();
        assert!(!guard.is_valid());
        assert!(guard.downcast_ref::<treelock_etcd::Guard>().is_some());
    }

    #[test]
    fn a_cluster_that_is_not_there() {
        let lock = AnyLock::open("etcd://127.0.0.1:1?ttl=2s").unwrap();
        let error = lock.snapshot().wait().unwrap_err();
        assert!(error.is_unavailable() && !error.is_lost(), "{error}");
    }

    #[test]
    fn files_that_cannot_be_read_are_said_at_once() {
        let error = AnyLock::open("etcd://a:1?ca=/no/such.pem").unwrap_err();
        assert!(error.to_string().contains("/no/such.pem cannot be read"), "{error}");
    }
}
