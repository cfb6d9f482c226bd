//! One of the other processes of a host, for the benchmark's workload 13. Its first argument is its
//! part.
//!
//! - `pairs LOCK DIRECTORY NUMBER` prints a line, and then reads how many milliseconds to acquire
//!   and release, again and again. After each such time it writes the number of pairs and how many
//!   nanoseconds each took, without what reading the clock takes, as binary `u32`.
//! - `some LOCK DIRECTORY COUNT` acquires and releases so many times, and ends.
//! - `wait LOCK DIRECTORY` prints a line when it is about to make its request. Once it is granted,
//!   it prints how many times it slept while it waited, releases, and ends.
//! - `hold LOCK DIRECTORY FROM TO SECONDS` makes requests with these numbers, prints how many it
//!   holds after at most so many seconds, and holds them until its input ends.
//! - `time-outs LOCK DIRECTORY COUNT` gives up waiting for each of as many that another one holds.
//!   Prints how many threads and KiB that has left.

use std::env;
use std::fs;
use std::io::{BufRead, Read, Write, stdin, stdout};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use treelock::{Request, Wait};
use treelock_bench::host::{Directory, HostLock, NewFlock, OpenFlock, Sqlite, held};
use treelock_dir::DirLock;

/// How long a request waits before it gives up.
const TIMEOUT: Duration = Duration::from_micros(100);

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [part, name, directory, numbers @ ..] = &arguments[..] else {
        panic!("usage: process PART LOCK DIRECTORY NUMBER…")
    };
    let number = |text: &String| text.parse().expect("a number");
    let numbers: Vec<usize> = numbers.iter().map(number).collect();
    let directory = Path::new(directory);
    match &name[..] {
        Directory::NAME => play::<Directory>(part, directory, &numbers),
        OpenFlock::NAME => play::<OpenFlock>(part, directory, &numbers),
        NewFlock::NAME => play::<NewFlock>(part, directory, &numbers),
        Sqlite::NAME => play::<Sqlite>(part, directory, &numbers),
        other => panic!("there is no lock named {other:?}"),
    }
}

fn play<L: HostLock>(part: &str, directory: &Path, numbers: &[usize]) {
    match (part, numbers) {
        ("pairs", &[number]) => pairs(&mut L::open(directory, number)),
        ("some", &[count]) => {
            let mut lock = L::open(directory, 0);
            (0..count).for_each(|_| pair(&mut lock));
        }
        ("wait", []) => wait(&mut L::open(directory, 0)),
        ("hold", &[from, to, seconds]) => hold(directory, from, to, seconds),
        ("time-outs", &[count]) => time_outs(directory, count),
        _ => panic!("there is no part {part:?} with {} numbers", numbers.len()),
    }
}

fn pair<L: HostLock>(lock: &mut L) {
    lock.acquire();
    lock.release();
}

fn pairs<L: HostLock>(lock: &mut L) {
    // The first one creates what is missing.
    pair(lock);
    say("ready");
    let mut times: Vec<u32> = Vec::new();
    for line in stdin().lock().lines() {
        let line = line.expect("an input of lines");
        let slice = Duration::from_millis(line.parse().expect("a number"));
        times.clear();
        let cost = clock_cost();
        let start = Instant::now();
        let mut last = start;
        // The end of one is the beginning of the next, so the clock is read only once for each.
        while last.duration_since(start) < slice {
            pair(lock);
            let now = Instant::now();
            let taken = now.duration_since(last).saturating_sub(cost);
            times.push(taken.as_nanos().try_into().unwrap_or(u32::MAX));
            last = now;
        }
        let mut bytes = (times.len() as u32).to_le_bytes().to_vec();
        bytes.extend(times.iter().flat_map(|time| time.to_le_bytes()));
        let mut out = stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush()).expect("the reader listens");
    }
}

/// Returns what reading the clock takes: the median.
fn clock_cost() -> Duration {
    let reads: Vec<Instant> = (0..1_001).map(|_| Instant::now()).collect();
    let between = reads.windows(2).map(|two| two[1].duration_since(two[0]));
    let mut costs: Vec<Duration> = between.collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

fn wait<L: HostLock>(lock: &mut L) {
    say("asks");
    let before = slept();
    lock.acquire();
    let slept = slept() - before;
    say(&slept.to_string());
    lock.release();
}

fn slept() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).expect("our own usage").voluntary_context_switches()
}

fn hold(directory: &Path, from: usize, to: usize, seconds: usize) {
    // A live ticket may be an open file.
    let enough = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    enough.expect("a process may use what it was given");
    let limit = Duration::from_secs(seconds as u64);
    let lock = DirLock::new(directory.join("locks"));
    let start = Instant::now();
    let mut guards = Vec::new();
    for number in from..to {
        if start.elapsed() > limit {
            break;
        }
        let request = Request::new().write(&*held(number)).expect("the path is valid");
        guards.push(lock.try_acquire(&request).wait().expect("nothing is in the way"));
    }
    say(&guards.len().to_string());
    stdin().read_to_end(&mut Vec::new()).expect("an input");
}

fn time_outs(directory: &Path, count: usize) {
    let lock = DirLock::new(directory.join("locks"));
    let attempt = |number| {
        let request = Request::new().write(&*held(number)).expect("the path is valid");
        let mut acquire = lock.acquire(&request);
        assert!(acquire.wait_timeout(TIMEOUT).is_none(), "it is held");
    };
    attempt(0);
    let before = used();
    (0..count).for_each(attempt);
    // Threads that are ending already are not counted.
    thread::sleep(Duration::from_millis(50));
    let after = used();
    let left = |index: usize| after[index].saturating_sub(before[index]);
    say(&format!("{} {}", left(0), left(1)));
}

/// Returns how many threads this process has, and how many KiB of memory.
fn used() -> [usize; 2] {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    ["Threads:", "VmRSS:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        let value = line.split_whitespace().next().expect("a value");
        value.parse().expect("a number")
    })
}

/// Writes the line at once, so that the lines of all processes stay whole in their shared pipe.
fn say(line: &str) {
    let mut out = stdout().lock();
    let said = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
    said.expect("the reader listens");
}
