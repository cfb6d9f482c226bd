//! How nodes are named on the command line.

use clap::{ArgAction, Args};

use crate::nodes::Naming;

#[derive(Args)]
pub(crate) struct NamingArguments {
    /// Take nodes as file paths: made absolute, links resolved, whether they exist or not
    ///
    /// Without it a node is a name, the same from every working directory, and `src` has nothing to
    /// do with a directory of that name.
    #[arg(long, action = ArgAction::SetTrue)]
    paths: bool,
}

impl NamingArguments {
    pub(crate) fn naming(&self) -> Naming {
        if self.paths { Naming::Paths } else { Naming::Names }
    }
}
