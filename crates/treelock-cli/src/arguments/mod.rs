//! The command line, and all that `--help` and the man pages say.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, Parser, Subcommand,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use clap_complete::Shell;

use crate::{exit, nodes::Naming};

/// Read/write locks on whole sub-trees, for commands
///
/// The rule: a request waits exactly for the earlier requests that conflict with it, and is granted as soon
/// as there are none. Two conflict if a root of one is, or lies above or below, a root of the other, and one
/// of these two is a write. So nothing waits without need, nobody starves, and those who ask for everything
/// in one `run` never deadlock.
#[derive(Parser)]
#[command(name = "treelock", version, max_term_width = 100, after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Directory of the lock table; those who share it exclude each other
    ///
    /// The default is the user's own: $XDG_STATE_HOME/treelock, which is ~/.local/state/treelock if that is
    /// not set. It is made at the first use, for this user alone.
    #[arg(long, global = true, value_name = "PATH", env = "TREELOCK_DIR", hide_env_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))] // which may be empty
    pub(crate) dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cluster: Cluster,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which cluster, and how it is spoken to. The names are those of etcdctl, where it has the same.
///
/// What the environment may hold is taken as it is, empty or no text: variables for etcdctl must not end a program
/// that means no cluster.
#[derive(Args)]
pub(crate) struct Cluster {
    /// Take the lock between machines, in this etcd cluster, instead of the one of this host
    ///
    /// Its members, as in http://10.0.0.1:2379,http://10.0.0.2:2379; or `env` for those that ETCDCTL_ENDPOINTS
    /// names. Those who name the same cluster and namespace exclude each other.
    #[arg(long, global = true, value_name = "ENDPOINTS", help_heading = CLUSTER)]
    #[arg(env = "TREELOCK_ETCD", hide_env_values = true)]
    pub(crate) etcd: Option<OsString>,

    /// Locks of another namespace have nothing to do with these [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = CLUSTER)]
    #[arg(env = "TREELOCK_NAMESPACE", hide_env_values = true, hide_short_help = true)]
    pub(crate) namespace: Option<OsString>,

    /// How long the lock stays, about, when this process has died or is cut off [default: 15s]
    ///
    /// It is more if etcd gives no such short leases, or changes its leader meanwhile.
    #[arg(long, global = true, value_name = "DURATION", help_heading = CLUSTER)]
    #[arg(value_parser = lease, hide_short_help = true)]
    pub(crate) ttl: Option<Duration>,

    /// File with the certificates that members are recognised by (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_CACERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cacert: Option<PathBuf>,

    /// File with this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_CERT", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) cert: Option<PathBuf>,

    /// File with the key of this client's certificate (PEM)
    #[arg(long, global = true, value_name = "PATH", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_KEY", hide_env_values = true, hide_short_help = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub(crate) key: Option<PathBuf>,

    /// User of the cluster, or user and password as in `name:password`
    ///
    /// Whoever may see the processes of this host sees what stands on the command line: give passwords by the
    /// environment.
    #[arg(long, global = true, value_name = "USER", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_USER", hide_env_values = true, hide_short_help = true)]
    pub(crate) user: Option<OsString>,

    /// Password of the user
    #[arg(long, global = true, value_name = "PASSWORD", help_heading = CLUSTER)]
    #[arg(env = "ETCDCTL_PASSWORD", hide_env_values = true, hide_short_help = true)]
    pub(crate) password: Option<OsString>,
}

const CLUSTER: &str = "Cluster";
/// The options that mean something with a cluster only.
pub(crate) const OF_A_CLUSTER: [&str; 7] =
    ["namespace", "ttl", "cacert", "cert", "key", "user", "password"];

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a command while the lock is held
    ///
    /// Ends with the exit code of the command. A root is a whole sub-tree: its node and everything below.
    /// All roots are granted together or not at all, and are given back when the command has ended.
    Run(Run),
    /// Show who holds and who waits, as a tree
    Ls(Ls),
    /// Show who would be in the way of a request
    Who(Who),
    /// End the processes that keep a request alive
    ///
    /// Shows them, asks, sends SIGTERM, and after some time SIGKILL to those that are left. A lock cannot be
    /// taken from a process that lives, which is why nobody ever works without the lock he believes to have.
    ///
    /// On a cluster no process is signalled: the request is taken away. Its owner is told, and goes on until he
    /// has heard of it; only his fencing token keeps him from what somebody else holds by then.
    Break(Break),
    /// Check whether this is a safe place for locks, and what is odd about it
    Doctor(Doctor),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write those of all sub-commands into a directory
    Man {
        /// Directory to write `treelock.1`, `treelock-run.1` and so on into
        ///
        /// It is made if it is missing.
        #[arg(value_name = "DIR")]
        into: Option<PathBuf>, // not `dir`: that is the lock table's, which the environment may name
    },
}

