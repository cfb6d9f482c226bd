//! The command line of `treelock run`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{naming::NamingArguments, values::duration};
use crate::exit;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Run {
    /// Sub-tree to write: nobody else reads or writes there; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) write: Vec<OsString>,

    /// Sub-tree to read: others may read there too, nobody writes; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) read: Vec<OsString>,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Who asks, as others see it [default: the command line; on a cluster only the program's name]
    #[arg(short, long)]
    pub(crate) label: Option<String>,

    /// Wait at most this long: seconds, or as in `500ms`, `5m` [default: for ever]
    ///
    /// If a cluster does not answer it may take some seconds more, and the exit code is 74.
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// Do not wait at all; the same as `--timeout 0`
    #[arg(long = "try", conflicts_with = "timeout")]
    pub(crate) is_try: bool,

    /// Exit code if the lock is not granted in time
    #[arg(short = 'E', long, value_name = "N", default_value_t = exit::NOT_GRANTED)]
    pub(crate) conflict_exit_code: u8,

    /// If the lock is not granted in time, say who is in the way as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// If the lock is not granted in time, say nothing: the exit code tells
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// If the lock is lost: how long after SIGTERM until SIGKILL [default: 10s; less on a cluster]
    ///
    /// On a cluster the default is a tenth of --ttl less half a second, so that the command is gone
    /// before etcd can give the lock to somebody else. With a longer one the two overlap, and only
    /// the fencing token keeps them apart.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) grace: Option<Duration>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Run {
    pub(crate) fn limit(&self) -> Option<Duration> {
        if self.is_try { Some(Duration::ZERO) } else { self.timeout }
    }
}

const AFTER_HELP: &str = "\
Examples:
  treelock run -w src/auth -r src/lib --timeout 30s -- make test
  treelock run -w / --try -- ./deploy.sh    # the whole tree, now or never
  treelock run --paths -w \"$PWD/target\" -- cargo build

The command:
  It finds its fencing token in TREELOCK_TOKEN: a number higher than that of
  every conflicting run before. Hand it to what the lock protects, which can
  then refuse a writer that is too late.

  SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are forwarded to it,
  except for those that a terminal sends to both. While treelock waits for
  the lock, each of them ends the wait.

  If treelock itself is killed, the command keeps the lock until it ends.
  When it has ended the lock is released, whatever it left running in the
  background.

  On a cluster a lock lives by its lease, which treelock renews. If etcd does
  not answer for nine tenths of --ttl, the lock counts as lost: the command
  gets SIGTERM, and SIGKILL after --grace, which ends before etcd can give
  the lock to somebody else. This does not reach what the command itself has
  started, nor a command that became another user. If treelock is killed, the
  command is killed with it. If both are stopped for longer than --ttl, the
  command goes on for a moment without the lock: only its fencing token keeps
  it from what others hold by then. So does one whose lock was taken away
  with `treelock break`, until treelock has heard of it, and one whose
  treelock alone is stopped, until that goes on. A `run` that waits and is
  stopped for longer than --ttl loses its place. The command does not inherit
  passwords: neither ETCDCTL_PASSWORD, nor an ETCDCTL_USER that holds one;
  it finds TREELOCK_URL without its password.

  It must not ask for what it holds: a `treelock run` inside would wait for
  the one outside.

Exit codes:
  the command's own
  128+N  signal N ended the command, or the wait for the lock; if that was
         SIGINT, treelock ends by it too, which shells show as 130
  126    the command cannot be executed
  127    the command was not found, or its interpreter
  75     not granted in time (or --conflict-exit-code); standard error says
         who is in the way
  74     the lock cannot be used; or it was lost: before the command was
         started, or before the command ended with 0
  64     the command line is wrong";
