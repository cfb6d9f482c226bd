//! What etcd counted during the samples of one contender.

use std::cell::RefCell;

use super::metrics::Metrics;
use super::server::Cluster;
use crate::report::nanoseconds;

/// The sums over all samples of one contender.
#[derive(Default)]
pub(super) struct Tally(RefCell<(Metrics, f64)>);

impl Tally {
    /// Counts while `sample` locks `acquired` times.
    pub(super) fn around<T>(
        &self,
        cluster: &Cluster,
        acquired: usize,
        sample: impl FnOnce() -> T,
    ) -> T {
        let before = cluster.metrics();
        let result = sample();
        let added = cluster.metrics().since(&before);
        let (sum, count) = self.0.take();
        self.0.replace(([sum, added].into_iter().sum(), count + acquired as f64));
        result
    }

    /// Returns the calls of all methods per acquire and release.
    pub(super) fn calls(&self) -> f64 {
        let (sum, count) = &*self.0.borrow();
        sum.calls().values().sum::<f64>() / count
    }

    /// Returns what was counted as cells of a table under [`HEADER`].
    pub(super) fn cells(&self) -> [String; 2] {
        let (sum, count) = &*self.0.borrow();
        let methods = sum.calls();
        let methods =
            methods.iter().map(|(method, calls)| format!("{method} {}", short(calls / count)));
        let [time, fsyncs] = ["sum", "count"].map(|what| sum.get(&format!("{FSYNC}_{what}")));
        let fsync = format!("{} of {}", short(fsyncs / count), nanoseconds(time / fsyncs * 1e9));
        [methods.collect::<Vec<_>>().join(", "), fsync]
    }
}

/// The durations of making etcd's log durable.
const FSYNC: &str = "etcd_disk_wal_fsync_duration_seconds";

/// Prints up to two decimals, without trailing zeros.
fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// The header for [`Tally::cells`].
pub(super) const HEADER: [&str; 2] = ["calls", "fsyncs"];

/// Explains the columns.
pub(super) const NOTE: &str = "Calls and fsyncs are per acquire and release, as etcd counted them.";
