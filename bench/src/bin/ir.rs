//! Counts the instructions of one acquire and release under callgrind.
//!
//! Instruction counts hardly drift, so they can be a gate where times cannot. The program runs
//! itself under valgrind, which counts only within the function [`iterate`], so anything before
//! that is free. Hashes differ by process, and occasionally two of them fall into one place and
//! cost one more comparison. So a count is the median of several processes.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::{env, io};

use clap::Parser;
use treelock::{Guard, Node, Request, TreeLock};
use treelock_bench::paths;
use treelock_bench::poll::ready;

const ITERATIONS: u64 = 10_000;
/// An odd number, for the median.
const PROCESSES: usize = 5;
/// The allowed instructions by case.
const GATES: &str = include_str!("../../ir-gates.toml");

/// Counts instructions per acquire and release under callgrind.
#[derive(Parser)]
struct Arguments {
    /// Runs only this case; may be repeated.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Compares with bench/ir-gates.toml; fails if a case needs more.
    #[arg(long)]
    check: bool,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs the iterations of one case directly, as under callgrind.
    #[arg(long, value_name = "N", hide = true)]
    iterations: Option<u64>,
}

/// Something to count, repeated a given number of times.
struct Case {
    name: &'static str,
    title: &'static str,
    run: fn(u64),
}

const fn case(name: &'static str, title: &'static str, run: fn(u64)) -> Case {
    Case { name, title, run }
}

/// The number of locks that others hold in some cases.
const HELD: usize = 100_000;

const CASES: [Case; 19] = [
    case("text-1", "write from text, depth 1", |count| text(1, count)),
    case("text-4", "write from text, depth 4", |count| text(4, count)),
    case("text-8", "write from text, depth 8", |count| text(8, count)),
    case("node-4", "write from a Node, depth 4", |count| node(4, count)),
    case("node-8", "write from a Node, depth 8", |count| node(8, count)),
    case("prebuilt-1", "write from a prebuilt request, depth 1", |count| prebuilt(1, count)),
    case("prebuilt-4", "write from a prebuilt request, depth 4", |count| prebuilt(4, count)),
    case("prebuilt-8", "write from a prebuilt request, depth 8", |count| prebuilt(8, count)),
    case("held-4", "as prebuilt-4, with 100,000 others held", |n| beside(HELD, false, n)),
    case("waiting-4", "as prebuilt-4, with 100,000 others waiting", |n| beside(HELD, true, n)),
    case("roots-text", "read one, write another, depth 4, from text", two_roots_text),
    case("roots-prebuilt", "read one, write another, depth 4, prebuilt", two_roots_prebuilt),
    case("parse-1", "only parse a Node, depth 1", |count| parse(1, count)),
    case("parse-4", "only parse a Node, depth 4", |count| parse(4, count)),
    case("parse-8", "only parse a Node, depth 8", |count| parse(8, count)),
    case("limit-hash-4", "limit: split and hash the prefixes, depth 4", |n| bare_hash(4, n)),
    case("limit-hash-8", "limit: split and hash the prefixes, depth 8", |n| bare_hash(8, n)),
    case("limit-mutex-4", "limit: a mutex and 5 known counters, twice", |n| bare_mutex(4, n)),
    case("limit-mutex-8", "limit: a mutex and 9 known counters, twice", |n| bare_mutex(8, n)),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut chosen = Vec::new();
    for name in &arguments.case {
        let known = CASES.iter().find(|case| case.name == name);
        chosen.push(known.ok_or_else(|| format!("no case `{name}`; the cases are {}", names()))?);
    }
    if chosen.is_empty() {
        chosen.extend(&CASES);
    }
    if let Some(iterations) = arguments.iterations {
        (chosen[0].run)(iterations);
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!(
            "cannot count instructions: `valgrind` does not start ({error}); on Debian, \
             `apt-get install valgrind` provides it"
        );
        return Ok(ExitCode::from(2));
    }
    let mut counts = Vec::new();
    for case in chosen {
        counts.push((case, count(case)?));
    }
    if arguments.json {
        let row = |(case, count): &(&Case, u64)| {
            let (name, title) = (case.name, case.title);
            serde_json::json!({"case": name, "title": title, "instructions": count})
        };
        println!("{}", serde_json::Value::from_iter(counts.iter().map(row)));
    } else {
        table(&counts)?;
    }
    let failed = arguments.check && !holds(&counts)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn names() -> String {
    CASES.map(|case| case.name).join(", ")
}

/// Returns the instructions of one iteration.
fn count(case: &Case) -> Result<u64, Box<dyn Error>> {
    let mut counts = Vec::new();
    for _ in 0..PROCESSES {
        counts.push(callgrind(case)?.div_ceil(ITERATIONS));
    }
    counts.sort_unstable();
    Ok(counts[PROCESSES / 2])
}

/// Repeats what is counted. This is the only function that callgrind looks into.
#[inline(never)]
fn iterate(count: u64, mut once: impl FnMut()) {
    for _ in 0..count {
        once();
    }
}

/// Returns all instructions within [`iterate`] in one process.
fn callgrind(case: &Case) -> Result<u64, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--error-exitcode=1", "--toggle-collect=*iterate*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["--case", case.name, "--iterations", &ITERATIONS.to_string()])
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(
            io::Error::other(format!("callgrind failed in case {}: {said}", case.name)).into()
        );
    }
    let counts = fs::read_to_string(file)?;
    let total = counts
        .lines()
        .find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
    let total = total.ok_or("callgrind wrote no summary")?;
    Ok(total.split_whitespace().next().ok_or("callgrind's summary is empty")?.parse()?)
}

