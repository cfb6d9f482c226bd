//! The thread that talks to etcd.
//!
//! It belongs to this crate, so leases are renewed whatever an application does with its own
//! threads, and any executor can poll the futures of this crate. It is started at the first use and
//! lives as long as the process.

use std::{io, process, sync::OnceLock};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::Error;

/// Returns the runtime of the thread; an error if it could not be started, or if it stayed behind
/// in the process from which this one was forked.
pub(super) fn thread() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    static OWNER: OnceLock<u32> = OnceLock::new();
    if *OWNER.get_or_init(process::id) != process::id() {
        let what = "this process was forked from one that uses the cluster's lock, and the thread \
                    that talks to etcd exists only there; start another program after forking, or \
                    fork before the lock is used";
        return Err(Error::Unsupported { what: what.into() });
    }
    let start = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("treelock-etcd").enable_all().build()
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|error| Error::Refused {
        doing: "start the thread that talks to etcd",
        what: error.to_string(),
    })
}

/// Returns the runtime in which this is called, unless it is that of the thread.
pub(super) fn foreign() -> Option<Handle> {
    let ours = thread().ok()?;
    Handle::try_current().ok().filter(|handle| handle.id() != ours.handle().id())
}
