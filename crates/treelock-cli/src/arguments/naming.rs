//! How nodes are named on the command line.

use clap::{ArgAction, Args};

use crate::nodes::Naming;

#[derive(Args)]
pub(crate) struct NamingArguments {
    /// Treat nodes as file paths: make them absolute and resolve links, whether they exist or not
    ///
    /// Without this option a node is a name, the same from every working directory, and `src` is
    /// unrelated to a directory of that name.
    #[arg(long, action = ArgAction::SetTrue)]
    paths: bool,
}

impl NamingArguments {
    pub(crate) fn naming(&self) -> Naming {
        if self.paths { Naming::Paths } else { Naming::Names }
    }
}
