//! The command line, and all that `--help` and the man pages say.
//!
//! What is said last by `--help` has lines of at most 78 columns, since narrow terminals and man
//! pages show them as they are.

mod r#break;
mod doctor;
mod lock;
mod ls;
mod naming;
mod run;
mod values;
mod who;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use self::{
    r#break::Break,
    doctor::Doctor,
    lock::{CLUSTER_OPTIONS, LockArguments},
    ls::Ls,
    run::Run,
    who::Who,
};

/// Read/write locks on whole sub-trees, for commands
///
/// Each request waits for those earlier ones that are in its way, and for nothing else: those with
/// a root at, above or below one of its own roots, if one of the two is a write. So nothing waits
/// without need, nobody starves, and commands that ask for everything in one `run` never deadlock.
#[derive(Parser)]
#[command(name = "treelock", version, max_term_width = 100, after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) lock: LockArguments,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a command while the lock is held
    ///
    /// Ends with the exit code of the command. A root is a whole sub-tree: its node and everything
    /// below. All roots are granted together or not at all, and are given back when the command has
    /// ended.
    Run(Run),
    /// Show who holds and who waits, as a tree
    Ls(Ls),
    /// Show who would be in the way of a request
    Who(Who),
    /// End the processes that keep a request alive
    ///
    /// Shows them, asks, sends SIGTERM, and after some time SIGKILL to those that are left. The
    /// lock of a living process cannot be taken, so no process ever works without the lock that it
    /// believes it has.
    ///
    /// On a cluster no process is signalled: the request is taken away. Its owner is told, and goes
    /// on until it has heard of it; only its fencing token keeps it from what somebody else holds
    /// by then.
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
        into: Option<PathBuf>, // not `dir`: that is the lock table's, which a variable may name
    },
}

const AFTER_HELP: &str = "\
Examples:
  treelock run -w src/auth -r src/lib --timeout 30s -- make test
  treelock run --paths -w target -- cargo clean
  treelock ls
  treelock who src --read
  treelock ls --url dir:/srv/locks

Environment:
  TREELOCK_URL        as --url; a directory in it must be absolute
  TREELOCK_DIR        as --dir; must be absolute
  TREELOCK_ETCD       as --etcd
  TREELOCK_NAMESPACE  as --namespace
  ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, ETCDCTL_PASSWORD
                      as the options of these names, on a cluster only
  ETCDCTL_ENDPOINTS   the members, with `--etcd env` only
  NO_COLOR            no colour; without it there is colour on terminals only
  CLICOLOR_FORCE      colour elsewhere too
  TREELOCK_TOKEN      set by `run` for the command: its fencing token

Exit codes:
  64  the command line is wrong
  74  the lock cannot be used
  75  not granted in time, or would not be granted now
  `treelock SUBCOMMAND --help` says the others.";
