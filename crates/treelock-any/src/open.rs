//! From an address to an engine: the one place that knows which engines are built in.

use std::path::Path;

use crate::{address::EtcdAddress, error::Error};

/// How many roots one request may have, whichever engine it is: as many as a transaction of etcd
/// takes.
pub(crate) const MAX_ROOTS: usize = 120;

/// Returns the lock of a directory.
#[cfg(feature = "dir")]
pub(crate) fn dir(path: &Path) -> Result<treelock_dir::DirLock, Error> {
    Ok(treelock_dir::DirLock::new(path))
}

#[cfg(not(feature = "dir"))]
pub(crate) fn dir(_: &Path) -> Result<treelock::TreeLock, Error> {
    Err(Error::NotBuiltIn { feature: "dir" })
}

/// Returns the lock of a cluster, which is not asked for anything yet.
#[cfg(feature = "etcd")]
pub(crate) fn etcd(address: &EtcdAddress) -> Result<treelock_etcd::EtcdLock, Error> {
    use treelock_etcd::{EtcdLock, Options, Tls};

    address.check()?;
    let mut options = Options::new(address.endpoints.clone());
    if let Some(namespace) = &address.namespace {
        options = options.namespace(namespace);
    }
    if let Some(ttl) = address.ttl {
        options = options.ttl(ttl);
    }
    if let Some((user, password)) = crate::password::credentials(address)? {
        options = options.user(user, password);
    }
    let identity = address.cert_file.as_ref().zip(address.key_file.as_ref());
    if address.ca_file.is_some() || identity.is_some() {
        let tls = address.ca_file.iter().fold(Tls::new(), Tls::ca_file);
        let identified = |tls: Tls, (cert, key)| tls.identity_files(cert, key);
        options = options.tls(identity.into_iter().fold(tls, identified));
    }
    options.check().map_err(Error::of_engine)?;
    Ok(EtcdLock::new(&options))
}

#[cfg(not(feature = "etcd"))]
pub(crate) fn etcd(_: &EtcdAddress) -> Result<treelock::TreeLock, Error> {
    Err(Error::NotBuiltIn { feature: "etcd" })
}

#[cfg(feature = "etcd")]
const _: () = {
    use treelock::engine::Engine;
    assert!(<treelock_etcd::EtcdLock as Engine>::MAX_ROOTS >= MAX_ROOTS);
};