#[derive(Args)]
#[command(after_long_help = AFTER_RUN_HELP)]
pub(crate) struct Run {
    /// Sub-tree to write: nobody else reads or writes there; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) write: Vec<OsString>,

    /// Sub-tree to read: others may read there too, nobody writes; may be repeated
    #[arg(short, long, value_name = "NODE")]
    pub(crate) read: Vec<OsString>,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Who asks, as others see it [default: the command line; on a cluster the program's name only]
    #[arg(short, long)]
    pub(crate) label: Option<String>,

    /// Wait at most this long: seconds, or as in `500ms`, `5m` [default: for ever]
    ///
    /// On a cluster that does not answer it may be some seconds more, and the exit code is 74.
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
    /// On a cluster it is a tenth of --ttl less half a second, so that the command is gone before etcd can give
    /// the lock to somebody else. With a longer one the two overlap, and only the fencing token keeps them apart.
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

#[derive(Args)]
#[command(after_long_help = AFTER_LS_HELP)]
pub(crate) struct Ls {
    /// Show only what has to do with this node: requests for it, above it and below it
    #[arg(value_name = "NODE", default_value = "/")]
    pub(crate) node: OsString,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Show it again as it changes, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Args)]
#[command(after_long_help = AFTER_WHO_HELP)]
pub(crate) struct Who {
    /// The node that would be asked for
    #[arg(value_name = "NODE")]
    pub(crate) node: OsString,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Of a request to write; this is the default
    #[arg(short, long, overrides_with = "read")]
    pub(crate) write: bool,

    /// Of a request to read
    #[arg(short, long)]
    pub(crate) read: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_long_help = AFTER_BREAK_HELP)]
pub(crate) struct Break {
    /// The number that `treelock ls` shows, as in `7` or `#7`
    #[arg(value_parser = ticket)]
    pub(crate) ticket: u64,

    /// Do not ask; end also the processes that this command runs in
    #[arg(short, long)]
    pub(crate) force: bool,

    /// How long to wait after SIGTERM until SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = duration)]
    pub(crate) grace: Duration,

    /// Print what was done as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_long_help = AFTER_DOCTOR_HELP)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// After etcd was restored from a backup: let tokens grow again
    ///
    /// etcd counts from where the backup was made, so it would give tokens a second time. This ends all requests
    /// and sessions of the namespace, whose owners are told, and begins an epoch with larger tokens.
    #[arg(long, conflicts_with = "json")]
    pub(crate) begin_epoch: bool,

    /// Do not ask
    #[arg(short, long, requires = "begin_epoch")]
    pub(crate) force: bool,
}

#[derive(Args)]
pub(crate) struct NamingArguments {
    /// Take nodes as file paths: made absolute, links resolved, whether they exist or not
    ///
    /// Without it a node is a name, the same from every working directory, and `src` has nothing to do with
    /// a directory of that name.
    #[arg(long, action = ArgAction::SetTrue)]
    paths: bool,
}

impl NamingArguments {
    pub(crate) fn naming(&self) -> Naming {
        if self.paths { Naming::Paths } else { Naming::Names }
    }
}

