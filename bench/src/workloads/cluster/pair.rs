//! An uncontended pair.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Builder;
use treelock_bench::paths;
use treelock_etcd::EtcdLock;

use super::client::{Client, LockApi, Place, TwoWrites, clients};
use super::server::{Cluster, RUNTIME};
use super::tally::{HEADER, NOTE, Tally};
use crate::measure::{Bench, Contender};
use crate::report::{Bound, Report, Table, nanoseconds, ratio};

/// The depth of the path.
const DEPTH: usize = 4;

/// The number of pairs in one sample: few, so that contenders take turns as fast as the machine
/// drifts.
const SLICE: usize = 8;

const FLOOR: usize = 0;
const PEER: usize = 1;
const OURS: usize = 2;
const BY_ITS_THREAD: usize = 3;

pub(super) fn run(bench: &Bench, report: &mut Report, cluster: &Cluster) {
    let tallies = [(); 4].map(|()| Tally::default());
    let places = places();
    let contenders = vec![
        pairs::<TwoWrites>(cluster, &places, &tallies[FLOOR]),
        pairs::<LockApi>(cluster, &places, &tallies[PEER]),
        pairs::<EtcdLock>(cluster, &places, &tallies[OURS]),
        by_its_thread(cluster, &places, &tallies[BY_ITS_THREAD]),
    ];
    let compared = bench.compare(rounds(bench), contenders);
    let title = format!("14 Cluster: an uncontended pair at depth {DEPTH}, {}", cluster.name());
    let mut table =
        Table::new(title, ["", "time", "vs. etcd's Lock API"].iter().chain(&HEADER).copied());
    for (index, name) in compared.names().iter().enumerate() {
        let cells =
            [name.clone(), nanoseconds(compared.median(index)), ratio(compared.ratio(index, PEER))];
        table.row(cells.into_iter().chain(tallies[index].cells()));
    }
    table.note(NOTE);
    report.tables.push(table);
    let name = cluster.name();
    let bound = Bound::at_most(1.25, 1.1);
    report.goal(
        format!("cluster, {name}: a pair, vs. etcd's Lock API"),
        compared.ratio(OURS, PEER),
        bound,
    );
    let calls = tallies[OURS].calls() / 2.0;
    report.goal(
        format!("cluster, {name}: calls for a pair, vs. two"),
        calls,
        Bound::at_most(1.0, 1.0),
    );
}

/// Returns how many rounds of [`SLICE`] pairs to run.
pub(super) fn rounds(bench: &Bench) -> usize {
    4 * bench.rounds()
}

/// Returns the places that a measuring loop cycles through.
pub(super) fn places() -> Arc<[Place]> {
    paths::cycle(DEPTH).iter().map(|path| Place::write(path)).collect()
}

/// Returns a contender with one client that locks and unlocks `places` in turn.
pub(super) fn pairs<'a, C: Client>(
    cluster: &'a Cluster,
    places: &Arc<[Place]>,
    tally: &'a Tally,
) -> Contender<'a> {
    let client = clients::<C>(cluster, 1).remove(0);
    let places = places.clone();
    Contender::new(C::NAME, move || {
        let task = cycle(client.clone(), places.clone());
        tally.around(cluster, SLICE, || RUNTIME.block_on(RUNTIME.spawn(task)).expect("no panic"))
    })
}

/// Returns treelock in a single-threaded runtime, which drives nothing by itself, so that
/// treelock's own thread sends the requests.
fn by_its_thread<'a>(
    cluster: &'a Cluster,
    places: &Arc<[Place]>,
    tally: &'a Tally,
) -> Contender<'a> {
    let client = clients::<EtcdLock>(cluster, 1).remove(0);
    let places = places.clone();
    let runtime = Builder::new_current_thread().enable_all().build().expect("one thread");
    Contender::new("treelock, on its own thread", move || {
        let task = cycle(client.clone(), places.clone());
        tally.around(cluster, SLICE, || runtime.block_on(task))
    })
}

/// Locks and unlocks [`SLICE`] times. Returns the nanoseconds for each.
async fn cycle<C: Client>(client: Arc<C>, places: Arc<[Place]>) -> f64 {
    let start = Instant::now();
    for turn in 0..SLICE {
        client.release(client.acquire(&places[turn % places.len()]).await).await;
    }
    start.elapsed().as_nanos() as f64 / SLICE as f64
}
