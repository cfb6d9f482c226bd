//! The command line of `treelock run`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{lock::HAS_CLUSTERS, naming::NamingArguments, values::duration};
use crate::{exit, wait::Speech};

#[derive(Args)]
#[command(after_long_help = after_help())]
pub(crate) struct Run {
    /// Sub-tree to lock for writing: no other run reads or writes there; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) write: Vec<OsString>,

    /// Sub-tree to lock for reading: others may read there, but none writes; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) read: Vec<OsString>,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Label that others see [default: the command line, or on a cluster the program's name]
    #[arg(short, long)]
    pub(crate) label: Option<String>,

    /// Wait at most this long: seconds, or as in `500ms`, `5m` [default: forever]
    ///
    /// When the time is up, the exit code is that of --conflict-exit-code. If a cluster does not
    /// answer, it takes some seconds longer, and the exit code is 74.
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// Do not wait at all; the same as `--timeout 0`
    #[arg(long = "try", conflicts_with = "timeout")]
    pub(crate) is_try: bool,

    /// Exit code if the lock is not granted in time
    #[arg(short = 'E', long, value_name = "N", default_value_t = exit::NOT_GRANTED)]
    pub(crate) conflict_exit_code: u8,

    /// If the lock is not granted in time, print what is in the way as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Say nothing of waiting, nor what is in the way if the lock is not granted in time
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Say at once what is waited for, and when the lock is granted and released
    #[arg(short, long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Become the command instead of waiting for it, so that no other process is in between
    ///
    /// The command, and whatever it starts, keeps the lock until all of them have ended. If the
    /// table is removed meanwhile, nothing ends them. Only for a lock on one host: on a cluster
    /// treelock must renew the lease.
    #[arg(short = 'F', long, conflicts_with = "grace")]
    pub(crate) exec: bool,

    #[arg(long, value_name = "DURATION", value_parser = duration)]
    #[arg(help = GRACE_HELP, long_help = GRACE_LONG_HELP)]
    pub(crate) grace: Option<Duration>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

impl Run {
    /// Returns what to say while this waits and runs.
    pub(crate) fn speech(&self) -> Speech {
        match (self.quiet, self.verbose) {
            (true, _) => Speech::Nothing,
            (false, true) => Speech::Everything,
            (false, false) => Speech::Waiting,
        }
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        if self.is_try { Some(Duration::ZERO) } else { self.timeout }
    }
}

const GRACE_HELP: &str = match HAS_CLUSTERS {
    true => {
        "Time between SIGTERM and SIGKILL if the lock is lost [default: 10s; less on a cluster]"
    }
    false => "Time between SIGTERM and SIGKILL if the lock is lost [default: 10s]",
};
const GRACE_LONG_HELP: &str = match HAS_CLUSTERS {
    true => {
        "Time between SIGTERM and SIGKILL if the lock is lost [default: 10s; less on a cluster]\n\n\
         On a cluster the default is a tenth of --ttl minus half a second, so the command is gone \
         before etcd can grant the lock to another request. With a longer time the two holders \
         overlap, and only the fencing token keeps them apart."
    }
    false => GRACE_HELP,
};

/// Returns the closing text, without clusters where they are not built in.
fn after_help() -> String {
    let on_a_cluster = if HAS_CLUSTERS { ON_A_CLUSTER } else { "" };
    [THE_COMMAND, on_a_cluster, EXIT_CODES].concat()
}

const THE_COMMAND: &str = "\
Examples:
  treelock run -w src/auth -r src/lib --timeout 30s -- make test
  treelock run -w / --try -- ./deploy.sh    # the whole tree, now or never
  treelock run --paths -w \"$PWD/target\" -- cargo build

The command:
  The command finds its fencing token in TREELOCK_TOKEN: a number higher than
  that of every earlier conflicting run. Pass it to whatever the lock
  protects, which can then reject a writer that is too late.

  TREELOCK_TICKET lists the tickets that it runs under, the innermost last,
  as in dir:/srv/locks#7. The command must not request what it holds: a
  `treelock run` inside that would wait for one outside is refused.

  SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are forwarded to the
  command, except those that it gets anyway, because they were sent to the
  whole process group or control group: by a terminal, `kill -- -GROUP`,
  timeout(1) or a service manager. While treelock waits for the lock, each of
  them ends the wait.

  If treelock itself is killed, the command keeps the lock until it ends.
  When the command has ended, the lock is released, even if processes that
  the command started are still running in the background.

  With --exec treelock becomes the command. Nobody forwards signals, and the
  lock is released when the command, and all processes that it started and
  that have its descriptor, have ended.
";

const ON_A_CLUSTER: &str = "
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
";

const EXIT_CODES: &str = "
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
  70     it would wait for a `treelock run` that it is inside
  64     the command line is wrong";