fn gates() -> Result<BTreeMap<&'static str, u64>, Box<dyn Error>> {
    let lines = GATES.lines().map(str::trim);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &'static str| {
        let (name, gate) = line.split_once('=').ok_or("a gate must be written `case = count`")?;
        Ok((name.trim(), gate.trim().parse()?))
    };
    entries.map(entry).collect()
}

fn table(counts: &[(&Case, u64)]) -> Result<(), Box<dyn Error>> {
    let gates = gates()?;
    println!("| {:<14} | instructions | gate | {:<44} |", "case", "what");
    println!("| {0:-<14} | {0:->11}: | ---: | {0:-<44} |", "");
    for (case, count) in counts {
        let gate = gates.get(case.name).map_or_else(|| "–".into(), u64::to_string);
        println!("| {:<14} | {count:>12} | {gate:>4} | {:<44} |", case.name, case.title);
    }
    Ok(())
}

/// Returns whether every gate holds, and reports those that do not.
fn holds(counts: &[(&Case, u64)]) -> Result<bool, Box<dyn Error>> {
    let gates = gates()?;
    for name in gates.keys() {
        if !CASES.iter().any(|case| case.name == *name) {
            return Err(format!(
                "ir-gates.toml names `{name}`, which is not a case; the cases are {}",
                names()
            )
            .into());
        }
    }
    let mut all_hold = true;
    for (case, count) in counts {
        if let Some(&gate) = gates.get(case.name).filter(|&gate| count > gate) {
            all_hold = false;
            eprintln!(
                "case {} ({}) needs {count} instructions; the gate in ir-gates.toml is {gate}",
                case.name, case.title
            );
        }
    }
    Ok(all_hold)
}

fn pair(lock: &TreeLock, request: &Request) {
    let guard: Guard = ready(lock.acquire(request));
    drop(black_box(guard));
}

fn write(path: &str) -> Request {
    Request::new().write(path).expect("the path is valid")
}

fn text(depth: usize, count: u64) {
    let (lock, path) = (TreeLock::new(), paths::path(depth, 0));
    iterate(count, || {
        pair(&lock, &write(black_box(&path)));
    });
}

fn node(depth: usize, count: u64) {
    let lock = TreeLock::new();
    let node: Node = paths::path(depth, 0).parse().expect("the path is valid");
    iterate(count, || {
        pair(&lock, &Request::new().write(black_box(&node)).expect("a node is valid"));
    });
}

fn prebuilt(depth: usize, count: u64) {
    let (lock, request) = (TreeLock::new(), write(&paths::path(depth, 0)));
    iterate(count, || {
        pair(&lock, black_box(&request));
    });
}

/// Counts a pair while others hold their own nodes, or all wait for one (C7: it costs them
/// nothing).
fn beside(others: usize, waiting: bool, count: u64) {
    let lock = TreeLock::new();
    let _one = ready(lock.acquire(&write("/other/one")));
    let mut futures = Vec::new();
    let mut guards = Vec::new();
    for i in 0..others {
        if waiting {
            let mut future = Box::pin(lock.acquire(&write("/other/one")));
            let mut context = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut context).is_pending(), "an earlier request holds it");
            futures.push(future);
        } else {
            guards.push(ready(lock.acquire(&write(&paths::below_top("other", 4, i)))));
        }
    }
    let request = write(&paths::path(4, 0));
    iterate(count, || {
        pair(&lock, black_box(&request));
    });
    // The process ends here; handing over to 100,000 waiters would drown what is measured.
    std::mem::forget((guards, futures, lock));
}

fn two_roots(paths: &[String; 2]) -> Request {
    write(&paths[1]).read(&paths[0]).expect("the path is valid")
}

fn two_paths() -> [String; 2] {
    [paths::path(4, 0), paths::below_top("other", 4, 1)]
}

fn two_roots_text(count: u64) {
    let (lock, paths) = (TreeLock::new(), two_paths());
    iterate(count, || {
        pair(&lock, &two_roots(black_box(&paths)));
    });
}

fn two_roots_prebuilt(count: u64) {
    let (lock, request) = (TreeLock::new(), two_roots(&two_paths()));
    iterate(count, || {
        pair(&lock, black_box(&request));
    });
}

fn parse(depth: usize, count: u64) {
    let path = paths::path(depth, 0);
    iterate(count, || {
        drop(black_box(Node::try_from(black_box(path.as_str())).expect("the path is valid")));
    });
}

/// Counts the least that a path costs: find the components and hash each prefix, keeping the
/// hashes.
fn bare_hash(depth: usize, count: u64) {
    let path = paths::path(depth, 0);
    iterate(count, || {
        let (mut hashes, mut level, mut hash) = ([0_u64; 16], 0, 0_u64);
        for &byte in black_box(&path).as_bytes() {
            if byte == b'/' {
                hashes[level] = hash;
                level += 1;
            } else {
                hash = (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x517C_C1B7_2722_0A95);
            }
        }
        hashes[level] = hash;
        black_box(&hashes);
    });
}

/// Counts the least that the state costs: one mutex each way and a counter per node, already found.
fn bare_mutex(depth: usize, count: u64) {
    let counters = Mutex::new(vec![0_u32; depth + 1]);
    let nodes: Vec<usize> = (0..=depth).collect();
    let change = |by: i32| {
        let mut counters = counters.lock().expect("no panic");
        for &node in &nodes {
            counters[node] = counters[node].wrapping_add_signed(by);
        }
    };
    iterate(count, || {
        black_box(change)(1);
        black_box(change)(-1);
    });
}
