//! The command `treelock`: runs a command under read/write locks on whole sub-trees, and shows who holds
//! them. This file reads the command line, hands it to the module of the sub-command, and turns what comes
//! back into an exit code.

mod arguments;
mod breaking;
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

use clap::{CommandFactory as _, FromArgMatches as _, parser::ValueSource};

use crate::{
    arguments::{Arguments, Command},
    engine::{Engine, Origin},
    exit::Failure,
};

fn main() -> ExitCode {
    let matches = match Arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return refused(&error),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    let origin = match matches.value_source("dir") {
        Some(ValueSource::EnvVariable) => Origin::Environment,
        _ => Origin::Option,
    };
    match execute(arguments, origin) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message.is_empty() {
                say(&failure.message);
            }
            ExitCode::from(failure.code)
        }
    }
}

fn execute(arguments: Arguments, origin: Origin) -> Result<u8, Failure> {
    let engine = || Engine::choose(arguments.dir.as_deref(), origin);
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
