//! Many tasks want one node: how fast does it pass from one to the next?

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;
use treelock_etcd::EtcdLock;

use super::client::{CROWD, Client, LockApi, Place, clients};
use super::server::{Cluster, RUNTIME};
use super::tally::{HEADER, Tally};
use crate::measure::{Bench, Contender};
use crate::report::{Bound, Report, Table, count, nanoseconds, ratio};

/// What one holder saw: when it was granted, and when it began to release.
type Section = [Instant; 2];

/// What was recorded for one contender.
#[derive(Default)]
struct Seen {
    tally: Tally,
    /// From the start of each release to the next grant, in nanoseconds.
    gaps: RefCell<Vec<f64>>,
}

pub(super) fn run(bench: &Bench, report: &mut Report, cluster: &Cluster) {
    for inside in [Duration::ZERO, Duration::from_millis(5)] {
        compare(bench, report, cluster, inside);
    }
}

const PEER: usize = 0;
const OURS: [(usize, &str, usize); 2] = [(1, "one session", 1), (2, "16 sessions", CROWD)];

fn compare(bench: &Bench, report: &mut Report, cluster: &Cluster, inside: Duration) {
    let seen = [(); 3].map(|()| Seen::default());
    let [(_, one, sessions), (_, many, all)] = OURS;
    let contenders = vec![
        queue::<LockApi>(bench, cluster, &seen[0], CROWD, inside).named("etcd, 16 clients"),
        queue::<EtcdLock>(bench, cluster, &seen[1], sessions, inside).named(one),
        queue::<EtcdLock>(bench, cluster, &seen[2], all, inside).named(many),
    ];
    let compared = bench.compare(bench.rounds(), contenders);
    let milliseconds = inside.as_millis();
    let name = cluster.name();
    let title =
        format!("14 Cluster: {CROWD} tasks want one node, {milliseconds} ms inside, {name}");
    let header = ["", "hand-offs/s", "vs. etcd's", "p50", "p95", "longest"];
    let mut table = Table::new(title, header.iter().chain(&HEADER).copied());
    for (index, contender) in compared.names().iter().enumerate() {
        let rate = count(1e9 / compared.median(index));
        let gaps =
            [0.5, 0.95, 1.0].map(|part| nanoseconds(quantile(&seen[index].gaps.borrow(), part)));
        let cells = [contender.clone(), rate, ratio(compared.ratio(PEER, index))];
        table.row(cells.into_iter().chain(gaps).chain(seen[index].tally.cells()));
    }
    table.note("p50, p95, longest: from the start of a release to the next grant.");
    report.tables.push(table);
    let bound = Bound::at_least(1.0, if inside.is_zero() { 2.0 } else { 1.2 });
    for (index, sessions, _) in OURS {
        let goal = format!(
            "cluster, {name}: hand-offs with {milliseconds} ms inside, {sessions}, vs. etcd's Lock \
             API"
        );
        report.goal(goal, compared.ratio(PEER, index), bound);
    }
}

/// Runs [`CROWD`] tasks with this many clients. The sample is nanoseconds per hand-off.
fn queue<'a, C: Client>(
    bench: &Bench,
    cluster: &'a Cluster,
    seen: &'a Seen,
    sessions: usize,
    inside: Duration,
) -> Contender<'a> {
    let clients = clients::<C>(cluster, sessions);
    let place = Arc::new(Place::write("/photos/2025/may/one"));
    let each = bench.pick(4, 2);
    Contender::new(C::NAME, move || {
        let work = contend(&clients, &place, each, inside);
        let sections = seen.tally.around(cluster, CROWD * each, || RUNTIME.block_on(work));
        let gaps = sections.windows(2).map(|two| {
            let gap = two[1][0].checked_duration_since(two[0][1]);
            gap.expect("two held it at once").as_nanos() as f64
        });
        seen.gaps.borrow_mut().extend(gaps);
        let [first, last] = [sections[0], sections[sections.len() - 1]];
        (last[0] - first[0]).as_nanos() as f64 / (sections.len() - 1) as f64
    })
}

/// Locks `each` times in every task. Returns what they saw, in order.
async fn contend<C: Client>(
    clients: &[Arc<C>],
    place: &Arc<Place>,
    each: usize,
    inside: Duration,
) -> Vec<Section> {
    let start = Arc::new(Barrier::new(CROWD));
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(CROWD) {
        let (client, start, place) = (client.clone(), start.clone(), place.clone());
        tasks.spawn(async move {
            let mut sections = Vec::with_capacity(each);
            start.wait().await;
            for _ in 0..each {
                let held = client.acquire(&place).await;
                let granted = Instant::now();
                if !inside.is_zero() {
                    tokio::time::sleep(inside).await;
                }
                sections.push([granted, Instant::now()]);
                client.release(held).await;
            }
            sections
        });
    }
    let mut sections = tasks.join_all().await.concat();
    sections.sort_unstable();
    sections
}

/// Returns the value below which this part of the others lies; for 1, the largest.
pub(super) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
