//! The pair while others hold locks elsewhere: equally many of treelock's and of etcd's own.

use std::time::Duration;

use etcd_client::{Client as Etcd, PutOptions, Txn, TxnOp};
use treelock_etcd::EtcdLock;

use super::client::{Client, LockApi};
use super::pair::{pairs, places, rounds};
use super::server::{Cluster, Data, RUNTIME};
use super::tally::Tally;
use crate::measure::Bench;
use crate::report::{Bound, Report, Table, count, nanoseconds, ratio};

/// How many keys are attached to one lease: the maximum of a treelock session.
const SESSION: usize = 5_000;

/// How many keys are put at once.
const BATCH: usize = 100;

/// Longer than etcd collects writes before it commits them.
const COMMIT: Duration = Duration::from_millis(300);

const PEER: &str = LockApi::NAME;
const OURS: &str = EtcdLock::NAME;

pub(super) fn run(bench: &Bench, report: &mut Report, data: Data) -> Result<(), String> {
    let sizes = bench.pick([0, 10_000, 100_000], [0, 1_000, 10_000]);
    let held = sizes.map(|size| (size, Since::Long));
    let held = [&held[..], &[(sizes[1], Since::JustNow)]].concat();
    let mut clusters = Vec::new();
    for &(size, since) in &held {
        let cluster = Cluster::start(1, data)?;
        RUNTIME.block_on(fill(&cluster, size, since)).map_err(|error| error.to_string())?;
        clusters.push(cluster);
    }
    let places = places();
    let tally = Tally::default();
    let mut contenders = Vec::new();
    for cluster in &clusters {
        contenders.push(pairs::<LockApi>(cluster, &places, &tally));
        contenders.push(pairs::<EtcdLock>(cluster, &places, &tally));
    }
    let compared = bench.compare(rounds(bench), contenders);
    let title = format!("14 Cluster: a pair at depth 4 with other locks held, one member, {data}");
    let header = [
        "others held, of each kind",
        PEER,
        "vs. none held",
        OURS,
        "vs. none held",
        "growth vs. etcd's",
    ];
    let mut table = Table::new(title, header);
    for (number, (size, since)) in held.into_iter().enumerate() {
        let [peer, ours] = [2 * number, 2 * number + 1];
        let cells =
            |index| [nanoseconds(compared.median(index)), ratio(compared.ratio(index, index % 2))];
        let growth = compared.derived(|round| round[ours] / round[1] / (round[peer] / round[0]));
        let cells = [&cells(peer)[..], &cells(ours), &[ratio(growth)]].concat();
        let held = match since {
            Since::Long => count(size as f64),
            Since::JustNow => format!("{}, just put", count(size as f64)),
        };
        table.row([held].into_iter().chain(cells));
    }
    table.note(
        "Each row has its own etcd. How fast it happens to run also shows in the growth of etcd's \
         lock, by which the last column divides.",
    );
    report.tables.push(table);
    let goal = format!(
        "cluster, one member, {data}: a pair with {} held, vs. none",
        count(sizes[2] as f64)
    );
    report.goal(goal, compared.ratio(5, 1), Bound::at_most(1.15, 1.05));
    Ok(())
}

/// How long the other locks have been held.
#[derive(Clone, Copy)]
enum Since {
    Long,
    /// etcd still remembers the burst in which they were put.
    JustNow,
}

/// Puts the keys of this many locks of each kind, as their owners would have.
async fn fill(cluster: &Cluster, size: usize, since: Since) -> Result<(), etcd_client::Error> {
    let mut client = Etcd::connect(&cluster.endpoints, None).await?;
    let value = r#"{"nonce":1,"host":"build-17.example.org","pid":12345,"since":1767225600000}"#;
    for first in (0..size).step_by(SESSION) {
        let lease = client.lease_grant(36_000, None).await?.id();
        let put =
            |key: String, value| TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
        let numbers: Vec<usize> = (first..size.min(first + SESSION)).collect();
        for batch in numbers.chunks(BATCH) {
            let puts = batch.iter().flat_map(|number| {
                let (directory, slot) = (number / 1_000, number - first);
                let path = format!("held/dir{directory:02}/dir02/leaf{number}/");
                let ours = format!("/treelock/default/W/{path}!{lease:x}.{slot}");
                [put(ours, value), put(format!("held-lock{number}/{lease:x}"), "")]
            });
            let puts: Vec<_> = puts.collect();
            // Two keys for each number: no more operations than etcd allows.
            for half in puts.chunks(BATCH) {
                client.txn(Txn::new().and_then(half)).await?;
            }
        }
    }
    match since {
        Since::Long => forget_burst(&mut client).await,
        Since::JustNow => Ok(()),
    }
}

/// Makes etcd give up the buffer of the keys just put. It keeps one as large as the largest burst
/// between two commits, until a commit in which no key was written, and copies it for each
/// transaction (3.4; a profile shows it as `bucketBuffer.Copy`).
async fn forget_burst(client: &mut Etcd) -> Result<(), etcd_client::Error> {
    for _ in 0..2 {
        tokio::time::sleep(COMMIT).await;
        client.lease_grant(36_000, None).await?;
    }
    tokio::time::sleep(COMMIT).await;
    Ok(())
}
