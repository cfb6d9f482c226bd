//! The command line of `treelock run`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{asking::AskArguments, values::duration};

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) asking: AskArguments,

    /// Label that others see [default: the command line; on a cluster only the program's name]
    #[arg(short, long)]
    pub(crate) label: Option<String>,

    /// If the lock is not granted in time, print what is in the way as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// If the lock is not granted in time, print nothing; only set the exit code
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Time between SIGTERM and SIGKILL if the lock is lost [default: 10s; less on a cluster]
    ///
    /// On a cluster the default is a tenth of --ttl minus half a second, so the command is gone
    /// before etcd can grant the lock to another request. With a longer time the two holders
    /// overlap, and only the fencing token keeps them apart.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) grace: Option<Duration>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Examples:
  treelock run -w src/auth -r src/lib --timeout 30s -- make test
  treelock run -w / --try -- ./deploy.sh    # the whole tree, now or never
  treelock run --paths -w \"$PWD/target\" -- cargo build

The command:
  The command finds its fencing token in TREELOCK_TOKEN: a number higher than
  that of every earlier conflicting run. Pass it to whatever the lock
  protects, which can then reject a writer that is too late.

  SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are forwarded to the
  command, except those that a terminal sends to both. While treelock waits
  for the lock, each of them ends the wait.

  If treelock itself is killed, the command keeps the lock until it ends.
  When the command has ended, the lock is released, even if processes that
  the command started are still running in the background.

  On a cluster a lock lives by its lease, which treelock renews. If etcd does
  not answer for nine tenths of --ttl, the lock counts as lost: the command
  gets SIGTERM, and SIGKILL after --grace, which ends before etcd can grant
  the lock to another request. These signals do not reach processes that the
  command has started, nor a command that became another user. If treelock is
  killed, the command is killed with it.

  On a cluster a command can run without the lock: for a moment after both
  were stopped for longer than --ttl; after `treelock break` took the lock
  away, until treelock is notified; and while treelock alone is stopped. Then
  only its fencing token keeps it from changing what others hold by then. A
  waiting `run` that is stopped for longer than --ttl loses its place in
  line.

  The command does not inherit passwords: neither ETCDCTL_PASSWORD, nor an
  ETCDCTL_USER that contains one. TREELOCK_URL is set without its password.

  The command must not request what it holds: a `treelock run` inside would
  wait for the one outside.

Exit codes:
  the command's own
  128+N  signal N ended the command, or the wait for the lock; if that was
         SIGINT, treelock ends by it too, which shells show as 130
  126    the command cannot be executed
  127    the command or its interpreter was not found
  75     not granted in time (or --conflict-exit-code); standard error says
         what is in the way
  74     the lock cannot be used, or was lost before the command was started
         or before it ended with 0
  64     the command line is wrong";
