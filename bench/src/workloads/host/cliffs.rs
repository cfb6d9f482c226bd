//! Situations in which the cost of a lock between processes could leap: cells of the dead, requests
//! with many roots, looking at many requests, and what time-outs leave.

use std::cell::RefCell;
use std::iter;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use treelock::{Request, Wait};
use treelock_bench::host::{Directory, held};
use treelock_dir::{DirLock, Guard};

use super::crew::Crew;
use super::place::{Others, Process, Program, scratch, too_slow};
use crate::measure::{Bench, Contender, median, time};
use crate::report::{Report, Table, count, nanoseconds, ratio};

/// How many processes time out before pairs are measured beside the dead.
const TIMED_OUT: usize = 24;

/// How many pairs are measured after others have died.
const FIRST_PAIRS: usize = 100;

/// The header of the table of pairs beside the dead.
const DEAD: [&str; 4] = ["", "median of 100", "longest of 100", "vs. nobody dead"];

/// Adds the rows of one table.
type Part = fn(&Bench, &Program, &mut Table);

pub(super) fn run(bench: &Bench, report: &mut Report) {
    let parts: [(&str, &[&str], Part); 4] = [
        ("a pair where others have died", &DEAD, dead),
        ("requests with many roots", &["", "time", "longest unrelated pair meanwhile"], roots),
        ("looking at many live requests", &["", "time"], looking),
        ("what time-outs leave in a process", &["", "threads", "KiB"], time_outs),
    ];
    let ours = Program::of::<Directory>();
    for (title, header, part) in parts {
        let header = header.iter().copied();
        let mut table = Table::new(format!("13 One host: {title}"), header);
        match &ours {
            Ok(ours) => part(bench, ours, &mut table),
            Err(reason) => table.note(format!("Not measured: {reason}")),
        }
        report.tables.push(table);
    }
}

/// Lets the contenders take turns and adds a row for each.
fn times(bench: &Bench, table: &mut Table, contenders: Vec<Contender<'_>>) {
    let compared = bench.compare(bench.few_rounds(), contenders);
    for (index, name) in compared.names().iter().enumerate() {
        table.row([name.clone(), nanoseconds(compared.median(index))]);
    }
}

/// Measures the first pairs after processes have died that held a quarter as many requests as are
/// live, and others that had timed out.
fn dead(bench: &Bench, ours: &Program, table: &mut Table) {
    for size in bench.pick(&[1_000, 5_000][..], &[1_000]) {
        let [fresh, worn] = [(); 2].map(|()| Others::hold(ours, *size));
        let (Some(fresh), Some(worn)) = (fresh, worn) else {
            table.note(too_slow(ours.name, *size));
            continue;
        };
        let live = format!("{} others live", count(*size as f64));
        let longest = [(); 4].map(|()| RefCell::default());
        let cases = [(&fresh, false), (&fresh, true), (&worn, false), (&worn, true)];
        let contenders = cases.into_iter().zip(&longest).map(|((others, is_new), longest)| {
            let deaths = if std::ptr::eq(others, &worn) { size / 4 } else { 0 };
            let handle = if is_new { "a pair by a new handle" } else { "a pair" };
            let dead = if deaths > 0 { ", some dead" } else { "" };
            first_pairs(others, is_new, deaths, longest).named(format!("{handle}, {live}{dead}"))
        });
        let compared = bench.compare(bench.few_rounds(), contenders.collect());
        for (index, name) in compared.names().iter().enumerate() {
            let longest = nanoseconds(median(longest[index].take()));
            let growth = ratio(compared.ratio(index, index % 2));
            table.row([name.clone(), nanoseconds(compared.median(index)), longest, growth]);
        }
    }
}

/// Returns a contender whose sample is the median time of the first pairs after others have died. A
/// new handle is used for nothing else, as a command's is: it leaves a cell in the table that
/// nobody has freed, and that is in nobody's way.
fn first_pairs<'a>(
    others: &'a Others,
    is_new: bool,
    deaths: usize,
    longest: &'a RefCell<Vec<f64>>,
) -> Contender<'a> {
    let path = others.place().join("locks");
    let mut lock = DirLock::new(&path);
    let mut node = 0;
    Contender::new("pairs", move || {
        if deaths > 0 {
            others.die(deaths);
            (0..TIMED_OUT).for_each(|_| others.time_out());
        }
        let pair = || {
            node += 1;
            let request = Request::new().write(format!("/new/dir01/dir02/leaf{node}").as_str());
            let request = request.expect("the path is valid");
            time(|| {
                if is_new {
                    lock = DirLock::new(&path);
                }
                drop(lock.try_acquire(&request).wait().expect("nobody is in the way"));
            })
        };
        let pairs = iter::repeat_with(pair).take(FIRST_PAIRS);
        let times: Vec<f64> = pairs.map(|time| time.as_nanos() as f64).collect();
        longest.borrow_mut().push(times.iter().copied().fold(0.0, f64::max));
        median(times)
    })
}

