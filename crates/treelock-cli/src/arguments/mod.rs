//! Defines the command line, and all text of `--help` and the man pages.
//!
//! The closing text of `--help` has lines of at most 78 columns, because narrow terminals and man
//! pages show it as it is.

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
/// Each request waits only for the earlier requests that are in its way: those with a root at,
/// above or below one of its own roots, where one of the two is a write. So no request waits
/// without need, none starves, and commands that request everything in one `run` never deadlock.
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
    /// Run a command while holding the lock
    ///
    /// Exits with the exit code of the command. A root is a whole sub-tree: its node and everything
    /// below it. All roots are granted together or not at all, and are released when the command
    /// has ended.
    Run(Run),
    /// Show all requests, held and waiting, as a tree
    Ls(Ls),
    /// Show what would be in the way of a request
    Who(Who),
    /// End the processes that keep a request alive
    ///
    /// Shows the processes, asks for confirmation, sends SIGTERM, and after some time sends SIGKILL
    /// to those that are left. A lock cannot be taken from a living process, so no process ever
    /// works without the lock that it believes it has.
    ///
    /// On a cluster no process is signalled. Instead the request is taken away and its owner is
    /// notified. The owner goes on until the news has reached it; only its fencing token keeps it
    /// from changing what another request holds by then.
    Break(Break),
    /// Check whether locks are safe here, and report anything odd
    Doctor(Doctor),
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page, or write the man pages of all sub-commands into a directory
    Man {
        /// Directory for `treelock.1`, `treelock-run.1` and so on
        ///
        /// It is created if it does not exist.
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
  TREELOCK_URL        same as --url; a directory in it must be absolute
  TREELOCK_DIR        same as --dir; must be absolute
  TREELOCK_ETCD       same as --etcd
  TREELOCK_NAMESPACE  same as --namespace
  ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, ETCDCTL_PASSWORD
                      same as the options of these names; clusters only
  ETCDCTL_ENDPOINTS   the members; used only with `--etcd env`
  NO_COLOR            turns colour off, which is on for terminals only
  CLICOLOR_FORCE      turns colour on everywhere
  TREELOCK_TOKEN      set by `run` for the command: its fencing token
  TREELOCK_TICKET     set by `run` for the command: the tickets it runs under

Exit codes:
  64  the command line is wrong
  74  the lock cannot be used
  75  not granted in time, or would not be granted now
  `treelock SUBCOMMAND --help` lists the others.";
