//! The command line of `treelock doctor`.

use clap::Args;

use super::lock::HAS_CLUSTERS;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Begin a new epoch of tokens, after etcd was restored from a backup
    ///
    /// After a restore etcd counts from where the backup was made, so it would issue the same
    /// tokens again. This option ends all requests and sessions of the namespace, notifies their
    /// owners, and begins an epoch with larger tokens.
    #[arg(long, conflicts_with = "json", hide = !HAS_CLUSTERS)]
    pub(crate) begin_epoch: bool,

    /// Do not ask for confirmation
    #[arg(short, long, requires = "begin_epoch", hide = !HAS_CLUSTERS)]
    pub(crate) force: bool,
}

const AFTER_HELP: &str = "\
Exit codes:
  0   nothing is bad; with --begin-epoch, the epoch has begun
  1   something is bad, or you said no
  74  the lock cannot be used, so nothing is known of it
  64  the command line is wrong";
