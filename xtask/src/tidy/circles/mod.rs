//! Checks that the imports between the files of a crate form no circles, so each file can be read
//! after the files that it uses.
//!
//! Of each target (library, program, example, test) the modules are read as the compiler finds
//! them, tests within a file as a part of it. An arrow leads from a file to each file whose items
//! it names, in a `use` or in a path; an item that is re-exported counts for the file that defines
//! it. A declaration (`mod x;`) is no arrow, so a file may own others and be used by none of them.

mod knots;
mod modules;
mod references;
mod targets;

use std::collections::BTreeMap;

use super::{
    finding::{Finding, Kind},
    tree::Tree,
};
use knots::{Arrows, knots};
use modules::Modules;
use references::References;

/// Finds the circles of every target, and imports by way of the crate's root.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let unreadable = tree.rust.iter().filter_map(|(file, parsed)| {
        let error = parsed.as_ref().err()?;
        let line = error.span().start().line;
        Some(Finding::at(Kind::Circles, file, line, format!("this is no Rust: {error}")))
    });
    let mut findings: Vec<Finding> = unreadable.collect();
    for root in targets::roots(tree) {
        findings.extend(target(tree, &root));
    }
    findings.sort();
    findings.dedup();
    findings
}

fn target(tree: &Tree, root: &str) -> Vec<Finding> {
    let modules = Modules::of(tree, root);
    let references = References::of(tree, &modules);
    let mut findings = Vec::new();
    let mut arrows: Arrows = BTreeMap::new();
    for reference in &references.0 {
        let from = modules.file(reference.from);
        let Some(target) = modules.resolve(reference.from, &reference.path) else { continue };
        let to = modules.file(target.module);
        // A path that begins with an imported name has been judged at that import.
        let is_whole = ["crate", "self", "super"].contains(&&*reference.path[0]);
        if target.by_root && is_whole && from != root && to != root {
            let path = modules.path(target.module);
            let text = format!(
                "`{}` is a re-export: import it from its own module, {path}",
                reference.path.join("::")
            );
            findings.push(Finding::at(Kind::Circles, from, reference.line, text));
        }
        if from != to {
            let said = (reference.line, reference.path.join("::"));
            arrows.entry(from.into()).or_default().entry(to.into()).or_insert(said);
        }
    }
    findings.extend(knots(&arrows).iter().map(|knot| describe(knot, &arrows)));
    findings
}

/// A knot as a finding, at its first file: the files, and the lines that tie them.
fn describe(knot: &[String], arrows: &Arrows) -> Finding {
    let folder = common_folder(knot);
    let short = |file: &String| file[folder.len()..].to_string();
    let names: Vec<String> = knot.iter().map(short).collect();
    let mut text = format!("a circle of {} files: {}", knot.len(), names.join(", "));
    for from in knot {
        for (to, (line, path)) in arrows.get(from).into_iter().flatten() {
            if knot.contains(to) {
                let (from, to) = (short(from), short(to));
                text += &format!("\n    {from}:{line} → {to}: `{path}`");
            }
        }
    }
    text += "\n    move what is used in both directions into a file below them";
    Finding::of(Kind::Circles, &knot[0], text)
}

/// Returns the deepest folder, with its slash, that contains all of these files.
fn common_folder(files: &[String]) -> String {
    let mut folder = files[0].as_str();
    loop {
        folder = folder.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        if files.iter().all(|file| file.starts_with(&start)) {
            return start;
        }
    }
}
