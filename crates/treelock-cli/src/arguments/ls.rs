//! The command line of `treelock ls`.

use std::ffi::OsString;

use clap::Args;

use super::naming::NamingArguments;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Ls {
    /// Show only what concerns this node: requests for it, above it and below it
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

const AFTER_HELP: &str = "\
Examples:
  treelock ls
  treelock ls src --watch
  treelock ls --json | jq '.requests[] | select(.age_seconds > 3600)'

With --json --watch there is one document a line, a new one whenever more than
the ages has changed.

Exit codes:
  0   done, also if nobody holds or waits for anything
  74  the lock cannot be used
  64  the command line is wrong";
