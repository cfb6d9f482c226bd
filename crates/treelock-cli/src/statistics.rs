//! How long requests waited and were held, by node.

use std::{collections::BTreeMap, time::Duration};

use treelock::{
    Node, State,
    engine::{Event, What},
};

use crate::json::{self, seconds};

/// What was heard so far.
#[derive(Default)]
pub(crate) struct Statistics {
    nodes: BTreeMap<Node, OfNode>,
    missed: u64,
}

/// What was heard of the requests that have this node as a root.
#[derive(Default)]
struct OfNode {
    requests: u64,
    gave_up: u64,
    waited: Vec<Duration>,
    held: Vec<Duration>,
}

impl Statistics {
    /// Counts an event, for each root of its request that `is_wanted`.
    pub(crate) fn take(&mut self, event: &Event, is_wanted: impl Fn(&Node) -> bool) {
        if let What::Missed(count) = event.what {
            self.missed += count.unwrap_or(1);
        }
        let Some(seen) = event.request() else { return };
        let mut roots: Vec<&Node> = seen.request.roots().map(|(_, node)| node).collect();
        roots.sort_unstable();
        roots.dedup(); // it may be both a read and a write
        for node in roots.into_iter().filter(|node| is_wanted(node)) {
            let of_node = self.nodes.entry(node.clone()).or_default();
            match event.what {
                What::Live(..) | What::Asked(_) => of_node.requests += 1,
                What::Granted(_) => of_node.waited.extend(event.waited()),
                What::Left(State::Waiting, _) => of_node.gave_up += 1,
                What::Left(State::Held, _) => of_node.held.extend(event.held()),
                _ => {}
            }
        }
    }

    /// Returns what was heard in this time.
    pub(crate) fn report(&self, listened: Duration) -> json::Statistics {
        let node = |(node, of_node): (&Node, &OfNode)| json::NodeStatistics {
            node: node.to_string(),
            requests: of_node.requests,
            gave_up: of_node.gave_up,
            waited: in_short(&of_node.waited),
            held: in_short(&of_node.held),
        };
        json::Statistics {
            seconds: seconds(listened),
            missed: self.missed,
            nodes: self.nodes.iter().map(node).collect(),
        }
    }
}

/// Returns some durations in short. `None` if there are none.
fn in_short(durations: &[Duration]) -> Option<json::Durations> {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    // The nearest rank: the smallest that at least this part does not exceed.
    let rank = |percent: usize| (sorted.len() * percent).div_ceil(100).max(1) - 1;
    let at = |percent| sorted.get(rank(percent)).copied().map(seconds);
    Some(json::Durations {
        count: sorted.len(),
        median_seconds: at(50)?,
        p95_seconds: at(95)?,
        max_seconds: at(100)?,
    })
}

