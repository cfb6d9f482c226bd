//! The command line of `treelock ls`.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{naming::NamingArguments, values::duration};

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Ls {
    /// Show only requests at, above or below this node
    #[arg(value_name = "NODE", default_value = "/")]
    pub(crate) node: OsString,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Show changes as they happen
    ///
    /// On a terminal this is a view with keys, `?` shows them. Elsewhere the tree is printed
    /// whenever it changes, and with --json one document for each event.
    #[arg(long)]
    pub(crate) watch: bool,

    /// Show by node how long requests wait and are held, after listening until Ctrl-C
    #[arg(long, conflicts_with = "watch")]
    pub(crate) stats: bool,

    /// Listen for this long: seconds, or as in `500ms`, `5m`
    #[arg(long = "for", value_name = "DURATION", requires = "stats", value_parser = duration)]
    pub(crate) listen_for: Option<Duration>,
}

const AFTER_HELP: &str = "\
Examples:
  treelock ls
  treelock ls src --watch
  treelock ls --stats --for 2s
  treelock ls --json | jq '.requests[] | select(.age_seconds > 3600)'

Exit codes:
  0       done, even if there are no requests
  74      the lock cannot be used
  128+N   signal N ended --watch
  64      the command line is wrong";
