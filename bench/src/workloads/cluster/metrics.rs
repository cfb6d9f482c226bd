//! What etcd has counted, read from its `/metrics`.

use std::collections::BTreeMap;
use std::iter::Sum;

/// Calls of a client that do not belong to a particular lock: keeping its lease, and starting up.
const NOT_COUNTED: [&str; 4] = ["LeaseKeepAlive", "LeaseGrant", "LeaseRevoke", "Status"];

/// The values of all series, by name and labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the metrics of the member at `endpoint`.
    pub(super) fn read(endpoint: &str) -> Metrics {
        let answer = ureq::get(format!("{endpoint}/metrics")).call();
        let text = answer.and_then(|mut answer| answer.body_mut().read_to_string());
        Metrics::parse(&text.expect("etcd answers"))
    }

    fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(series.collect())
    }

    /// Returns what was added since `before`.
    pub(super) fn since(&self, before: &Metrics) -> Metrics {
        let added = |(name, value): (&String, &f64)| {
            (name.clone(), value - before.0.get(name).copied().unwrap_or(0.0))
        };
        Metrics(self.0.iter().map(added).collect())
    }

    pub(super) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Returns how often clients called each method, without [`NOT_COUNTED`]. In a stream, each
    /// message that a client sends counts as a call, and opening the stream does not.
    pub(super) fn calls(&self) -> BTreeMap<String, f64> {
        let mut calls = BTreeMap::new();
        for (series, value) in &self.0 {
            let unary = series.contains("grpc_type=\"unary\"");
            let counter = if unary { "started" } else { "msg_received" };
            let counted = series.starts_with(&format!("grpc_server_{counter}_total{{"));
            let method =
                series.split("grpc_method=\"").nth(1).and_then(|rest| rest.split('"').next());
            if let Some(method) = method.filter(|method| !NOT_COUNTED.contains(method))
                && counted
                && *value > 0.0
            {
                *calls.entry(method.to_owned()).or_default() += value;
            }
        }
        calls
    }
}

impl Sum for Metrics {
    fn sum<I: Iterator<Item = Metrics>>(all: I) -> Metrics {
        let mut sum = Metrics::default();
        for (name, value) in all.flat_map(|one| one.0) {
            *sum.0.entry(name).or_default() += value;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP grpc_server_started_total Total number of RPCs started on the server.
grpc_server_started_total{grpc_method=\"Txn\",\
    grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 7
grpc_server_msg_received_total{grpc_method=\"Txn\",\
    grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 7
grpc_server_started_total{grpc_method=\"Watch\",grpc_service=\"w\",grpc_type=\"bidi_stream\"} 1
grpc_server_msg_received_total{grpc_method=\"Watch\",grpc_service=\"w\",grpc_type=\"bidi_stream\"} 3
grpc_server_msg_received_total{grpc_method=\"LeaseKeepAlive\",\
    grpc_service=\"l\",grpc_type=\"bidi_stream\"} 9
grpc_server_started_total{grpc_method=\"Range\",\
    grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 0
etcd_disk_wal_fsync_duration_seconds_sum 0.5
etcd_server_is_leader 1e+00
";

    #[test]
    fn calls_are_counted_by_method() {
        let calls = Metrics::parse(TEXT).calls();
        assert_eq!(
            calls.into_iter().collect::<Vec<_>>(),
            [("Txn".into(), 7.0), ("Watch".into(), 3.0)]
        );
    }

    #[test]
    fn numbers_are_read_added_and_subtracted() {
        let one = Metrics::parse(TEXT);
        let both: Metrics = [one.clone(), one.clone()].into_iter().sum();
        assert_eq!(both.get("etcd_disk_wal_fsync_duration_seconds_sum"), 1.0);
        assert_eq!(both.get("etcd_server_is_leader"), 2.0);
        assert_eq!(both.since(&one).get("etcd_disk_wal_fsync_duration_seconds_sum"), 0.5);
        assert_eq!(one.since(&Metrics::default()).calls(), one.calls());
    }
}
