//! The hand-off along many waiting processes.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use treelock_bench::host::{Directory, HostLock, OpenFlock, Sqlite};

use super::place::{Program, scratch};
use crate::measure::{Bench, Contender};
use crate::report::{Bound, Report, Table, nanoseconds, ratio};

/// How many processes wait.
const WAITERS: usize = 100;

/// How long waiters that are about to make their requests may need to fall asleep.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures the hand-off. All processes wait; the time runs from the first release until the last
/// has had the lock.
pub(super) fn run(bench: &Bench, report: &mut Report) {
    let title = format!("13 One host: hand-off along {WAITERS} waiting processes");
    let mut table = Table::new(title, ["", "time per hand-off", "vs. flock", "sleeps per waiter"]);
    let slept = [(); 3].map(|()| RefCell::default());
    match contenders(&slept) {
        Err(reason) => table.note(format!("Not measured: {reason}")),
        Ok(contenders) => {
            let compared = bench.compare(bench.few_rounds(), contenders);
            for (index, name) in compared.names().iter().enumerate() {
                let sleeps = slept[index].borrow();
                let mean = sleeps.iter().sum::<f64>() / sleeps.len() as f64;
                let time = nanoseconds(compared.median(index));
                let vs_flock = ratio(compared.ratio(index, 0));
                table.row([name.clone(), time, vs_flock, format!("{mean:.1}")]);
            }
            report.goal(
                format!("one host: hand-off along {WAITERS} waiting processes, vs. flock"),
                compared.ratio(2, 0),
                Bound::at_most(1.3, None),
            );
        }
    }
    report.tables.push(table);
}

fn contenders(slept: &[RefCell<Vec<f64>>; 3]) -> Result<Vec<Contender<'_>>, String> {
    Ok(vec![
        chain::<OpenFlock>(Program::of::<OpenFlock>()?, &slept[0]),
        chain::<Sqlite>(Program::of::<Sqlite>()?, &slept[1]),
        chain::<Directory>(Program::of::<Directory>()?, &slept[2]),
    ])
}

fn chain<L: HostLock>(program: Program, slept: &RefCell<Vec<f64>>) -> Contender<'_> {
    Contender::new(L::NAME, move || {
        let place = scratch();
        let mut lock = L::open(place.path(), 0);
        lock.acquire();
        let (mut lines, waiters) = start(&program, place.path());
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
fn start(program: &Program, place: &Path) -> (BufReader<PipeReader>, Vec<Child>) {
    let (reader, writer) = pipe().expect("two free descriptors");
    let start = |_| {
        let mut command = program.command("wait", place, &[]);
        command.stdout(writer.try_clone().expect("a free descriptor"));
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
