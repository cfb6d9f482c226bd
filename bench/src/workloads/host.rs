//! Workload 13: processes of one host, without a server.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use treelock_bench::host::{Directory, HostLock, NewFlock, OpenFlock, Sqlite};
use treelock_dir::Guard;

use super::place::{hold, scratch};
use super::{cliffs, sibling};
use crate::measure::{Bench, Comparison, Contender};
use crate::report::{Bound, Report, Table, count, nanoseconds, ratio};

/// How many processes wait in the hand-off.
const WAITERS: usize = 100;

/// How long waiters that are about to make their requests may need to fall asleep.
const SETTLE: Duration = Duration::from_millis(300);

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    pairs(bench, report);
    hand_off(bench, report);
    cliffs::run(bench, report);
}

/// Measures an uncontended pair, with other tickets live.
fn pairs(bench: &Bench, report: &mut Report) {
    let sizes = [0, 10, 100, 1_000];
    // A live ticket is an open file.
    let enough = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    enough.expect("a process may use what it was given");
    let places = sizes.map(|_| scratch());
    let held: Vec<Vec<Guard>> =
        places.iter().zip(sizes).map(|(place, size)| hold(place.path(), size)).collect();
    let mut contenders = vec![
        pair::<OpenFlock>(bench, places[0].path()),
        pair::<NewFlock>(bench, places[0].path()),
        pair::<Sqlite>(bench, places[0].path()),
    ];
    for (place, size) in places.iter().zip(sizes) {
        let name = format!("{}, {} others live", Directory::NAME, count(size as f64));
        contenders.push(pair::<Directory>(bench, place.path()).named(name));
    }
    let compared = bench.compare(bench.rounds(), contenders);
    drop(held);
    report.goal(
        "one host: a pair, vs. flock on a file kept open",
        compared.ratio(3, 0),
        Bound::at_most(10.0, None),
    );
    report.tables.push(table(&compared));
}

fn pair<'a, L: HostLock + 'a>(bench: &Bench, directory: &Path) -> Contender<'a> {
    let mut lock = L::open(directory);
    bench.timed(L::NAME, move |count| {
        for _ in 0..count {
            lock.acquire();
            lock.release();
        }
    })
}

fn table(compared: &Comparison) -> Table {
    let title = "13 One host: an uncontended pair, on the file system of temporary files";
    let mut table = Table::new(title, ["", "time", "vs. flock, kept open", "vs. SQLite"]);
    for (index, name) in compared.names().iter().enumerate() {
        let ratios = [0, 2].map(|below| ratio(compared.ratio(index, below)));
        let time = nanoseconds(compared.median(index));
        table.row([name.clone(), time].into_iter().chain(ratios));
    }
    table
}

/// Measures the hand-off. All processes wait; the time runs from the first release until the last
/// has had the lock.
fn hand_off(bench: &Bench, report: &mut Report) {
    let title = format!("13 One host: hand-off along {WAITERS} waiting processes");
    let mut table = Table::new(title, ["", "time per hand-off", "sleeps per waiter"]);
    match sibling::binary("waiter") {
        Err(reason) => table.note(format!("Not measured: {reason}")),
        Ok(waiter) => {
            let slept = [(); 3].map(|()| RefCell::default());
            let contenders = vec![
                chain::<OpenFlock>(&waiter, &slept[0]),
                chain::<Sqlite>(&waiter, &slept[1]),
                chain::<Directory>(&waiter, &slept[2]),
            ];
            let compared = bench.compare(bench.few_rounds(), contenders);
            for (index, name) in compared.names().iter().enumerate() {
                let sleeps = slept[index].borrow();
                let mean = sleeps.iter().sum::<f64>() / sleeps.len() as f64;
                let time = nanoseconds(compared.median(index));
                table.row([name.clone(), time, format!("{mean:.1}")]);
            }
            table.note(
                "A waiter that the release before its own wakes, and no other, sleeps once in each \
                 of its threads that wait: flock's has one, treelock-dir's two.",
            );
        }
    }
    report.tables.push(table);
}

fn chain<'a, L: HostLock + 'a>(waiter: &'a Path, slept: &'a RefCell<Vec<f64>>) -> Contender<'a> {
    Contender::new(L::NAME, move || {
        let place = scratch();
        let mut lock = L::open(place.path());
        lock.acquire();
        let (mut lines, waiters) = start::<L>(waiter, place.path());
        thread::sleep(SETTLE);
        let start = Instant::now();
        lock.release();
        let numbers = read(&mut lines);
        let time = start.elapsed().as_nanos() as f64 / WAITERS as f64;
        for mut waiter in waiters {
            assert!(waiter.wait().is_ok_and(|status| status.success()), "a waiter failed");
        }
        let number = |line: &String| line.trim().parse::<f64>().expect("a number of sleeps");
        slept.borrow_mut().extend(numbers.iter().map(number));
        time
    })
}

/// Starts the waiters. Returns when all are about to make their requests.
fn start<L: HostLock>(waiter: &Path, place: &Path) -> (BufReader<PipeReader>, Vec<Child>) {
    let (reader, writer) = pipe().expect("two free descriptors");
    let start = |_| {
        let mut command = Command::new(waiter);
        command.arg(L::NAME).arg(place).stdout(writer.try_clone().expect("a free descriptor"));
        command.spawn().expect("it was just built")
    };
    let waiters = (0..WAITERS).map(start).collect();
    drop(writer);
    let mut lines = BufReader::new(reader);
    assert!(read(&mut lines).iter().all(|line| line == "asks\n"), "a waiter is out of step");
    (lines, waiters)
}

/// Returns one line of each waiter.
fn read(lines: &mut BufReader<PipeReader>) -> Vec<String> {
    let mut line = || {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a pipe");
        line
    };
    (0..WAITERS).map(|_| line()).collect()
}
