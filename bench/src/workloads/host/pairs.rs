//! An uncontended pair, by one process and by several, beside many live requests of others.

use std::cell::RefCell;
use std::time::Duration;

use treelock_bench::host::{Directory, HostLock, NewFlock, OpenFlock, Sqlite};

use super::crew::Crew;
use super::place::{Others, Program, too_slow};
use crate::measure::{Bench, median};
use crate::report::{Bound, Report, Table, count, nanoseconds, ratio};

/// How many processes work at the same time.
const CREWS: [usize; 2] = [1, 8];

/// How many requests others hold.
const SIZES: [usize; 7] = [0, 10, 100, 1_000, 5_000, 15_000, 50_000];

/// Beside how many Berkeley DB is measured.
const BERKELEY_SIZES: [usize; 4] = [0, 1_000, 5_000, 50_000];

/// One thing whose pairs are measured: in the tables, a row.
struct Row {
    name: String,
    /// How many requests others hold, if that makes a difference.
    others: Option<usize>,
    p5: f64,
    p50: f64,
    p95: f64,
    /// The medians of the ratios within the rounds.
    vs_none: Option<f64>,
    vs_flock: f64,
}

/// One of the contenders of a comparison, before it is one.
struct Entrant {
    name: &'static str,
    others: Option<usize>,
    crew: Crew,
    /// The contender with which it is compared to show its growth.
    none: Option<usize>,
}

pub(super) fn run(bench: &Bench, report: &mut Report) {
    let mut tables = CREWS.map(new_table);
    match measured(bench, &mut tables) {
        Ok(measured) => {
            for ((crew, rows), table) in CREWS.into_iter().zip(&measured).zip(&mut tables) {
                goals(report, crew, rows);
                rows.iter().for_each(|row| table.row(cells(row)));
            }
        }
        Err(reason) => tables[0].note(format!("Not measured: {reason}")),
    }
    report.tables.extend(tables);
}

fn new_table(crew: usize) -> Table {
    let who = if crew == 1 { "one process".into() } else { format!("{crew} processes at a time") };
    let title = format!("13 One host: an uncontended pair by {who}");
    let header = ["", "others live", "p5", "p50", "p95", "vs. none live", "vs. flock, kept open"];
    Table::new(title, header)
}

fn cells(row: &Row) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    [
        row.name.clone(),
        or_dash(row.others.map(|others| count(others as f64))),
        nanoseconds(row.p5),
        nanoseconds(row.p50),
        nanoseconds(row.p95),
        or_dash(row.vs_none.map(ratio)),
        ratio(row.vs_flock),
    ]
}

/// Measures all sizes, one after another, in places where more and more is held. Returns the rows
/// of each crew.
fn measured(bench: &Bench, tables: &mut [Table; 2]) -> Result<[Vec<Row>; 2], String> {
    let most = bench.pick(usize::MAX, 5_000);
    let programs = [Some(Program::of::<Directory>()?), Program::berkeley()];
    if programs[1].is_none() {
        tables[0].note("Without Berkeley DB, whose program has not been built.");
    }
    let mut rows = [peers(bench, CREWS[0])?, peers(bench, CREWS[1])?];
    let mut after = [Vec::new(), Vec::new()];
    let places = || programs.each_ref().map(|program| program.as_ref().map(Others::none));
    let (none, mut held) = (places(), places());
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let is_wanted = [true, BERKELEY_SIZES.contains(&size)];
        let mut grown = [false; 2];
        for (index, place) in held.iter_mut().enumerate() {
            let Some(place) = place.as_mut().filter(|_| is_wanted[index]) else { continue };
            grown[index] = place.grow(size);
            if !grown[index] {
                tables[0].note(too_slow(place.program().name, size));
            }
        }
        for (index, crew) in CREWS.into_iter().enumerate() {
            let mut entrants = vec![entrant::<OpenFlock>(crew)?];
            for (none, held) in
                none.iter().zip(&held).zip(grown).filter_map(|it| it.1.then_some(it.0))
            {
                let (Some(none), Some(held)) = (none, held) else { continue };
                entrants.extend(pair_of(crew, [none, held], size, entrants.len()));
            }
            for row in compare(bench, crew, entrants) {
                let is_ours = row.name == Directory::NAME;
                let list = if is_ours { &mut rows[index] } else { &mut after[index] };
                list.extend(row.vs_none.is_some().then_some(row));
            }
        }
    }
    rows.iter_mut().zip(after).for_each(|(rows, after)| rows.extend(after));
    Ok(rows)
}

