//! Which lock table is asked: the one place that knows. Everything else in this program sees an [`Engine`]
//! and the few types named here; another kind of table becomes another variant of each.

use std::{
    ffi::OsString,
    fmt,
    path::PathBuf,
    pin::Pin,
    process::Command,
    task::{Context, Poll},
    time::Duration,
};

use etcetera::BaseStrategy as _;
use treelock::{Blocked, FencingToken, Request, Snapshot};
pub(crate) use treelock::{Finding, Severity};
use treelock_dir::DirLock;

use crate::{arguments::Arguments, error::Failure, events::Events, exit};
#[cfg(feature = "etcd")]
use crate::{
    cluster::{Asked, Cluster, Held},
    output::say,
    parent_death, secrets,
};

/// A lock table and how to reach it.
pub(crate) enum Engine {
    /// Of this host, in a directory.
    Dir(DirLock),
    /// Between machines.
    #[cfg(feature = "etcd")]
    Etcd(Cluster),
}

/// Who named something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Option,
    Environment,
}

/// What was named, and by whom.
pub(crate) struct Named {
    pub(crate) dir: Option<Origin>,
    pub(crate) etcd: Option<Origin>,
    /// An option on the command line that means something with a cluster only.
    pub(crate) of_a_cluster: Option<&'static str>,
}

impl Engine {
    /// Returns the table that the user wants: the cluster or the directory given, or the user's own directory.
    /// An option counts for more than the environment. Nobody is moved to a cluster by variables that he has
    /// set for etcdctl.
    pub(crate) fn choose(arguments: &Arguments, named: &Named) -> Result<Engine, Failure> {
        match (named.dir, named.etcd) {
            (Some(Origin::Option), Some(Origin::Option)) => Err(Failure::usage(
                "--dir and --etcd name two lock tables; whoever uses one does not see the other: choose one",
            )),
            (Some(Origin::Environment), Some(Origin::Environment)) => Err(Failure::usage(
                "TREELOCK_DIR and TREELOCK_ETCD name two lock tables; unset one of them, or say --dir or --etcd",
            )),
            (_, Some(Origin::Option)) | (None, Some(Origin::Environment)) => {
                Engine::cluster(arguments)
            }
            _ => match named.of_a_cluster {
                Some(option) => Err(Failure::usage(format_args!(
                    "--{option} is for a cluster; name one with --etcd"
                ))),
                None => Ok(Engine::Dir(DirLock::new(directory(arguments, named.dir)?))),
            },
        }
    }

    #[cfg(feature = "etcd")]
    fn cluster(arguments: &Arguments) -> Result<Engine, Failure> {
        Ok(Engine::Etcd(Cluster::connect(&arguments.cluster)?))
    }

    #[cfg(not(feature = "etcd"))]
    fn cluster(_: &Arguments) -> Result<Engine, Failure> {
        Err(Failure::usage(
            "this treelock was built without the lock between machines; `cargo install treelock-cli --features \
             etcd` builds one that has it, and needs protoc (Debian: apt-get install protobuf-compiler \
             libprotobuf-dev)",
        ))
    }

    /// Whether only processes of this host see the table.
    pub(crate) fn is_of_this_host(&self) -> bool {
        matches!(self, Engine::Dir(_))
    }

    /// Returns what the table is called.
    pub(crate) fn place(&self) -> String {
        match self {
            Engine::Dir(lock) => lock.path().display().to_string(),
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => cluster.place().to_owned(),
        }
    }

    /// Asks; or, if it is a try, only if nobody is in the way.
    pub(crate) fn acquire(&self, request: &Request, is_try: bool) -> Acquire {
        match self {
            Engine::Dir(lock) if is_try => {
                Acquire::Done(Some(lock.try_acquire(request).map(Guard::Dir).map_err(Error::from)))
            }
            Engine::Dir(lock) => Acquire::Dir(lock.acquire(request)),
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => Acquire::Etcd(cluster.acquire(request, is_try)),
        }
    }

    /// Waits until what was asked for and dropped is given back; for the end of the program. On one host it
    /// is at once.
    pub(crate) fn settle(&self, _events: &Events) {
        match self {
            Engine::Dir(_) => {}
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => {
                if !cluster.settle(_events) {
                    say(&format!(
                        "etcd does not answer; the place in the line is free in about {} s",
                        cluster.ttl().as_secs()
                    ));
                }
            }
        }
    }

