//! The command line of `treelock who`.

use std::ffi::OsString;

use clap::Args;

use super::naming::NamingArguments;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Who {
    /// The node that would be requested
    #[arg(value_name = "NODE")]
    pub(crate) node: OsString,

    #[command(flatten)]
    pub(crate) naming: NamingArguments,

    /// Check for a write request (the default)
    #[arg(short, long, overrides_with = "read")]
    pub(crate) write: bool,

    /// Check for a read request
    #[arg(short, long)]
    pub(crate) read: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
This does not request anything, so the answer may be different a moment later.
To get the lock, or else be told what is in the way, use `treelock run --try`.

Exit codes:
  0   nothing is in the way
  75  another request is in the way
  74  the lock cannot be used
  64  the command line is wrong";
