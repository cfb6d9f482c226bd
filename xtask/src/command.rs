//! Running other programs in the root of the repository.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What went wrong, in words.
pub(crate) type Outcome = Result<(), String>;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the root").to_path_buf()
}

/// Runs cargo with arguments, which are split at spaces.
pub(crate) fn cargo(arguments: &str) -> Outcome {
    command(&format!("cargo {arguments}"), &[])
}

/// Runs a command line in the root of the repository. Its words are split at spaces.
pub(crate) fn command(line: &str, environment: &[(&str, &str)]) -> Outcome {
    let mut words = line.split(' ');
    let program = words.next().expect("a command line has a program");
    execute(Command::new(program).args(words).envs(environment.iter().copied()))
}

/// Runs a command, in the root of the repository unless it names another folder.
pub(crate) fn execute(command: &mut Command) -> Outcome {
    if command.get_current_dir().is_none() {
        command.current_dir(root());
    }
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("$ {line}");
    let status =
        command.status().map_err(|error| format!("`{line}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}