    pub(crate) fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        Ok(match self {
            Engine::Dir(lock) => lock.blocked(request)?,
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => cluster.lock().blocked(request)?,
        })
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(match self {
            Engine::Dir(lock) => lock.snapshot()?,
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => cluster.lock().snapshot()?,
        })
    }

    /// Returns the processes of this host whose end would end the ticket.
    pub(crate) fn processes(&self, ticket: u64) -> Result<Vec<u32>, Error> {
        match self {
            Engine::Dir(lock) => Ok(lock.processes(ticket)?),
            // Nobody can say it of other hosts, and there it is not what keeps a lock.
            #[cfg(feature = "etcd")]
            Engine::Etcd(_) => Ok(Vec::new()),
        }
    }

    pub(crate) fn check(&self) -> Result<Vec<Finding>, Error> {
        Ok(match self {
            Engine::Dir(lock) => lock.check()?,
            #[cfg(feature = "etcd")]
            Engine::Etcd(cluster) => cluster.lock().check()?,
        })
    }
}

/// The directory of the table of this host.
fn directory(arguments: &Arguments, origin: Option<Origin>) -> Result<PathBuf, Failure> {
    match arguments.dir.as_deref() {
        Some(dir) if dir.as_os_str().is_empty() => Err(Failure::usage(
            "the lock table has no directory: it is empty (an unset variable?); unset \
             TREELOCK_DIR for the default",
        )),
        Some(dir) if dir.is_relative() && origin == Some(Origin::Environment) => {
            Err(Failure::usage(format_args!(
                "TREELOCK_DIR is {dir:?}, which is another directory from each place; make it absolute"
            )))
        }
        Some(dir) => std::path::absolute(dir).map_err(|error| {
            Failure::usage(format_args!(
                "cannot tell which directory {dir:?} is, since the working directory is gone or \
                 closed ({error}); name it from `/` on"
            ))
        }),
        None => own_dir(),
    }
}

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

/// A request that was asked for. Dropping it gives back whatever it has.
pub(crate) enum Acquire {
    /// A try, whose answer is there.
    Done(Option<Result<Guard, Error>>),
    Dir(treelock_dir::Acquire),
    #[cfg(feature = "etcd")]
    Etcd(Asked),
}

impl Acquire {
    /// Returns who is in the way; `None` if nobody is, or it is not known yet and an event comes when it is.
    pub(crate) fn blocked(&self, _events: &Events) -> Result<Option<Blocked>, Error> {
        match self {
            Acquire::Done(_) => Ok(None),
            Acquire::Dir(acquire) => Ok(acquire.blocked()?),
            #[cfg(feature = "etcd")]
            Acquire::Etcd(asked) => asked.blocked(_events),
        }
    }

    /// Fails if nobody will say who is in the way, when the time is over for so long.
    pub(crate) fn is_late(&self, _by: Duration) -> Result<(), Error> {
        match self {
            Acquire::Done(_) | Acquire::Dir(_) => Ok(()),
            #[cfg(feature = "etcd")]
            Acquire::Etcd(asked) => asked.is_late(_by),
        }
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Acquire::Done(answer) => Poll::Ready(answer.take().expect("polled after it was ready")),
            Acquire::Dir(acquire) => {
                Pin::new(acquire).poll(context).map(|done| Ok(Guard::Dir(done?)))
            }
            #[cfg(feature = "etcd")]
            Acquire::Etcd(asked) => {
                Pin::new(asked).poll(context).map(|done| Ok(Guard::Etcd(done?)))
            }
        }
    }
}

/// A lock that is held.
pub(crate) enum Guard {
    Dir(treelock_dir::Guard),
    #[cfg(feature = "etcd")]
    Etcd(Held),
}

/// How long a command whose lock is lost has to end before it is killed, where nothing is known of when
/// somebody else gets it.
const GRACE: Duration = Duration::from_secs(10);

impl Guard {
    pub(crate) fn token(&self) -> FencingToken {
        match self {
            Guard::Dir(guard) => guard.token(),
            #[cfg(feature = "etcd")]
            Guard::Etcd(held) => held.guard().token(),
        }
    }

