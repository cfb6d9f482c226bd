//! Workload 9: memory, counted by the binary `memory`, whose allocator would slow the other
//! workloads down.

use serde_json::Value;

use super::sibling;
use crate::measure::Bench;
use crate::report::{Bound, Report, Table, count, ratio};

/// How many bytes the seed (treelock 0.0.17 in Python) needs per held lock at depth 4.
const SEED: [(&str, &str, f64); 2] =
    [("sharing", "sharing its ancestors", 1_800.0), ("own", "with its own ancestors", 4_500.0)];

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let header = ["", "held, sharing", "held, own", "left after release", "left after distinct"];
    let title = "9 Bytes per held lock at depth 4, and what is left after all are gone";
    let mut table = Table::new(title, header);
    match sibling::run("memory", bench.pick(&[], &["--quick"])) {
        Ok(found) => fill(&found, &mut table, report),
        Err(reason) => table.note(format!("Not measured: {reason}")),
    }
    report.tables.push(table);
}

fn fill(found: &Value, table: &mut Table, report: &mut Report) {
    for row in found["rows"].as_array().into_iter().flatten() {
        let cell = |key: &str| row[key].as_f64().map_or_else(|| "–".into(), count);
        let name = row["name"].as_str().unwrap_or_default().to_owned();
        table.row([name, cell("sharing"), cell("own"), cell("released"), cell("distinct")]);
    }
    let number = |key: &str| count(found[key].as_f64().unwrap_or(f64::NAN));
    table.note(format!(
        "Per lock: heap and guard, {} held. Left: all bytes, after those were released and after \
         {} distinct paths (of the others a tenth, of MemLs a hundredth) were locked in turn.",
        number("held"),
        number("distinct")
    ));
    for (key, name, seed) in SEED {
        let measured = found["rows"][0][key].as_f64().unwrap_or(f64::NAN);
        let goal = format!("memory of a held lock {name}, vs. the seed");
        report.goal(goal, measured / seed, Bound::at_most(1.0 / 6.0, 1.0 / 12.0));
        table.note(format!(
            "The seed needs {} bytes {name}: {}.",
            count(seed),
            ratio(measured / seed)
        ));
    }
}
