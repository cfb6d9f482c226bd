//! The command line of `treelock break`.

use std::time::Duration;

use clap::Args;

use super::values::{duration, ticket};

#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
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

const AFTER_HELP: &str = "\
Exit codes:
  0   the ticket is free now
  1   it is not, or you said no
  64  the command line is wrong, or --force is needed: there is no terminal to
      ask on, or this command runs under the ticket
  66  no request has this ticket
  74  the lock cannot be used
  77  the ticket is not free: you cannot see or signal a process that keeps
      it, since it belongs to somebody else";