    /// Returns whether the lock is not lost, as far as is known here.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Guard::Dir(guard) => guard.is_valid(),
            #[cfg(feature = "etcd")]
            Guard::Etcd(held) => held.guard().is_valid(),
        }
    }

    /// Returns a future that is ready when the lock is lost.
    pub(crate) fn lost(&self) -> Result<Pin<Box<dyn Future<Output = ()>>>, Error> {
        Ok(match self {
            Guard::Dir(guard) => Box::pin(guard.lost()?),
            #[cfg(feature = "etcd")]
            Guard::Etcd(held) => Box::pin(held.guard().lost()),
        })
    }

    /// Returns why it is lost, if it is.
    pub(crate) fn why_lost(&self) -> &'static str {
        match self {
            Guard::Dir(_) => "its table was removed or replaced",
            #[cfg(feature = "etcd")]
            Guard::Etcd(_) => "its lease may have ended, or somebody took it away",
        }
    }

    /// Returns how long a command has to end when the lock is lost.
    pub(crate) fn grace(&self) -> Duration {
        match self {
            Guard::Dir(_) => GRACE,
            #[cfg(feature = "etcd")]
            Guard::Etcd(held) => held.grace().min(GRACE),
        }
    }

    /// Returns a command that does not outlive the lock: it keeps it alive, or ends with this process.
    pub(crate) fn command(&self, command_line: &[OsString]) -> Result<Command, Failure> {
        match self {
            Guard::Dir(guard) => {
                let mut command = Command::new(&command_line[0]);
                command.args(&command_line[1..]);
                guard.inherit(&mut command).map_err(Error::from)?;
                Ok(command)
            }
            #[cfg(feature = "etcd")]
            Guard::Etcd(_) => {
                let mut command = parent_death::command(command_line)?;
                secrets::hide_from(&mut command);
                Ok(command)
            }
        }
    }

    /// Releases, for all who inherited it too. Says so if it does not get through.
    pub(crate) fn release(self, _events: &Events, _say: impl FnOnce(&str)) {
        match self {
            Guard::Dir(guard) => drop(guard),
            #[cfg(feature = "etcd")]
            Guard::Etcd(held) => {
                let ttl = held.ttl();
                if !held.release(_events) {
                    _say(&format!(
                        "etcd does not answer; the lock is free in about {} s",
                        ttl.as_secs()
                    ));
                }
            }
        }
    }
}

/// Why a lock was not granted, or nobody could be asked.
#[derive(Debug)]
pub(crate) enum Error {
    /// Somebody is in the way.
    Blocked(Box<Blocked>),
    Dir(treelock_dir::Error),
    #[cfg(feature = "etcd")]
    Etcd(treelock_etcd::Error),
    /// The cluster did not say in time who is in the way.
    #[cfg(feature = "etcd")]
    Silence,
}

impl Error {
    /// Whether nobody answers, which may pass.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Error::Blocked(_) | Error::Dir(_) => false,
            #[cfg(feature = "etcd")]
            Error::Etcd(error) => error.is_unavailable(),
            #[cfg(feature = "etcd")]
            Error::Silence => true,
        }
    }
}

impl From<treelock_dir::Error> for Error {
    fn from(error: treelock_dir::Error) -> Error {
        match error {
            treelock_dir::Error::Blocked(blocked) => Error::Blocked(blocked),
            error => Error::Dir(error),
        }
    }
}

#[cfg(feature = "etcd")]
impl From<treelock_etcd::Error> for Error {
    fn from(error: treelock_etcd::Error) -> Error {
        match error {
            treelock_etcd::Error::Blocked(blocked) => Error::Blocked(blocked),
            error => Error::Etcd(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Blocked(blocked) => blocked.fmt(f),
            Error::Dir(error) => error.fmt(f),
            #[cfg(feature = "etcd")]
            Error::Etcd(error) => error.fmt(f),
            #[cfg(feature = "etcd")]
            Error::Silence => f.write_str(
                "the time is over, and etcd does not say who is in the way; see that it runs",
            ),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(exit::CANNOT_LOCK, error)
    }
}
