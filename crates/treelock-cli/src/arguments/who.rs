//! The command line of `treelock who`.

use std::ffi::OsString;

use clap::Args;

use super::naming::NamingArguments;

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
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

const AFTER_HELP: &str = "\
This asks for nothing: the answer may be different a moment later. To have the
lock or to be told who has it, use `treelock run --try`.

Exit codes:
  0   nobody is in the way
  75  somebody is
  74  the lock cannot be used
  64  the command line is wrong";
