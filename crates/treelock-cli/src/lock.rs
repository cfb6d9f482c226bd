//! The lock that this program uses. Everything that is specific to one kind of lock is in this
//! file, and nowhere else.

use std::{ffi::OsString, fs, io, path::Path, process::Command, time::Duration};

use treelock_any::{
    Address, AnyLock, Error, Guard,
    treelock_dir::{self, DirLock},
};

use crate::{
    error::Failure,
    events::{Events, Signal},
    exit, parent_death, secrets,
};

/// How long a lock on a cluster stays after its process has died, by default.
const TTL_DEFAULT: Duration = Duration::from_secs(15);
/// How long a command whose lock is lost may take to end before it is killed: the maximum, and the
/// value where it is unknown when another request gets the lock.
const GRACE_MAX: Duration = Duration::from_secs(10);
/// How long it may take to notice the loss of a lease and to send the signal.
const REACTION_TIME: Duration = Duration::from_millis(500);

/// The name of the lock table in its directory.
const TABLE: &str = "table";

/// A lock shared with other processes, and how far it reaches. Clones refer to the same lock.
#[derive(Clone)]
pub(crate) struct Lock {
    pub(crate) any: AnyLock,
    reach: Reach,
}

/// Which processes can use the lock.
#[derive(Clone, Copy)]
enum Reach {
    /// The processes of this host. Its kernel knows which of them are alive.
    Host,
    /// Processes on all machines. Each holds its locks by a lease.
    Cluster { ttl: Duration },
}

impl Lock {
    /// Opens the lock at this address. Does no I/O yet.
    pub(crate) fn open(address: &Address) -> Result<Lock, Failure> {
        let reach = match address {
            Address::Dir(_) => Reach::Host,
            Address::Etcd(etcd) => Reach::Cluster { ttl: etcd.ttl.unwrap_or(TTL_DEFAULT) },
            _ => {
                return Err(Failure::usage(format_args!(
                    "{address} is a lock within one process, which this command cannot share; name \
                     a directory or a cluster, as in dir:/var/lib/app/locks"
                )));
            }
        };
        match AnyLock::at(address) {
            Ok(any) => Ok(Lock { any, reach }),
            Err(Error::NotBuiltIn { .. }) => Err(not_built_in()),
            Err(error) => Err(Failure::usage(error)),
        }
    }

    /// Returns whether only processes of this host see the lock.
    pub(crate) fn is_of_this_host(&self) -> bool {
        matches!(self.reach, Reach::Host)
    }

    /// Calls the lock. On one host that may block, behind a stopped process that has the table's
    /// latch; then a signal ends this process, which gives back everything. On a cluster nothing
    /// blocks, and what is given back must be said to it. Returns a signal that arrived before.
    pub(crate) fn call<T>(&self, events: &Events, call: impl FnOnce() -> T) -> Result<T, Signal> {
        match self.reach {
            Reach::Host => events.interruptibly(call),
            Reach::Cluster { .. } => Ok(call()),
        }
    }

    /// Returns about how long the lock stays after its process has died.
    pub(crate) fn ttl(&self) -> Duration {
        match self.reach {
            Reach::Host => Duration::ZERO,
            Reach::Cluster { ttl } => ttl,
        }
    }

    /// Returns how long a command may continue after the lock is lost. A lease counts as lost after
    /// nine tenths of its time, at the latest, so the command has the rest of that time.
    pub(crate) fn grace(&self) -> Duration {
        match self.reach {
            Reach::Host => GRACE_MAX,
            Reach::Cluster { ttl } => (ttl / 10).saturating_sub(REACTION_TIME).min(GRACE_MAX),
        }
    }

    /// Returns the reason to give if the lock is lost.
    pub(crate) fn why_lost(&self) -> &'static str {
        match self.reach {
            Reach::Host => "its table was removed or replaced",
            Reach::Cluster { .. } => "its lease may have ended, or it was taken away",
        }
    }

    /// Returns a command that does not outlive the lock: it keeps the lock alive, or it ends with
    /// this process.
    pub(crate) fn command(
        &self,
        guard: &Guard,
        command_line: &[OsString],
    ) -> Result<Command, Failure> {
        let Some(guard) = guard.downcast_ref::<treelock_dir::Guard>() else {
            let mut command = parent_death::command(command_line)?;
            secrets::hide_from(&mut command, &self.any);
            return Ok(command);
        };
        let mut command = Command::new(&command_line[0]);
        command.args(&command_line[1..]);
        guard.inherit(&mut command).map_err(|error| Failure::new(exit::CANNOT_LOCK, error))?;
        Ok(command)
    }

    /// Returns the directory of the lock table if there is no table in it, or no directory.
    pub(crate) fn missing_table(&self) -> Option<&Path> {
        let dir = self.any.downcast_ref::<DirLock>()?.path();
        let found = fs::symlink_metadata(dir.join(TABLE));
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound).then_some(dir)
    }

    /// Returns the processes of this host that keep the ticket alive. Empty on a cluster, where the
    /// processes of other hosts are unknown and a lease keeps the lock.
    pub(crate) fn processes(&self, ticket: u64) -> Result<Vec<u32>, Failure> {
        match self.any.downcast_ref::<DirLock>() {
            Some(dir) => {
                dir.processes(ticket).map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
            }
            None => Ok(Vec::new()),
        }
    }
}

/// The operations that only a lock on a cluster has.
#[cfg(feature = "etcd")]
impl Lock {
    /// Takes a request away. Returns whether it was there.
    pub(crate) fn revoke(&self, ticket: u64) -> Result<bool, Failure> {
        use treelock_any::Wait as _;
        self.etcd()?.revoke(ticket).wait().map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
    }

    /// Ends all requests, and lets tokens grow again after a restore. Returns the number of the
    /// epoch.
    pub(crate) fn begin_epoch(&self) -> Result<u16, Failure> {
        use treelock_any::Wait as _;
        self.etcd()?.begin_epoch().wait().map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
    }

    fn etcd(&self) -> Result<&treelock_any::treelock_etcd::EtcdLock, Failure> {
        self.any.downcast_ref().ok_or_else(|| Failure::usage("this works only on a cluster"))
    }
}

/// Never called: in this build no lock on a cluster can have been opened.
#[cfg(not(feature = "etcd"))]
impl Lock {
    pub(crate) fn revoke(&self, _: u64) -> Result<bool, Failure> {
        Err(not_built_in())
    }

    pub(crate) fn begin_epoch(&self) -> Result<u16, Failure> {
        Err(not_built_in())
    }
}

fn not_built_in() -> Failure {
    Failure::usage(
        "this treelock was built without the lock between machines; `cargo install treelock-cli \
         --features etcd` builds one that has it, and needs protoc (Debian: apt-get install \
         protobuf-compiler libprotobuf-dev)",
    )
}
