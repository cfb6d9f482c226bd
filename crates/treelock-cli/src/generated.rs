//! Completions and man pages, made from the command line's definition.

use std::{io, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    arguments::Arguments,
    exit::{self, Failure},
};

/// Prints the completions for a shell; returns the exit code.
pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    // Into memory first: the generator panics if a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "treelock", &mut script);
    written(&script)
}

/// Prints the man page, or writes all of them into a directory; returns the exit code.
pub(crate) fn man(dir: Option<&Path>) -> Result<u8, Failure> {
    let command = Arguments::command();
    match dir {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command)
                .render(&mut page)
                .map_err(|error| Failure::output(&error))?;
            written(&page)
        }
        Some(dir) => {
            let made = std::fs::create_dir_all(dir);
            made.and_then(|()| clap_mangen::generate_to(command, dir)).map_err(|error| {
                Failure::new(exit::CANNOT_LOCK, format_args!("cannot write into {dir:?}: {error}"))
            })?;
            Ok(0)
        }
    }
}

fn written(bytes: &[u8]) -> Result<u8, Failure> {
    let result = io::Write::write_all(&mut io::stdout().lock(), bytes);
    result.map(|()| 0).map_err(|error| Failure::output(&error))
}
