//! Checks that no line of Rust or Python, code or comment, is wider than a screen.

use super::{
    finding::{Finding, Kind},
    tree::{Tree, extension},
};

/// The most columns of a line. rustfmt.toml has the same for code.
const COLUMNS_MAX: usize = 100;

/// Finds the lines that are too wide.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.with_extension(&["rs", "py", "pyi"]) {
        for (index, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !cannot_be_broken(file, line) {
                let text = format!("{columns} columns; break the line at {COLUMNS_MAX}");
                findings.push(Finding::at(Kind::Columns, file, index + 1, text));
            }
        }
    }
    findings
}

/// Returns whether a line is only a URL, or the row of a table in documentation.
fn cannot_be_broken(file: &str, line: &str) -> bool {
    let comment = line.trim_start();
    let marker = comment.split(' ').next().unwrap_or_default();
    let rest = match marker {
        "//" | "///" | "//!" | "#" => comment[marker.len()..].trim(),
        _ => comment.trim(),
    };
    let is_url = rest.contains("://") && !rest.contains(' ');
    let is_row = rest.starts_with('|') && extension(file) == "rs" && marker.len() == 3;
    is_url || is_row
}
