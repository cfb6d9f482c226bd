//! `treelock completions` and `treelock man`, made from the definition of the command line.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{arguments::Arguments, error::Failure, exit};

/// Prints the completions for a shell; returns the exit code.
pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    // Into memory first: the generator panics if a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "treelock", &mut script);
    written(&script)
}

/// Prints the man page, or writes all of them into a directory; returns the exit code.
pub(crate) fn man(into: Option<&Path>) -> Result<u8, Failure> {
    // `treelock help` has no page, so no page may refer to one.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = into else { return written(page(&command).1.as_bytes()) };
    let pages = [&command].into_iter().chain(command.get_subcommands()).map(page);
    let made = fs::create_dir_all(dir);
    let mut all = pages.map(|(name, text)| fs::write(dir.join(name), text));
    made.and_then(|()| all.try_for_each(|result| result)).map_err(|error| {
        Failure::new(exit::CANNOT_LOCK, format_args!("cannot write into {dir:?}: {error}"))
    })?;
    Ok(0)
}

/// Returns the name and the text of a command's page.
fn page(command: &Command) -> (String, String) {
    let source = format!("treelock {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source);
    let mut text = Vec::new();
    man.render(&mut text).expect("memory takes everything");
    let text = String::from_utf8(text).expect("help is text");
    (man.get_filename(), keep_lines(&text))
}

/// Keeps the lines of what `--help` says last: examples and tables, which must not be filled like
/// prose.
fn keep_lines(page: &str) -> String {
    const LAST: &str = "\n.SH EXTRA\n";
    let Some((before, after)) = page.split_once(LAST) else { return page.to_owned() };
    let end = after.find("\n.SH ").unwrap_or(after.len());
    let (lines, rest) = after.split_at(end);
    format!("{before}\n.SH NOTES\n.nf\n{}\n.fi{rest}\n", lines.trim_end())
}

fn written(bytes: &[u8]) -> Result<u8, Failure> {
    let result = io::Write::write_all(&mut io::stdout().lock(), bytes);
    result.map(|()| 0).map_err(|error| Failure::output(&error))
}
