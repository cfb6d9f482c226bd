//! The command line of `treelock release`.

use clap::Args;

use super::values::{pid, ticket};

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Release {
    /// The number that `treelock hold` prints and `treelock ls` shows, as in `7` or `#7`
    #[arg(value_parser = ticket, required_unless_present = "pid", conflicts_with = "pid")]
    pub(crate) ticket: Option<u64>,

    /// Release everything that is held for this process on this host
    #[arg(long, value_parser = pid)]
    pub(crate) pid: Option<i32>,
}

const AFTER_HELP: &str = "\
Prints nothing if the lock is free.

Exit codes:
  0   released
  1   not released: the keeper does not end
  64  the command line is wrong, or the ticket is not a hold; to end another
      request, use `treelock break`
  66  no request has this ticket, or nothing is held for this process; if it
      was held before, the lock was lost meanwhile, or its time was over
  74  the lock cannot be used
  77  not released: the keeper belongs to another user, or runs on another host";