/// Measures the peers that know no other requests.
fn peers(bench: &Bench, crew: usize) -> Result<Vec<Row>, String> {
    let mut entrants = vec![entrant::<OpenFlock>(crew)?];
    entrants.push(entrant::<NewFlock>(crew)?);
    entrants.push(entrant::<Sqlite>(crew)?);
    Ok(compare(bench, crew, entrants))
}

fn entrant<L: HostLock>(crew: usize) -> Result<Entrant, String> {
    let crew = Crew::alone(&Program::of::<L>()?, crew);
    Ok(Entrant { name: L::NAME, others: None, crew, none: None })
}

/// Returns a contender beside nobody, and one beside others.
fn pair_of(crew: usize, places: [&Others; 2], size: usize, first: usize) -> [Entrant; 2] {
    let name = places[0].program().name;
    let [none, held] = places.map(|others| Crew::start(others.program(), others.place(), crew));
    let entrant = |crew, none| Entrant { name, others: Some(size), crew, none };
    [entrant(none, None), entrant(held, Some(first))]
}

/// Lets the entrants take turns. The first one is flock.
fn compare(bench: &Bench, crew: usize, entrants: Vec<Entrant>) -> Vec<Row> {
    let slice = bench.pick(Duration::from_millis(20), Duration::from_millis(6));
    let slice = if crew == 1 { slice } else { 2 * slice };
    let tails: Vec<_> = entrants.iter().map(|_| RefCell::default()).collect();
    let marks: Vec<_> = entrants.iter().map(|entrant| (entrant.others, entrant.none)).collect();
    let contenders = entrants.into_iter().zip(&tails);
    let contenders =
        contenders.map(|(entrant, tails)| entrant.crew.contender(entrant.name, slice, tails));
    let compared = bench.compare(bench.rounds(), contenders.collect());
    let row = |(index, (others, none)): (usize, (Option<usize>, Option<usize>))| {
        let tail = |side: usize| median(tails[index].borrow().iter().map(|it| it[side]).collect());
        Row {
            name: compared.names()[index].clone(),
            others,
            p5: tail(0),
            p50: compared.median(index),
            p95: tail(1),
            vs_none: none.map(|none| compared.ratio(index, none)),
            vs_flock: compared.ratio(index, 0),
        }
    };
    marks.into_iter().enumerate().map(row).collect()
}

fn goals(report: &mut Report, crew: usize, rows: &[Row]) {
    let who = if crew == 1 { "one process".into() } else { format!("{crew} processes") };
    let ours =
        |size| rows.iter().find(|row| row.name == Directory::NAME && row.others == Some(size));
    let berkeley = rows.iter().find(|row| row.name != Directory::NAME && row.others == Some(0));
    if let Some(alone) = ours(0) {
        let name = format!("one host: a pair by {who}, vs. flock on a file kept open");
        report.goal(name, alone.vs_flock, Bound::at_most(5.0, None));
    }
    for (size, bound) in [(5_000, Bound::at_most(1.25, None)), (50_000, Bound::at_most(None, 1.25))]
    {
        if let Some(growth) = ours(size).and_then(|row| row.vs_none) {
            let name = format!("one host: a pair by {who} beside {}, vs. none", count(size as f64));
            report.goal(name, growth, bound);
        }
        if let (Some(row), Some(theirs)) = (ours(size), berkeley) {
            let beside = count(size as f64);
            let name = format!("one host: a pair by {who} beside {beside}, vs. Berkeley DB alone");
            report.goal(name, row.p50 / theirs.p50, Bound::at_most(None, 1.0));
        }
    }
}
