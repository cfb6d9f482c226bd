//! Many workers rename, copy, delete, write and read whole folders of real files in a local object
//! store: without locks, under one global lock, and under treelock.
//!
//! Each folder carries a manifest of its files' hashes. A reader that finds a folder and its
//! manifest apart has seen a *torn* folder. The workers keep a ledger of which folders should
//! exist; at the end, a file that should exist and is nowhere is *lost*. `--help` says more.

mod args;
mod check;
mod error;
mod folder;
mod ledger;
mod report;
mod round;
mod scheme;
mod slow;
mod source;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::args::Args;
use crate::error::{Result, sentence};
use crate::report::Report;
use crate::scheme::Kind;
use crate::source::Source;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(report) => {
            match args.json {
                true => println!("{}", report.to_json()),
                false => println!("{report}"),
            }
            if report.is_treelock_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("folders: {}", sentence(&*error));
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<Report> {
    let source = Arc::new(Source::read(&args.directory())?);
    eprintln!("{source}");
    let mut report = Report::new(args, &source);
    for kind in Kind::ALL {
        report.rounds.push(round::run(kind, args, &source).await?);
    }
    Ok(report)
}