/// Measures requests with many roots while a request with as many others is live.
fn roots(bench: &Bench, ours: &Program, table: &mut Table) {
    let sizes = bench.pick(&[5_000, 20_000][..], &[5_000]);
    let cases = || sizes.iter().flat_map(|size| [(*size, false), (*size, true)]);
    let longest: Vec<RefCell<Vec<f64>>> = cases().map(|_| RefCell::default()).collect();
    let contenders = cases().zip(&longest);
    let contenders = contenders
        .map(|((size, is_refused), longest)| many_roots(ours, size, is_refused, longest))
        .collect();
    let compared = bench.compare(bench.few_rounds(), contenders);
    for (index, name) in compared.names().iter().enumerate() {
        let longest = median(longest[index].take());
        table.row([name.clone(), nanoseconds(compared.median(index)), nanoseconds(longest)]);
    }
}

fn siblings(above: &str, count: usize) -> Request {
    let node = |index| format!("/{above}/dir01/dir02/leaf{index}");
    Request::new().writes((0..count).map(node)).expect("the paths are valid")
}

fn many_roots<'a>(
    ours: &Program,
    size: usize,
    is_refused: bool,
    longest: &'a RefCell<Vec<f64>>,
) -> Contender<'a> {
    let place = scratch();
    let lock = DirLock::new(place.path().join("locks"));
    let guard = lock.try_acquire(&siblings("held", size)).wait().expect("a new table");
    let request = siblings("wanted", size);
    let request = match is_refused {
        true => request.write(&*held(size - 1)),
        false => Ok(request),
    };
    let request = request.expect("the path is valid");
    let mut unrelated = Crew::start(ours, place.path(), 1);
    let what = if is_refused { "refused" } else { "granted" };
    let size = count(size as f64);
    Contender::new(format!("{size} roots beside {size} others, {what}"), move || {
        // They move in with the lock.
        let (_place, _guard): (&TempDir, &Guard) = (&place, &guard);
        let attempt = || {
            assert_eq!(lock.try_acquire(&request).wait().is_err(), is_refused);
        };
        let alone = time(attempt);
        unrelated.begin(2 * alone + Duration::from_millis(10));
        // Attempts that begin while the unrelated pairs go on.
        thread::sleep(Duration::from_millis(2));
        (0..2).for_each(|_| attempt());
        longest.borrow_mut().push(unrelated.longest());
        alone.as_nanos() as f64
    })
}

/// Measures what `who`, `ls`, `break` and `doctor` do.
fn looking(bench: &Bench, ours: &Program, table: &mut Table) {
    let mut others = Others::none(ours);
    for size in bench.pick(&[1_000, 5_000, 20_000][..], &[1_000]) {
        if !others.grow(*size) {
            table.note(too_slow(ours.name, *size));
            return;
        }
        let beside = format!("{} others live", count(*size as f64));
        let path = others.place().join("locks");
        let lock = move || DirLock::new(&path);
        let (free, taken) = (siblings("wanted", 1), siblings("held", 1));
        let ticket = lock().blocked(&taken).wait().expect("a table").expect("it is held").ticket;
        let contender = |what: &str, mut look: Box<dyn FnMut()>| {
            bench.timed(format!("{what}, {beside}"), move |count| (0..count).for_each(|_| look()))
        };
        let [nobody, somebody, all, healthy, holders] = [(); 5].map(|()| lock());
        let contenders = vec![
            contender(
                "who: nobody in the way",
                Box::new(move || {
                    assert!(nobody.blocked(&free).wait().expect("a table").is_none());
                }),
            ),
            contender(
                "who: one in the way",
                Box::new(move || {
                    assert!(somebody.blocked(&taken).wait().expect("a table").is_some());
                }),
            ),
            contender(
                "ls: a snapshot",
                Box::new(move || {
                    assert!(!all.snapshot().wait().expect("a table").entries.is_empty());
                }),
            ),
            contender(
                "doctor: a check",
                Box::new(move || {
                    assert!(!healthy.check().wait().expect("a table").is_empty());
                }),
            ),
            contender(
                "break: the processes of a ticket",
                Box::new(move || {
                    assert!(!holders.processes(ticket).expect("a table").is_empty());
                }),
            ),
        ];
        times(bench, table, contenders);
    }
}

/// Times out behind many tickets of others.
fn time_outs(bench: &Bench, ours: &Program, table: &mut Table) {
    for size in bench.pick(&[500, 2_000][..], &[500]) {
        let Some(others) = Others::hold(ours, *size) else {
            table.note(too_slow(ours.name, *size));
            continue;
        };
        let (_process, line) = Process::start(ours.command("time-outs", others.place(), &[*size]));
        let (threads, memory) = line.split_once(' ').expect("two numbers");
        let name = format!("{} time-outs, each behind another ticket", count(*size as f64));
        table.row([name, threads.into(), memory.into()]);
    }
}
