//! The lock that this program uses, and what it has to know of it beyond the words that all locks
//! share: what only one kind has is here, and nowhere else.

use std::{ffi::OsString, process::Command, time::Duration};

use treelock_any::{
    Address, AnyLock, Error, Guard,
    treelock_dir::{self, DirLock},
};

use crate::{error::Failure, exit, parent_death, secrets};

/// How long a lock on a cluster stays when its process has died, if nothing else is said.
const TTL_DEFAULT: Duration = Duration::from_secs(15);
/// How long a command whose lock is lost has to end before it is killed, where nothing is known of
/// when somebody else gets the lock; and at most.
const GRACE_MAX: Duration = Duration::from_secs(10);
/// How long the loss of a lease may take to be seen, and the signal to be sent.
const REACTION_TIME: Duration = Duration::from_millis(500);

/// A lock that outlives this process, and how far it reaches.
pub(crate) struct Lock {
    pub(crate) any: AnyLock,
    reach: Reach,
}

/// Who can use the lock.
#[derive(Clone, Copy)]
enum Reach {
    /// The processes of this host. Its kernel knows who is alive.
    Host,
    /// Processes of all machines. Each holds by a lease.
    Cluster { ttl: Duration },
}

impl Lock {
    /// Opens the lock at this address. Nobody is asked for anything yet.
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

    /// Returns how long the lock stays, about, when its process has died.
    pub(crate) fn ttl(&self) -> Duration {
        match self.reach {
            Reach::Host => Duration::ZERO,
            Reach::Cluster { ttl } => ttl,
        }
    }

    /// Returns how long a command may go on when the lock is lost. A lease counts as lost when nine
    /// tenths of it are over, at the latest, so the command has what is left of it.
    pub(crate) fn grace(&self) -> Duration {
        match self.reach {
            Reach::Host => GRACE_MAX,
            Reach::Cluster { ttl } => (ttl / 10).saturating_sub(REACTION_TIME).min(GRACE_MAX),
        }
    }

    /// Returns why the lock is lost, if it is.
    pub(crate) fn why_lost(&self) -> &'static str {
        match self.reach {
            Reach::Host => "its table was removed or replaced",
            Reach::Cluster { .. } => "its lease may have ended, or somebody took it away",
        }
    }

    /// Returns a command that does not outlive the lock: it keeps the lock alive, or ends with this
    /// process.
    pub(crate) fn command(
        &self,
        guard: &Guard,
        command_line: &[OsString],
    ) -> Result<Command, Failure> {
        let Some(guard) = guard.downcast_ref::<treelock_dir::Guard>() else {
            let mut command = parent_death::command(command_line)?;
            secrets::hide_from(&mut command);
            return Ok(command);
        };
        let mut command = Command::new(&command_line[0]);
        command.args(&command_line[1..]);
        guard.inherit(&mut command).map_err(|error| Failure::new(exit::CANNOT_LOCK, error))?;
        Ok(command)
    }

    /// Returns the processes of this host whose end would end the ticket. On a cluster nobody can
    /// say it of other hosts, and it is not what keeps a lock there.
    pub(crate) fn processes(&self, ticket: u64) -> Result<Vec<u32>, Failure> {
        match self.any.downcast_ref::<DirLock>() {
            Some(dir) => {
                dir.processes(ticket).map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
            }
            None => Ok(Vec::new()),
        }
    }
}

/// The part that only a lock on a cluster has.
#[cfg(feature = "etcd")]
impl Lock {
    /// Takes a request away; returns whether it was there.
    pub(crate) fn revoke(&self, ticket: u64) -> Result<bool, Failure> {
        use treelock_any::Wait as _;
        self.etcd()?.revoke(ticket).wait().map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
    }

    /// Ends all requests, and lets tokens grow again after a restore; returns the number of the
    /// epoch.
    pub(crate) fn begin_epoch(&self) -> Result<u16, Failure> {
        use treelock_any::Wait as _;
        self.etcd()?.begin_epoch().wait().map_err(|error| Failure::new(exit::CANNOT_LOCK, error))
    }

    fn etcd(&self) -> Result<&treelock_any::treelock_etcd::EtcdLock, Failure> {
        self.any.downcast_ref().ok_or_else(|| Failure::usage("this is for a lock on a cluster"))
    }
}

/// No lock on a cluster can have been opened.
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
