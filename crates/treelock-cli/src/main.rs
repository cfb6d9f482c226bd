//! The command `treelock`: runs a command under read/write locks on whole sub-trees, and shows who holds
//! them. This file reads the command line, calls the module of the sub-command, and turns what comes
//! back into an exit code.

mod announcer;
mod arguments;
mod child;
#[cfg(feature = "etcd")]
mod cluster;
mod commands;
mod confirm;
mod engine;
mod error;
mod events;
mod exit;
mod json;
mod nodes;
mod output;
#[cfg(feature = "etcd")]
mod parent_death;
mod processes;
mod screen;
#[cfg(feature = "etcd")]
mod secrets;
mod termination;
mod text;
mod tree;
mod wait;
mod waiting_line;
mod watchdog;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use crate::{
    arguments::{Arguments, Command, OF_A_CLUSTER},
    commands::{r#break, doctor, generated, ls, run, who},
    engine::{Engine, Named, Origin},
    error::Failure,
    output::say,
};

fn main() -> ExitCode {
    #[cfg(feature = "etcd")]
    if parent_death::is_asked() {
        return failed(&parent_death::start());
    }
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    match execute(&arguments, &named(&matches)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failed(&failure),
    }
}

/// Says why something was not done.
fn failed(failure: &Failure) -> ExitCode {
    if !failure.message.is_empty() {
        say(&failure.message);
    }
    ExitCode::from(failure.code)
}

/// Returns which of the options and variables name the lock.
fn named(matches: &ArgMatches) -> Named {
    let origin = |name: &str| match matches.value_source(name) {
        Some(ValueSource::CommandLine) => Some(Origin::Option),
        Some(ValueSource::EnvVariable) => Some(Origin::Environment),
        _ => None,
    };
    let is_option = |name: &&str| origin(name) == Some(Origin::Option);
    Named {
        dir: origin("dir"),
        etcd: origin("etcd"),
        of_a_cluster: OF_A_CLUSTER.into_iter().find(is_option),
    }
}

fn execute(arguments: &Arguments, named: &Named) -> Result<u8, Failure> {
    let engine = || Engine::choose(arguments, named);
    match &arguments.command {
        Command::Run(run) => run::run(&engine()?, run),
        Command::Ls(ls) => ls::ls(&engine()?, ls),
        Command::Who(who) => who::who(&engine()?, who),
        Command::Break(this) => r#break::break_ticket(&engine()?, this),
        Command::Doctor(doctor) => doctor::doctor(&engine()?, doctor),
        Command::Completions { shell } => generated::completions(*shell),
        Command::Man { into } => generated::man(into.as_deref()),
    }
}

/// Prints what clap has to say. To clap, help and the version are errors too; their exit code is 0.
fn refused(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(exit::USAGE),
        false => printed.map_or_else(|error| Failure::output(&error).code, |()| 0).into(),
    }
}
