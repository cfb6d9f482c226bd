//! The command line of `treelock doctor`.

use clap::Args;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// After etcd was restored from a backup: let tokens grow again
    ///
    /// etcd counts from where the backup was made, so it would give tokens a second time. This ends
    /// all requests and sessions of the namespace, whose owners are told, and begins an epoch with
    /// larger tokens.
    #[arg(long, conflicts_with = "json")]
    pub(crate) begin_epoch: bool,

    /// Do not ask
    #[arg(short, long, requires = "begin_epoch")]
    pub(crate) force: bool,
}

const AFTER_HELP: &str = "\
Exit codes:
  0   nothing is bad; with --begin-epoch, the epoch has begun
  1   something is bad, or you said no
  74  the lock cannot be used, so nothing is known of it
  64  the command line is wrong";
