//! `cargo xtask tidy`: checks the matters of taste that a program can judge.
//!
//! Each check is a function from the files of a repository to its findings. All findings are
//! reported, so one run shows everything that needs fixing.

mod circles;
mod columns;
mod contract;
mod dependencies;
mod facts;
mod finding;
mod lengths;
mod links;
mod list;
mod markdown;
mod sentences;
mod tree;

use std::path::Path;

use finding::{Finding, Kind};
use list::List;
use tree::Tree;

use crate::command::Outcome;

/// Checks the repository below a root, and prints what it finds.
pub(crate) fn check(root: &Path) -> Outcome {
    let tree = Tree::read(root)?;
    let mut findings = Vec::new();
    let list = List::read(&tree, &mut findings);
    findings.extend(columns::check(&tree));
    findings.extend(lengths::check(&tree, &list));
    findings.extend(circles::check(&tree));
    findings.extend(contract::check(&tree));
    findings.extend(links::check(&tree, &list));
    findings.extend(dependencies::check(&tree));
    findings.extend(facts::check(&tree, &list));
    findings.extend(sentences::check(&tree, &list));
    findings.sort();
    for finding in &findings {
        eprintln!("{finding}");
    }
    let summary = format!("{} files: {}", tree.files.len(), counts(&findings));
    if findings.is_empty() {
        eprintln!("{summary}");
        return Ok(());
    }
    Err(summary)
}

/// Returns the number of findings of each kind.
fn counts(findings: &[Finding]) -> String {
    let count = |kind: Kind| findings.iter().filter(|finding| finding.kind == kind).count();
    let counts = Kind::ALL.map(|kind| format!("{kind} {}", count(kind)));
    format!("{} findings ({})", findings.len(), counts.join(", "))
}
