//! What a plain lock lacks: readers that share. Also, a guard that is only dropped.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use treelock_etcd::EtcdLock;

use super::client::{CROWD, Client, LockApi, Place, clients};
use super::contended::quantile;
use super::pair::places;
use super::server::{Cluster, RUNTIME};
use super::tally::{HEADER, NOTE, Tally};
use crate::measure::{Bench, Contender};
use crate::report::{Report, Table, count, nanoseconds, ratio};

/// How long each holder stays inside.
const INSIDE: Duration = Duration::from_millis(5);

/// How long the writer stays away.
const AWAY: Duration = Duration::from_millis(100);

pub(super) fn run(bench: &Bench, report: &mut Report, cluster: &Cluster) {
    report.tables.push(readers(bench, cluster));
    report.tables.push(dropped(bench, cluster));
}

/// What was recorded for one contender.
#[derive(Default)]
struct Seen {
    tally: Tally,
    /// How long the writer waited each time, in nanoseconds.
    waits: RefCell<Vec<f64>>,
}

fn readers(bench: &Bench, cluster: &Cluster) -> Table {
    let seen = [(); 3].map(|()| Seen::default());
    let contenders = vec![
        share::<LockApi>(bench, cluster, &seen[0], false).named("etcd, exclusive"),
        share::<EtcdLock>(bench, cluster, &seen[1], false).named("readers alone"),
        share::<EtcdLock>(bench, cluster, &seen[2], true).named("with a writer"),
    ];
    let compared = bench.compare(bench.rounds(), contenders);
    let inside = INSIDE.as_millis();
    let title =
        format!("14 Cluster: {CROWD} readers of one node, {inside} ms inside, {}", cluster.name());
    let header = ["", "reads/s", "vs. etcd's", "p50", "p95", "longest"];
    let mut table = Table::new(title, header.iter().chain(&HEADER).copied());
    for (index, name) in compared.names().iter().enumerate() {
        let waits = seen[index].waits.borrow();
        let waits = [0.5, 0.95, 1.0].map(|part| match waits.is_empty() {
            true => "–".into(),
            false => nanoseconds(quantile(&waits, part)),
        });
        let cells =
            [name.clone(), count(1e9 / compared.median(index)), ratio(compared.ratio(0, index))];
        table.row(cells.into_iter().chain(waits).chain(seen[index].tally.cells()));
    }
    let away = AWAY.as_millis();
    table.note(format!(
        "Each task has its own session. The writer comes back {away} ms after it left; p50, \
         p95, longest: how long it waited."
    ));
    table
}

/// Runs the readers. The sample is nanoseconds per read, over all readers.
fn share<'a, C: Client>(
    bench: &Bench,
    cluster: &'a Cluster,
    seen: &'a Seen,
    with_writer: bool,
) -> Contender<'a> {
    let readers = clients::<C>(cluster, CROWD);
    let writer = with_writer.then(|| clients::<C>(cluster, 1).remove(0));
    let each = bench.pick(8, 4);
    Contender::new(C::NAME, move || {
        let work = async {
            let done = Arc::new(AtomicBool::new(false));
            let writing = writer.clone().map(|writer| tokio::spawn(write(writer, done.clone())));
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for reader in readers.iter().cloned() {
                tasks.spawn(read(reader, each));
            }
            tasks.join_all().await;
            let time = start.elapsed().as_nanos() as f64 / (CROWD * each) as f64;
            done.store(true, Ordering::Relaxed);
            if let Some(writing) = writing {
                let waits = writing.await.expect("no panic");
                seen.waits.borrow_mut().extend(waits);
            }
            time
        };
        seen.tally.around(cluster, CROWD * each, || RUNTIME.block_on(work))
    })
}

const NODE: &str = "/photos/2025/may";

async fn read<C: Client>(reader: Arc<C>, times: usize) {
    let place = Place::read(NODE);
    for _ in 0..times {
        let held = reader.acquire(&place).await;
        sleep(INSIDE).await;
        reader.release(held).await;
    }
}

/// Writes now and then until it is `done`. Returns how long it waited each time.
async fn write<C: Client>(writer: Arc<C>, done: Arc<AtomicBool>) -> Vec<f64> {
    let place = Place::write(NODE);
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        let held = writer.acquire(&place).await;
        waits.push(start.elapsed().as_nanos() as f64);
        sleep(INSIDE).await;
        writer.release(held).await;
        sleep(AWAY).await;
    }
    waits
}

fn dropped(bench: &Bench, cluster: &Cluster) -> Table {
    let tallies = [(); 2].map(|()| Tally::default());
    let calls = [(); 2].map(|()| RefCell::default());
    let contenders = vec![
        give_back(bench, cluster, &tallies[0], &calls[0], false),
        give_back(bench, cluster, &tallies[1], &calls[1], true),
    ];
    let compared = bench.compare(bench.rounds(), contenders);
    let title = format!("14 Cluster: a guard released or dropped, {}", cluster.name());
    let header = ["", "pair", "vs. released", "giving back: p50", "p95"];
    let mut table = Table::new(title, header.iter().chain(&HEADER).copied());
    for (index, name) in compared.names().iter().enumerate() {
        let calls = [0.5, 0.95].map(|part| nanoseconds(quantile(&calls[index].borrow(), part)));
        let cells =
            [name.clone(), nanoseconds(compared.median(index)), ratio(compared.ratio(index, 0))];
        table.row(cells.into_iter().chain(calls).chain(tallies[index].cells()));
    }
    table.note("The pair of dropped guards counts until everything is given back.");
    table.note(NOTE);
    table
}

fn give_back<'a>(
    bench: &Bench,
    cluster: &'a Cluster,
    tally: &'a Tally,
    calls: &'a RefCell<Vec<f64>>,
    by_dropping: bool,
) -> Contender<'a> {
    let lock = clients::<EtcdLock>(cluster, 1).remove(0);
    let (times, places) = (bench.pick(32, 8), places());
    let name = if by_dropping { "dropped" } else { "released" };
    Contender::new(name, move || {
        let (lock, places) = (lock.clone(), places.clone());
        let task = async move {
            let (mut calls, start) = (Vec::with_capacity(times), Instant::now());
            for turn in 0..times {
                let held = Client::acquire(&*lock, &places[turn % places.len()]).await;
                let begun = Instant::now();
                if by_dropping {
                    drop(held);
                } else {
                    held.release().await;
                }
                calls.push(begun.elapsed().as_nanos() as f64);
            }
            lock.settled().await;
            (calls, start.elapsed().as_nanos() as f64 / times as f64)
        };
        let run = || RUNTIME.block_on(RUNTIME.spawn(task)).expect("no panic");
        let (new, time) = tally.around(cluster, times, run);
        calls.borrow_mut().extend(new);
        time
    })
}
