//! Checks that each dependency is declared once, with its version and its reason, and that each
//! crate has the lints of the workspace.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::{
    finding::{Finding, Kind},
    list::line_of,
    tree::Tree,
};

const ROOT: &str = "Cargo.toml";

/// A lint that every crate must have.
const LINT: &str = "missing_debug_implementations";

/// Finds versions that crates state for themselves, and what is wrong with the common table.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (folder, text) in tree.packages() {
        let file = format!("{folder}/{ROOT}");
        let manifest: Table = match text.parse() {
            Ok(manifest) => manifest,
            Err(error) => {
                findings.push(Finding::of(Kind::Dependencies, &file, format!("{error}")));
                continue;
            }
        };
        findings.extend(package(&file, text, &manifest, &mut used));
    }
    if let Some(text) = tree.texts.get(ROOT) {
        match text.parse() {
            Ok(manifest) => findings.extend(workspace(text, &manifest, &used)),
            Err(error) => findings.push(Finding::of(Kind::Dependencies, ROOT, format!("{error}"))),
        }
    }
    findings
}

fn package(file: &str, text: &str, manifest: &Table, used: &mut BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, dependency) in dependencies(manifest) {
        let has = |key: &str| dependency.get(key).is_some();
        if has("workspace") {
            used.insert(name.clone());
        } else if dependency.is_str() || has("version") || !has("path") {
            let text_of = format!(
                "`{name}` is declared here: write `{name}.workspace = true`, and put its version \
                 and its reason under [workspace.dependencies] in Cargo.toml"
            );
            findings.push(Finding::at(Kind::Dependencies, file, entry(text, name), text_of));
        }
    }
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if lints.and_then(Value::as_bool) != Some(true) {
        let text = "the lints of the workspace are missing: write `workspace = true` under [lints]";
        findings.push(Finding::of(Kind::Dependencies, file, text));
    }
    findings
}

/// All dependencies of a package, of tests, builds and single platforms too.
fn dependencies(manifest: &Table) -> impl Iterator<Item = (&String, &Value)> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table).into_iter();
    let targets = targets.flat_map(|targets| targets.values().filter_map(Value::as_table));
    let tables = std::iter::once(manifest).chain(targets);
    let tables = tables.flat_map(|table| TABLES.iter().filter_map(|name| table.get(*name)));
    tables.filter_map(Value::as_table).flatten()
}

fn workspace(text: &str, manifest: &Table, used: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let workspace = manifest.get("workspace");
    let get = |key: &str| workspace.and_then(|workspace| workspace.get(key));
    let common = get("dependencies").and_then(Value::as_table).into_iter().flatten();
    for (name, dependency) in common {
        let line = entry(text, name);
        let mut find = |what: String| {
            findings.push(Finding::at(Kind::Dependencies, ROOT, line, what));
        };
        if !dependency.is_str() && dependency.get("version").is_none() {
            find(format!("`{name}` has no version: state one"));
        }
        if !has_reason(text, line) {
            find(format!("`{name}` has no reason: say in a comment why it is here"));
        }
        if !used.contains(name) {
            find(format!("no crate uses `{name}`: remove it"));
        }
    }
    let lint = get("lints").and_then(|lints| lints.get("rust")).and_then(|rust| rust.get(LINT));
    let level = lint.and_then(|lint| lint.as_str().or_else(|| lint.get("level")?.as_str()));
    if !matches!(level, Some("warn" | "deny" | "forbid")) {
        let text = format!("write `{LINT} = \"warn\"` under [workspace.lints.rust]");
        findings.push(Finding::of(Kind::Dependencies, ROOT, text));
    }
    findings
}

/// The line of a dependency in a manifest.
fn entry(text: &str, name: &str) -> usize {
    let is_entry = |line: &str| {
        let rest = line.strip_prefix(name).map(str::trim_start);
        rest.is_some_and(|rest| rest.starts_with(['=', '.']))
    };
    let header = format!("dependencies.{name}]");
    let line = text.lines().position(|line| is_entry(line) || line.ends_with(&header));
    line.map_or_else(|| line_of(text, name), |index| index + 1)
}

/// Whether a comment ends the line, or stands in the one above.
fn has_reason(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let above = line.checked_sub(2).and_then(|above| lines.get(above));
    let own = lines.get(line - 1).is_some_and(|own| own.contains(" # "));
    own || above.is_some_and(|above| above.starts_with("# "))
}
