//! The command line of `treelock hold`.

use std::time::Duration;

use clap::Args;

use super::{
    asking::AskArguments,
    values::{lifetime, pid},
};

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) asking: AskArguments,

    /// Hold until this process has ended; in a shell script `$$` is the script
    ///
    /// There is no default. The parent of this command would be the wrong process where a script
    /// writes `$(treelock hold …)` or a pipe: a sub-shell that ends at once, and with it the lock.
    #[arg(long, value_parser = pid)]
    pub(crate) pid: Option<i32>,

    /// Hold at most this long, counted from the grant: seconds, or as in `90s`, `10m`
    ///
    /// On a cluster too, where the other commands have an option of this name for the lease. The
    /// lease of a hold is set in the URL, as in `etcd://10.0.0.1:2379/builds?ttl=30s`. While the
    /// machine sleeps, the time does not pass.
    // This takes the place of the global option of the same name; see `choice.rs`.
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    pub(crate) ttl: Option<Duration>,

    /// Label that others see, followed by what the lock is held for [default: hold]
    #[arg(short, long, default_value = "hold", hide_default_value = true)]
    pub(crate) label: String,

    /// Print ticket and token as JSON, and what is in the way if the lock is not granted in time
    #[arg(long)]
    pub(crate) json: bool,

    /// Print neither ticket and token, nor anything of waiting or what is in the way
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

const AFTER_HELP: &str = "\
Examples:
  treelock hold -w src --pid $$ || exit 75    # a script locks itself
  treelock hold -w src/auth --ttl 10m --label agent-7
  treelock hold -w lib --pid $PPID --json | jq .ticket

Output:
  One line that a shell can evaluate:
    lock=$(treelock hold -w src --pid $$) && eval \"$lock\"
  sets TREELOCK_HOLD, for `treelock release`, and TREELOCK_TOKEN, the fencing
  token: a number higher than that of every earlier conflicting request. Pass
  it to whatever the lock protects, which can then reject a writer that is too
  late. With --json the token is a text, because many programs round numbers
  as large as these.

When it ends:
  The lock is released as soon as the process of --pid has ended, however that
  happens, and even if nobody has waited for it yet (a zombie). While the
  process is stopped, the lock is held. A later process with the same number
  is not taken for it. Processes that it has started do not count.

  While this command waits for the lock, its end, for example by Ctrl-C, ends
  the request too.

  If the lock is lost, because the table was removed, or on a cluster the lease
  has ended or `treelock break` took the lock away, the keeper ends. It
  signals nobody: `treelock release` then finds no ticket and exits with 66,
  and the fencing token protects.

  The keeper is shown by ps(1) as `treelock: keeper hold …`. If it is killed,
  the lock is released; on a cluster when the lease ends.

Not for what a `run` can do: the command under a `run` is ended if the lock is
lost. Whoever would wait for what is held for it, or for a process above it, is
refused.

Exit codes:
  0      the lock is held
  128+N  signal N ended the wait for the lock
  75     not granted in time (or --conflict-exit-code); standard error says
         what is in the way
  74     the lock cannot be used
  70     it would wait for what is held for it, or for a `treelock run` that it
         is inside
  66     the process of --pid does not exist, or ended during the wait
  64     the command line is wrong";
