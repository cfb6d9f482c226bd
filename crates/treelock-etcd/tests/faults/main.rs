//! The faults that the cluster's lock has to survive: real clusters, real processes as clients, a
//! fenced resource, and a history that is checked against the contract. See FAULTS.md beside this
//! crate's README.
//!
//! `cargo test -p treelock-etcd --test faults` does a few of each; `cargo xtask faults --long` does
//! many.

mod answers;
mod client;
mod cluster;
mod history;
mod ledger;
mod load;
mod loads;
mod loss;
mod net;
mod plan;
mod report;
mod rows;
mod troubles;
mod wire;

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
};

use crate::{plan::Plan, report::Line};

/// How many runs go on at once. They mostly wait.
const RUNS_AT_ONCE: u32 = 3;

/// How often the run says how far it is, if there is no bar.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Does to a cluster what clusters suffer, and checks whether the lock keeps its contract
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    client: Option<Role>,
    /// Run the long column of the table, which takes hours
    #[arg(long)]
    long: bool,
    /// Run only the rows whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Run this many faults of each row (or sections, or calls whose answer is lost), whatever the
    /// table says
    #[arg(long)]
    count: Option<u64>,
    /// Repeat the requests and faults of an earlier run; how processes interleave differs each time
    #[arg(long)]
    seed: Option<u64>,
    /// List the rows
    #[arg(long)]
    list: bool,
    /// The same as --only, so that `cargo test NAME` works
    #[arg(hide = true)]
    filter: Option<String>,
    // What `cargo test` may be given for all test programs.
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<u64>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

#[derive(Subcommand)]
enum Role {
    /// Be one of the processes that use the lock
    #[command(hide = true)]
    Client(client::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Role::Client(told)) = &arguments.client {
        client::run(told);
        return ExitCode::SUCCESS;
    }
    if arguments.list {
        rows::table().iter().for_each(|row| println!("{}: test", row.name));
        return ExitCode::SUCCESS;
    }
    if arguments.ignored {
        return ExitCode::SUCCESS;
    }
    if !cluster::is_there() {
        println!("SKIPPED: there is no `etcd` in the PATH; on Debian: apt-get install etcd-server");
        return ExitCode::SUCCESS;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let lines = runtime.expect("threads").block_on(LocalSet::new().run_until(run_all(&arguments)));
    if lines.iter().any(|line| !line.wrong.is_empty()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A bar on a terminal; elsewhere a line from time to time.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    done: Arc<AtomicU64>,
}

impl Progress {
    fn new(total: u64) -> Progress {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(total),
            false => ProgressBar::hidden(),
        };
        let style =
            "{bar:40} {percent} % of {len} faults and sections, {elapsed}, about {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("a template"));
        bar.enable_steady_tick(Duration::from_secs(1));
        let done = Arc::new(AtomicU64::new(0));
        if bar.is_hidden() {
            let (done, start) = (done.clone(), Instant::now());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(REPORT_INTERVAL).await;
                    let (done, seconds) = (done.load(Ordering::Relaxed), start.elapsed().as_secs());
                    println!("… {done} of {total} faults and sections after {seconds} s");
                }
            });
        }
        Progress { bar, done }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}

async fn run_all(arguments: &Arguments) -> Vec<Line> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let wanted = arguments.only.as_ref().or(arguments.filter.as_ref());
    let mut rows = rows::table();
    rows.retain(|row| wanted.is_none_or(|wanted| row.name.contains(wanted.as_str())));
    rows.retain(|row| !arguments.skip.iter().any(|skip| row.name.contains(skip.as_str())));
    let count = |row: &rows::Row| {
        arguments.count.unwrap_or(if arguments.long { row.long } else { row.short })
    };
    if rows.is_empty() {
        return Vec::new();
    }
    let progress = Progress::new(rows.iter().map(count).sum());
    progress.say(&format!("faults: seed {seed}"));
    let slots = Arc::new(Semaphore::new(RUNS_AT_ONCE as usize));
    let mut runs = JoinSet::new();
    let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &rows {
        let all = count(row);
        for first in (0..all).step_by(row.batch as usize) {
            *parts.entry(row.name).or_default() += 1;
            let tick = progress.clone();
            let plan = Plan {
                name: row.name,
                first,
                count: row.batch.min(all - first),
                seed: seed + first,
                tick: Arc::new(move |more| {
                    tick.done.fetch_add(more, Ordering::Relaxed);
                    tick.bar.inc(more);
                }),
            };
            let slot = slots.clone().acquire_many_owned(row.weight);
            let run = row.run;
            let name = row.name;
            runs.spawn_local(async move {
                let _slot = slot.await.expect("nobody closes it");
                let line = run(plan).await;
                (name, line)
            });
        }
    }
    let start = Instant::now();
    let mut lines: BTreeMap<&str, Line> = BTreeMap::new();
    while let Some(ended) = runs.join_next().await {
        let (name, line) = ended.expect("a run does not panic");
        let left = parts.get_mut(name).expect("each has a part");
        *left -= 1;
        if *left > 0 && !line.wrong.is_empty() {
            progress.say(&format!("a part of {line}"));
        }
        let line = match lines.remove(name) {
            Some(before) => before.with(line),
            None => line,
        };
        if *left == 0 {
            progress.say(&line.to_string());
        }
        lines.insert(name, line);
    }
    let failed = lines.values().filter(|line| !line.wrong.is_empty()).count();
    progress.bar.finish_and_clear();
    let seconds = start.elapsed().as_secs();
    progress
        .say(&format!("faults: {} rows, {failed} failed, {seconds} s, seed {seed}", lines.len()));
    lines.into_values().collect()
}