/// A duration as timeout(1) and flock(1) take it, a number of seconds, or with units.
fn duration(text: &str) -> Result<Duration, String> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_number && let Ok(seconds) = text.parse() {
        // A time too long to be counted is as good as none.
        return Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let mut units = text.split(|c: char| !c.is_alphabetic());
    if units.any(|unit| unit == "M") {
        return Err("`M` might be months or minutes; write `m` for minutes".into());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// A duration that etcd can grant.
fn lease(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let lease = duration(text)?;
    match lease.subsec_nanos() == 0 && (Duration::from_secs(2)..=DAY).contains(&lease) {
        true => Ok(lease),
        false => Err("a lease lasts whole seconds, two at least and a day at most".into()),
    }
}

fn ticket(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('#').unwrap_or(text).parse();
    number.map_err(|_| "a ticket is a number, which `treelock ls` shows".into())
}

// Lines have at most 78 columns, since narrow terminals and man pages show them as they are.

const AFTER_HELP: &str = "\
Examples:
  treelock run -w src/auth -r src/lib --timeout 30s -- make test
  treelock run --paths -w target -- cargo clean
  treelock ls
  treelock who src --read

Environment:
  TREELOCK_DIR        as --dir; must be absolute
  TREELOCK_ETCD       as --etcd
  TREELOCK_NAMESPACE  as --namespace
  ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, ETCDCTL_PASSWORD
                      as the options of these names, with --etcd only
  ETCDCTL_ENDPOINTS   the members, with `--etcd env` only
  NO_COLOR            no colour; without it there is colour on terminals only
  CLICOLOR_FORCE      colour elsewhere too
  TREELOCK_TOKEN      set by `run` for the command: its fencing token

Exit codes:
  64  the command line is wrong
  74  the lock table cannot be used
  75  not granted in time, or would not be granted now
  Others are said by `treelock SUBCOMMAND --help`.";

const AFTER_RUN_HELP: &str = "\
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

  On a cluster (--etcd) a lock lives by its lease, which treelock renews. If
  etcd does not answer for nine tenths of --ttl, the lock counts as lost: the
  command gets SIGTERM, and SIGKILL after --grace, which ends before etcd can
  give the lock to somebody else. What the command has started itself is not
  reached, nor one that became another user. If treelock is killed, the
  command is killed with it. If both are stopped for longer than --ttl, the
  command goes on for a moment without the lock: only its fencing token keeps
  it from what others hold by then. So does one whose lock was taken away
  with `treelock break`, until treelock has heard of it, and one whose
  treelock alone is stopped, until that goes on. Who waits and is stopped for
  longer than --ttl loses his place. The command finds no ETCDCTL_PASSWORD,
  and no ETCDCTL_USER that holds a password.

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
  74     the lock table cannot be used; or the lock was lost: before the
         command was started, or before it ended with 0
  64     the command line is wrong";

const AFTER_LS_HELP: &str = "\
Examples:
  treelock ls
  treelock ls src --watch
  treelock ls --json | jq '.requests[] | select(.age_seconds > 3600)'

With --json --watch there is one document a line, a new one whenever more than
the ages has changed.

Exit codes:
  0   also if nobody holds or waits for anything
  74  the lock table cannot be used
  64  the command line is wrong";

const AFTER_WHO_HELP: &str = "\
Nothing is asked for: the answer may be another a moment later. To have the
lock or to be told, use `treelock run --try`.

Exit codes:
  0   nobody is in the way
  75  somebody is
  74  the lock table cannot be used
  64  the command line is wrong";

const AFTER_BREAK_HELP: &str = "\
Exit codes:
  0   the ticket is free now
  1   it is not, or you said no
  64  the command line is wrong, or --force is needed: there is no terminal to
      ask on, or this command runs under the ticket
  66  no request has this ticket
  74  the lock table cannot be used
  77  it is not, and a process that keeps it cannot be seen or signalled:
      it belongs to somebody else";

const AFTER_DOCTOR_HELP: &str = "\
Exit codes:
  0   nothing is bad; with --begin-epoch, it has begun
  1   something is, or you said no
  74  it cannot be found out
  64  the command line is wrong";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("0.5", 500),
            ("0", 0),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h 1s", 3_601_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(duration(&"9".repeat(400)), Ok(Duration::MAX));
        assert_eq!(
            duration("2months"),
            humantime::parse_duration("2months").map_err(|e| e.to_string())
        );
        assert_eq!(lease("2"), Ok(Duration::from_secs(2)));
        assert_eq!(lease("1m"), Ok(Duration::from_secs(60)));
        for text in ["1", "0", "2500ms", "25h", "soon"] {
            assert!(lease(text).is_err(), "{text}");
        }
        for text in ["5M", "1h 5M", "", ".", "1.2.3", "-1", "1e3", "inf", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
