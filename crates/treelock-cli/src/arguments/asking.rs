//! What is requested, and for how long the command waits for it: the options that `run` and `hold`
//! share.

use std::{ffi::OsString, time::Duration};

use clap::Args;
use treelock::Request;

use super::{naming::NamingArguments, values::duration};
use crate::{error::Failure, exit, nodes};

#[derive(Args)]
pub(crate) struct AskArguments {
    /// Sub-tree to lock for writing: no other request reads or writes there; may be repeated
    #[arg(short, long, value_name = "NODE")]
    write: Vec<OsString>,

    /// Sub-tree to lock for reading: others may read there, but none writes; may be repeated
    #[arg(short, long, value_name = "NODE")]
    read: Vec<OsString>,

    #[command(flatten)]
    naming: NamingArguments,

    /// Wait at most this long: seconds, or as in `500ms`, `5m` [default: forever]
    ///
    /// When the time is up, the exit code is that of --conflict-exit-code. If a cluster does not
    /// answer, it takes some seconds longer, and the exit code is 74.
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,

    /// Do not wait at all; the same as `--timeout 0`
    #[arg(long = "try", conflicts_with = "timeout")]
    is_try: bool,

    /// Exit code if the lock is not granted in time
    #[arg(short = 'E', long, value_name = "N", default_value_t = exit::NOT_GRANTED)]
    pub(crate) conflict_exit_code: u8,
}

impl AskArguments {
    /// Returns what is requested, without a label.
    pub(crate) fn request(&self) -> Result<Request, Failure> {
        nodes::request(self.naming.naming(), &self.write, &self.read)
    }

    /// Returns how long to wait; `None` is for ever.
    pub(crate) fn limit(&self) -> Option<Duration> {
        if self.is_try { Some(Duration::ZERO) } else { self.timeout }
    }
}
