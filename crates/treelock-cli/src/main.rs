//! The command `treelock`: runs a command under read/write locks on whole sub-trees, and shows who holds
//! them. This file reads the command line, hands it to the module of the sub-command, and turns what comes
//! back into an exit code.

mod arguments;
mod aside;
#[cfg(feature = "etcd")]
mod bound;
mod breaking;
#[cfg(feature = "etcd")]
mod cluster;
mod doctor;
mod engine;
mod events;
mod exit;
mod generated;
mod json;
mod listing;
mod nodes;
mod processes;
mod run;
mod screen;
mod text;
mod tree;
mod wait;
mod who;

use std::{io::Write as _, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use crate::{
    arguments::{Arguments, Command, OF_A_CLUSTER},
    engine::{Engine, Named, Origin},
    exit::Failure,
};

fn main() -> ExitCode {
    #[cfg(feature = "etcd")]
    if bound::is_asked() {
        return said(&bound::start());
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
        Err(failure) => said(&failure),
    }
}

/// Says why something was not done.
fn said(failure: &Failure) -> ExitCode {
    if !failure.message.is_empty() {
        say(&failure.message);
    }
    ExitCode::from(failure.code)
}

/// Who named what.
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
        Command::Ls(ls) => listing::ls(&engine()?, ls),
        Command::Who(who) => who::who(&engine()?, who),
        Command::Break(this) => breaking::break_ticket(&engine()?, this),
        Command::Doctor(doctor) => doctor::doctor(&engine()?, doctor),
        Command::Completions { shell } => generated::completions(*shell),
        Command::Man { into } => generated::man(into.as_deref()),
    }
}

/// Prints what clap has to say. It calls help and the version errors too, and those are none.
fn refused(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.use_stderr() {
        true => ExitCode::from(exit::USAGE),
        false => printed.map_or_else(|error| Failure::output(&error).code, |()| 0).into(),
    }
}

/// Says something to the person in front of it. Nobody may be there any more, which is no reason to fail.
fn say(sentence: &str) {
    let _ = writeln!(anstream::stderr(), "treelock: {sentence}");
}
