//! Benchmarks of treelock against its peers. `bench/README.md` explains how to read them.

mod measure;
mod plots;
mod report;
mod workloads;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::Bench;
use crate::report::Report;

/// Runs the workloads and prints Markdown tables, with the goals at the end.
#[derive(Parser)]
struct Arguments {
    /// Uses fewer and smaller sizes: for a quick look, not for results.
    #[arg(long)]
    quick: bool,
    /// Runs only these workloads; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(names()))]
    only: Vec<String>,
    /// Writes all tables and goals as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the plots as SVG.
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// How often the contenders take turns; slow workloads use a third of it.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
}

fn names() -> Vec<&'static str> {
    workloads::ALL.iter().map(|workload| workload.name).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let chosen = workloads::ALL.iter().filter(|workload| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == workload.name)
    });
    let chosen: Vec<_> = chosen.collect();
    // Hidden by indicatif if there is no terminal.
    let progress = ProgressBar::new(chosen.len() as u64).with_style(ProgressStyle::with_template(
        "{elapsed_precise} {wide_bar} {pos}/{len} {msg}",
    )?);
    progress.enable_steady_tick(Duration::from_millis(250));
    let bench = Bench::new(arguments.quick, arguments.rounds, progress.clone());
    let mut report = Report::default();
    let start = Instant::now();
    for workload in chosen {
        progress.set_message(workload.title);
        (workload.run)(&bench, &mut report);
        progress.inc(1);
    }
    progress.finish_and_clear();
    for table in report.tables.iter().chain([&report.goal_table()]) {
        println!("{table}");
    }
    println!("{} rounds in {:.0} s.", bench.rounds(), start.elapsed().as_secs_f64());
    if let Some(file) = arguments.json {
        fs::write(file, serde_json::to_string_pretty(&report.json())?)?;
    }
    if let Some(directory) = arguments.svg {
        fs::create_dir_all(&directory)?;
        for plot in &report.plots {
            plots::draw(plot, &directory.join(plot.file))?;
        }
    }
    Ok(())
}
