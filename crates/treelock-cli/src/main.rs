//! The command `treelock`: runs a command under read/write locks on whole sub-trees, and shows the
//! locks. This file parses the command line, calls the module of the sub-command, and turns the
//! result into an exit code.

mod announcer;
mod arguments;
mod background;
mod blocker;
mod breaking;
mod child;
mod choice;
mod commands;
mod confirm;
mod error;
mod events;
mod exit;
mod forwarder;
mod json;
mod keeping;
mod kept_process;
mod leave;
mod lock;
mod nested;
mod nodes;
mod output;
mod parent_death;
mod processes;
mod purpose;
mod screen;
mod secrets;
mod statistics;
mod survivor;
mod termination;
mod text;
mod tree;
mod view;
mod wait;
mod waiting_line;
mod waiting_notes;
mod waiting_signals;
mod witness;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::{
    arguments::{Arguments, Command},
    commands::{r#break, doctor, generated, hold, ls, release, run, who},
    error::Failure,
    lock::Lock,
    output::say,
};

fn main() -> ExitCode {
    if parent_death::is_asked() {
        return failed(&parent_death::start());
    }
    if witness::is_asked() {
        witness::be();
        return ExitCode::SUCCESS;
    }
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    match execute(&arguments, &matches) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failed(&failure),
    }
}

/// Prints why something was not done.
fn failed(failure: &Failure) -> ExitCode {
    if !failure.message.is_empty() {
        say(&failure.message);
    }
    ExitCode::from(failure.code)
}

fn execute(arguments: &Arguments, matches: &ArgMatches) -> Result<u8, Failure> {
    let lock = || Lock::open(&choice::address(&arguments.lock, matches)?);
    match &arguments.command {
        Command::Run(run) => run::run(&lock()?, run),
        Command::Hold(hold) => hold::hold(lock, hold),
        Command::Release(release) => release::release(&lock()?, release),
        Command::Ls(ls) => ls::ls(&lock()?, ls),
        Command::Who(who) => who::who(&lock()?, who),
        Command::Break(this) => r#break::break_ticket(&lock()?, this),
        Command::Doctor(doctor) => doctor::doctor(&lock()?, doctor),
        Command::Completions { shell } => generated::completions(*shell),
        Command::Man { into } => generated::man(into.as_deref()),
    }
}

/// Prints clap's message. For clap, help and version are errors too; their exit code is 0.
fn refused(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(exit::USAGE),
        false => printed.map_or_else(|error| Failure::output(&error).code, |()| 0).into(),
    }
}
