//! Workload 13, continued: situations in which the cost of a lock between processes could leap.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use treelock::{Request, Wait};
use treelock_dir::{DirLock, Guard};

use super::place::{hold, scratch};
use crate::measure::{Bench, Contender};
use crate::report::{Report, Table, nanoseconds};

/// How many roots each of two large requests has.
const ROOTS: usize = 5_000;

/// How long a request waits before it gives up.
const TIMEOUT: Duration = Duration::from_micros(100);

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let sizes = bench.pick([0, 1_000, 5_000], [0, 100, 1_000]);
    let places = sizes.map(|_| scratch());
    let held: Vec<Vec<Guard>> =
        places.iter().zip(sizes).map(|(place, size)| hold(place.path(), size)).collect();
    let mut contenders = vec![many_roots(bench, false), many_roots(bench, true)];
    for (place, size) in places.iter().zip(sizes) {
        contenders.push(look(bench, place).named(format!("blocked, {size} others live")));
        contenders.push(time_out(place).named(format!("time-out, {size} others live")));
        let name = format!("a pair by a new handle, {size} others live");
        contenders.push(new_handle(bench, place).named(name));
    }
    let compared = bench.compare(bench.few_rounds(), contenders);
    drop(held);
    let title = "13 One host: what could make the cost leap";
    let mut table = Table::new(title, ["", "time"]);
    for (index, name) in compared.names().iter().enumerate() {
        table.row([name.clone(), nanoseconds(compared.median(index))]);
    }
    table.note(threads(bench.pick(500, 100)));
    report.tables.push(table);
}

fn siblings(above: &str, count: usize) -> Request {
    let node = |index| format!("/{above}/dir01/dir02/leaf{index}");
    Request::new().writes((0..count).map(node)).expect("the paths are valid")
}

/// Requests many roots while a request with as many others is live.
fn many_roots<'a>(bench: &Bench, conflict: bool) -> Contender<'a> {
    let place = scratch();
    let lock = DirLock::new(place.path().join("locks"));
    let guard = lock.try_acquire(&siblings("held", ROOTS)).wait().expect("a new table");
    let request = siblings("wanted", ROOTS);
    let request = match conflict {
        true => request.write(format!("/held/dir01/dir02/leaf{}", ROOTS - 1).as_str()),
        false => Ok(request),
    };
    let request = request.expect("the path is valid");
    let what = if conflict { "refused" } else { "granted" };
    let name = format!("{ROOTS} roots beside {ROOTS} others, {what}");
    bench.timed(name, move |count| {
        // They move in with the lock.
        let (_place, _guard): (&TempDir, &Guard) = (&place, &guard);
        for _ in 0..count {
            assert_eq!(lock.try_acquire(&request).wait().is_err(), conflict);
        }
    })
}

/// Asks who would be in the way of a request that nobody is in the way of.
fn look<'a>(bench: &Bench, place: &TempDir) -> Contender<'a> {
    let lock = DirLock::new(place.path().join("locks"));
    let request = siblings("wanted", 1);
    bench.timed("look", move |count| {
        for _ in 0..count {
            assert!(lock.blocked(&request).wait().expect("a table").is_none());
        }
    })
}

/// Waits for one holder for a short time, gives up, and is told who is in the way. The sample is
/// the time beyond the limit.
fn time_out<'a>(place: &TempDir) -> Contender<'a> {
    let lock = DirLock::new(place.path().join("locks"));
    let request = siblings("waited", 1);
    Contender::new("time-out", move || {
        let guard = lock.try_acquire(&request).wait().expect("nobody is in the way");
        let start = Instant::now();
        let mut acquire = lock.acquire(&request);
        assert!(acquire.wait_timeout(TIMEOUT).is_none(), "it is held");
        assert!(acquire.give_up().wait().is_err(), "it is held");
        let time = start.elapsed().saturating_sub(TIMEOUT).as_nanos() as f64;
        drop(guard);
        time
    })
}

/// Acquires and releases by a handle that is used for nothing else, as a command does. It leaves a
/// cell in the table that nobody has freed, and that is in nobody's way.
fn new_handle<'a>(bench: &Bench, place: &TempDir) -> Contender<'a> {
    let path = place.path().join("locks");
    let mut node = 0;
    bench.timed("new handle", move |count| {
        for _ in 0..count {
            node += 1;
            let request = Request::new().write(format!("/new/dir01/dir02/leaf{node}").as_str());
            let request = request.expect("the path is valid");
            drop(DirLock::new(&path).try_acquire(&request).wait().expect("nobody is in the way"));
        }
    })
}

/// Times out behind many tickets of another handle. Says how many threads are left.
fn threads(count: usize) -> String {
    let threads = || fs::read_dir("/proc/self/task").expect("/proc").count();
    let place = scratch();
    let held = hold(place.path(), count);
    let lock = DirLock::new(place.path().join("locks"));
    // Threads that are ending already are not counted.
    thread::sleep(10 * TIMEOUT);
    let before = threads();
    for guard in &held {
        let mut acquire = lock.acquire(guard.request());
        assert!(acquire.wait_timeout(TIMEOUT).is_none(), "it is held");
    }
    let left = threads().saturating_sub(before);
    format!("{count} time-outs behind as many tickets of another handle left {left} threads.")
}
