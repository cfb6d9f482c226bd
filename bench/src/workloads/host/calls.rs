//! How many system calls a pair makes, as strace counts them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;
use treelock_bench::host::{Directory, OpenFlock, Sqlite};

use super::place::{Others, Program, scratch, too_slow};
use crate::measure::Bench;
use crate::report::{Report, Table, count};

/// Beside how many requests of others our own pairs are traced.
const OTHERS: usize = 1_000;

/// How many pairs are traced, beyond those that warm up.
const PAIRS: usize = 1_000;

/// How many pairs warm up.
const WARM_UP: usize = 100;

/// How often each call was made.
type Calls = BTreeMap<String, usize>;

pub(super) fn run(_: &Bench, report: &mut Report) {
    let title = "13 One host: system calls of an uncontended pair";
    let mut table = Table::new(title, ["", "others live", "calls", "which"]);
    if let Err(reason) = rows(&mut table) {
        table.note(format!("Not measured: {reason}"));
    }
    report.tables.push(table);
}

fn rows(table: &mut Table) -> Result<(), String> {
    let ours = Program::of::<Directory>()?;
    row(table, &Program::of::<OpenFlock>()?, scratch().path(), None)?;
    row(table, &Program::of::<Sqlite>()?, scratch().path(), None)?;
    if let Some(berkeley) = Program::berkeley() {
        row(table, &berkeley, scratch().path(), Some(0))?;
    }
    row(table, &ours, scratch().path(), Some(0))?;
    match Others::hold(&ours, OTHERS) {
        Some(others) => row(table, &ours, others.place(), Some(OTHERS))?,
        None => table.note(too_slow(ours.name, OTHERS)),
    }
    Ok(())
}

fn row(
    table: &mut Table,
    program: &Program,
    place: &Path,
    others: Option<usize>,
) -> Result<(), String> {
    let short = calls(program, place, WARM_UP)?;
    let long = calls(program, place, WARM_UP + PAIRS)?;
    let per_pair = |(name, all): (&String, &usize)| {
        let more = all.saturating_sub(short.get(name).copied().unwrap_or_default());
        (name.clone(), more as f64 / PAIRS as f64)
    };
    let made: Vec<(String, f64)> = long.iter().map(per_pair).collect();
    let sum: f64 = made.iter().map(|(_, calls)| calls).sum();
    // What is made less often than in every hundredth pair belongs to something else.
    let often = made.iter().filter(|(_, calls)| *calls >= 0.01);
    let names: Vec<String> = often.map(|(name, calls)| format!("{name} {calls:.3}")).collect();
    let others = others.map_or_else(|| "–".into(), |others| count(others as f64));
    table.row([program.name.into(), others, format!("{sum:.2}"), names.join(", ")]);
    Ok(())
}

/// Returns the calls that a process makes for so many pairs, its start and its end included.
fn calls(program: &Program, place: &Path, pairs: usize) -> Result<Calls, String> {
    let file = NamedTempFile::new().map_err(|error| format!("no file for strace: {error}"))?;
    let wrap = ["strace", "-f", "-c", "-o"].map(OsStr::new);
    let wrap: Vec<&OsStr> = wrap.into_iter().chain([file.path().as_os_str()]).collect();
    let mut command: Command = program.wrapped(&wrap, "some", place, &[pairs]);
    let output = command.output().map_err(|error| format!("cannot start `strace`: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("`strace` failed: {said}"));
    }
    let text = std::fs::read_to_string(file.path());
    Ok(parse(&text.map_err(|error| format!("what strace wrote cannot be read: {error}"))?))
}

/// Reads strace's summary: lines whose fourth word is a number of calls, and whose last is a name.
fn parse(summary: &str) -> Calls {
    let line = |line: &str| -> Option<(String, usize)> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = *words.last()?;
        Some((name.into(), words.get(3)?.parse().ok()?)).filter(|(name, _)| name != "total")
    };
    summary.lines().filter_map(line).collect()
}
