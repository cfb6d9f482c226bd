//! Workload 12: instructions, counted by the binary `ir` under callgrind.

use super::sibling;
use crate::measure::Bench;
use crate::report::{Bound, Report, Table, count};

/// Each case of the binary `ir`, the instructions that a prototype needed for the bare work (parse
/// and hash the path, one uncontended mutex, a counter per node), and the goal that was derived
/// from it, also in instructions.
const LIMITS: [(&str, &str, f64, f64); 4] = [
    ("node-4", "from a Node, depth 4", 421.0, 1_260.0),
    ("node-8", "from a Node, depth 8", 773.0, 2_300.0),
    ("text-4", "from text, depth 4", 421.0, 1_260.0),
    ("text-8", "from text, depth 8", 773.0, 2_300.0),
];

pub(crate) fn run(bench: &Bench, report: &mut Report) {
    let cases = LIMITS.iter().flat_map(|limit| ["--case", limit.0]);
    let only: Vec<&str> = ["--json"].into_iter().chain(cases).collect();
    let mut table = Table::new("12 Instructions per pair", ["", "instructions"]);
    match sibling::run("ir", if bench.quick { &only } else { &only[..1] }) {
        Ok(found) => {
            for row in found.as_array().into_iter().flatten() {
                let name = format!("{}: {}", row["case"], row["title"]).replace('"', "");
                table.row([name, count(row["instructions"].as_f64().unwrap_or(f64::NAN))]);
                for (case, what, limit, must) in LIMITS {
                    if row["case"] == case {
                        let measured = row["instructions"].as_f64().unwrap_or(f64::NAN) / limit;
                        let goal = format!("instructions {what}, vs. the physical limit");
                        report.goal(goal, measured, Bound::at_most(must / limit, 2.2));
                    }
                }
            }
        }
        Err(reason) => table.note(format!("Not measured: {reason}")),
    }
    report.tables.push(table);
}