/// Returns the report as a table, one row for each node.
pub(crate) fn table(report: &json::Statistics) -> String {
    const TITLES: [&str; 9] = [
        "node",
        "requests",
        "gave up",
        "waited: median",
        "95 %",
        "max",
        "held: median",
        "95 %",
        "max",
    ];
    let row = |node: &json::NodeStatistics| {
        let [waited, held] = [&node.waited, &node.held].map(|durations| {
            let durations = durations.as_ref();
            let of = |get: fn(&json::Durations) -> f64| {
                durations.map_or_else(|| "-".to_owned(), |durations| short(get(durations)))
            };
            [of(|all| all.median_seconds), of(|all| all.p95_seconds), of(|all| all.max_seconds)]
        });
        let counts = [node.node.clone(), node.requests.to_string(), node.gave_up.to_string()];
        counts.into_iter().chain(waited).chain(held).collect()
    };
    let titles = TITLES.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> =
        std::iter::once(titles).chain(report.nodes.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..TITLES.len()).filter_map(width).collect();
    let line = |row: &Vec<String>| {
        let first = format!("{:<1$}", row[0], widths[0]);
        let others = row[1..].iter().zip(&widths[1..]);
        others.fold(first, |line, (cell, width)| format!("{line}  {cell:>width$}"))
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Returns a duration with as many digits as matter: `3ms`, `1.2s`, `4m 07s`.
fn short(seconds: f64) -> String {
    match seconds {
        0.0..1.0 => format!("{:.0}ms", seconds * 1000.0),
        _ => treelock::engine::Age(Duration::from_secs_f64(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use treelock::{Request, engine::Sighting};

    use super::*;

    fn event(what: fn(Sighting) -> What, asked: u64, granted: Option<u64>) -> Event {
        let request = Request::new().write("a").and_then(|request| request.read("b/c"));
        let seen = Sighting {
            ticket: 1,
            request: request.expect("good nodes"),
            asked: Duration::from_millis(asked),
            granted: granted.map(Duration::from_millis),
            process: None,
        };
        Event::new(SystemTime::now(), what(seen))
    }

    #[test]
    fn medians_and_percentiles_are_of_the_nearest_rank() {
        let mut statistics = Statistics::default();
        for waited in (1..=20).rev() {
            statistics.take(&event(What::Asked, 0, None), |_| true);
            statistics.take(&event(What::Granted, waited * 100, Some(0)), |_| true);
        }
        statistics.take(&event(|seen| What::Left(State::Held, seen), 9_000, Some(7_000)), |_| true);
        statistics.take(&event(|seen| What::Left(State::Waiting, seen), 9_000, None), |_| true);
        statistics.take(&Event::new(SystemTime::now(), What::Missed(Some(3))), |_| true);
        let report = statistics.report(Duration::from_secs(60));
        assert_eq!((report.missed, report.nodes.len()), (3, 2));
        let waited = report.nodes[1].waited.as_ref().expect("some waited");
        assert_eq!(
            (waited.count, waited.median_seconds, waited.p95_seconds, waited.max_seconds),
            (20, 1.0, 1.9, 2.0)
        );
        assert_eq!(
            table(&report),
            "\
node  requests  gave up  waited: median  95 %   max  held: median  95 %   max
/a          20        1            1.0s  1.9s  2.0s          7.0s  7.0s  7.0s
/b/c        20        1            1.0s  1.9s  2.0s          7.0s  7.0s  7.0s"
        );
    }

    #[test]
    fn the_readme_shows_a_table_as_it_is() {
        let durations = |median_seconds, p95_seconds, max_seconds| {
            Some(json::Durations { count: 9, median_seconds, p95_seconds, max_seconds })
        };
        let node = |node: &str, requests, gave_up, waited, held| json::NodeStatistics {
            node: node.into(),
            requests,
            gave_up,
            waited,
            held,
        };
        let nodes = vec![
            node("/src", 9, 1, durations(2.1, 8.0, 8.0), durations(12.4, 41.0, 41.0)),
            node("/src/auth", 4, 0, durations(0.0, 1.2, 1.2), durations(8.0, 12.9, 12.9)),
        ];
        let table = table(&json::Statistics { seconds: 60.0, missed: 0, nodes });
        let readme = include_str!("../README.md");
        assert!(readme.contains(&format!("```screen\n{table}\n```")), "{table}");
    }

    #[test]
    fn what_nobody_did_has_no_numbers() {
        let mut statistics = Statistics::default();
        statistics.take(&event(What::Asked, 0, None), |node| node.to_string() == "/a");
        let report = statistics.report(Duration::ZERO);
        assert_eq!(report.nodes.len(), 1);
        assert!(report.nodes[0].waited.is_none() && report.nodes[0].held.is_none());
        assert!(table(&report).ends_with("  -"), "{}", table(&report));
        assert_eq!([0.0, 0.9994, 1.0, 247.0].map(short), ["0ms", "999ms", "1.0s", "4m 07s"]);
    }
}
