//! Many clients, each on its own path: none waits for a lock, but all wait for etcd.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use treelock_bench::paths;
use treelock_etcd::EtcdLock;

use super::client::{CROWD, Client, LockApi, Place, clients};
use super::server::{Cluster, RUNTIME};
use super::tally::{HEADER, NOTE, Tally};
use crate::measure::{Bench, Contender};
use crate::report::{Bound, Report, Table, count, ratio};

const PEER: usize = 0;

pub(super) fn run(bench: &Bench, report: &mut Report, cluster: &Cluster) {
    let tallies = [(); 3].map(|()| Tally::default());
    let contenders = vec![
        apart::<LockApi>(bench, cluster, &tallies[0], CROWD).named("etcd, 16 clients"),
        apart::<EtcdLock>(bench, cluster, &tallies[1], 1).named("one session"),
        apart::<EtcdLock>(bench, cluster, &tallies[2], CROWD).named("16 sessions"),
    ];
    let compared = bench.compare(bench.rounds(), contenders);
    let title = format!("14 Cluster: {CROWD} tasks, each on its own path, {}", cluster.name());
    let header = ["", "pairs per second", "vs. etcd's Lock API"];
    let mut table = Table::new(title, header.iter().chain(&HEADER).copied());
    for (index, name) in compared.names().iter().enumerate() {
        let cells =
            [name.clone(), count(1e9 / compared.median(index)), ratio(compared.ratio(PEER, index))];
        table.row(cells.into_iter().chain(tallies[index].cells()));
    }
    table.note(NOTE);
    report.tables.push(table);
    for (index, sessions) in [(1, "one session"), (2, "16 sessions")] {
        let goal = format!(
            "cluster, {}: pairs on {CROWD} paths, {sessions}, vs. etcd's Lock API",
            cluster.name()
        );
        report.goal(goal, compared.ratio(PEER, index), Bound::at_least(None, 1.0));
    }
}

/// Runs [`CROWD`] tasks with this many clients. The sample is nanoseconds per pair, over all tasks.
fn apart<'a, C: Client>(
    bench: &Bench,
    cluster: &'a Cluster,
    tally: &'a Tally,
    sessions: usize,
) -> Contender<'a> {
    let clients = clients::<C>(cluster, sessions);
    let place = |number| Arc::new(Place::write(&paths::below_top(&format!("top{number}"), 4, 0)));
    let places: Vec<Arc<Place>> = (0..CROWD).map(place).collect();
    let each = bench.pick(8, 4);
    Contender::new(C::NAME, move || {
        let work = async {
            let mut tasks = JoinSet::new();
            let start = Instant::now();
            for (client, place) in clients.iter().cycle().zip(&places) {
                let (client, place) = (client.clone(), place.clone());
                tasks.spawn(async move {
                    for _ in 0..each {
                        client.release(client.acquire(&place).await).await;
                    }
                });
            }
            tasks.join_all().await;
            start.elapsed().as_nanos() as f64 / (CROWD * each) as f64
        };
        tally.around(cluster, CROWD * each, || RUNTIME.block_on(work))
    })
}
