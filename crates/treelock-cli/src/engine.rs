//! Which lock table is asked: the one place that knows. Everything else in this program sees an [`Engine`]
//! and the few types named here; another kind of table becomes another variant of each.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use etcetera::BaseStrategy as _;
use treelock::{Blocked, Request, Snapshot};
use treelock_dir::DirLock;
pub(crate) use treelock_dir::{Acquire, Error, Finding, Guard, Severity};

use crate::exit::Failure;

/// A lock table and how to reach it.
pub(crate) enum Engine {
    /// Of this host, in a directory.
    Dir(DirLock),
}

/// Who named the directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Option,
    Environment,
}

impl Engine {
    /// Returns the table that the user wants: the directory given, or the user's own.
    pub(crate) fn choose(dir: Option<&Path>, origin: Origin) -> Result<Engine, Failure> {
        let dir = match dir {
            Some(dir) if dir.as_os_str().is_empty() => {
                return Err(Failure::usage(
                    "the lock table has no directory: it is empty (an unset variable?); unset \
                     TREELOCK_DIR for the default",
                ));
            }
            Some(dir) if dir.is_relative() && origin == Origin::Environment => {
                return Err(Failure::usage(format_args!(
                    "TREELOCK_DIR is {dir:?}, which is another directory from each place; make it absolute"
                )));
            }
            Some(dir) => std::path::absolute(dir).map_err(|error| {
                Failure::usage(format_args!(
                    "cannot tell which directory {dir:?} is, since the working directory is gone or \
                     closed ({error}); name it from `/` on"
                ))
            })?,
            None => own_dir()?,
        };
        Ok(Engine::Dir(DirLock::new(dir)))
    }

    /// Returns what the table is called.
    pub(crate) fn place(&self) -> String {
        match self {
            Engine::Dir(lock) => lock.path().display().to_string(),
        }
    }

    pub(crate) fn acquire(&self, request: &Request) -> Acquire {
        match self {
            Engine::Dir(lock) => lock.acquire(request),
        }
    }

    pub(crate) fn try_acquire(&self, request: &Request) -> Result<Guard, Error> {
        match self {
            Engine::Dir(lock) => lock.try_acquire(request),
        }
    }

    pub(crate) fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        match self {
            Engine::Dir(lock) => lock.blocked(request),
        }
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Error> {
        match self {
            Engine::Dir(lock) => lock.snapshot(),
        }
    }

    /// Returns the processes of this host whose end would end the ticket.
    pub(crate) fn processes(&self, ticket: u64) -> Result<Vec<u32>, Error> {
        match self {
            Engine::Dir(lock) => lock.processes(ticket),
        }
    }

    pub(crate) fn check(&self) -> Result<Vec<Finding>, Error> {
        match self {
            Engine::Dir(lock) => lock.check(),
        }
    }
}

/// How long a command whose lock is lost has to end before it is killed.
pub(crate) const GRACE_WHEN_LOST: Duration = Duration::from_secs(10);

/// The directory of who names none: where this user's state lies. Not the run-time directory, which cron,
/// ssh and sudo do not set: two tables are two locks, and exclude nobody.
fn own_dir() -> Result<PathBuf, Failure> {
    let base = etcetera::base_strategy::Xdg::new().ok();
    let state = base.and_then(|base| base.state_dir());
    let state = state.filter(|path| path.is_absolute()).ok_or_else(|| {
        Failure::usage("this user has no home directory; name one for the lock table with --dir")
    })?;
    Ok(state.join("treelock"))
}
