//! Checks that links and file names in documents and comments lead somewhere.

use std::collections::BTreeSet;

use regex::Regex;

use super::{
    finding::{Finding, Kind},
    list::{List, not_needed},
    markdown,
    tree::{Tree, extension},
};

/// What links to files of this repository from elsewhere begin with.
const REPOSITORY: &str = "https://github.com/treelock/treelock";

/// Finds links that lead nowhere, and names of files that there are not.
pub(super) fn check(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut findings = relative(tree);
    findings.extend(absolute(tree));
    findings.extend(names(tree, list));
    findings
}

/// Links between the documents, and from them to files.
fn relative(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.with_extension(&["md"]) {
        for (line, link) in markdown::links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { file.into() } else { join(file, path) };
            let problem = if !tree.has(&target) {
                Some("leads nowhere; name a file that exists".to_string())
            } else {
                missing_anchor(tree, &target, anchor)
            };
            if let Some(problem) = problem {
                findings.push(Finding::at(Kind::Links, file, line, format!("{link} {problem}")));
            }
        }
    }
    findings
}

/// Links to this repository as the web shows it.
fn absolute(tree: &Tree) -> Vec<Finding> {
    let pattern = format!(r"{}/(?:blob|tree)/main/([\w./-]+)", regex::escape(REPOSITORY));
    let pattern = Regex::new(&pattern).expect("a valid pattern");
    let mut findings = Vec::new();
    for (file, text) in &tree.texts {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(REPOSITORY));
        for (index, line) in lines {
            for found in pattern.captures_iter(line) {
                let path = found[1].trim_end_matches(['.', '/']);
                if !tree.has(path) {
                    let text = format!("{} leads nowhere; name a file that exists", &found[0]);
                    findings.push(Finding::at(Kind::Links, file, index + 1, text));
                }
            }
        }
    }
    findings
}

fn missing_anchor(tree: &Tree, target: &str, anchor: &str) -> Option<String> {
    let readme = format!("{target}/README.md");
    let document = if extension(target) == "md" { target } else { &readme };
    let text = tree.texts.get(document).filter(|_| !anchor.is_empty())?;
    let is_there = markdown::anchors(text).contains(anchor);
    (!is_there).then(|| format!("leads to no heading and no anchor of {document}"))
}

/// A path from the folder of a file, as one from the root.
fn join(file: &str, path: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    if path.starts_with('/') {
        parts.clear();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Names of source files in backticks, in documents and comments: each ends the path of a file.
fn names(tree: &Tree, list: &List) -> Vec<Finding> {
    let name = Regex::new(r"`([\w./-]+\.(?:rs|py|md|toml|txt))`").expect("a valid pattern");
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for (file, text) in tree.with_extension(&["rs", "py", "md"]) {
        for (number, line) in text.lines().enumerate() {
            let prose = match extension(file) {
                "md" => Some(line),
                "rs" => line.find("//").map(|start| &line[start..]),
                _ => line.find('#').map(|start| &line[start..]),
            };
            for found in name.captures_iter(prose.unwrap_or_default()) {
                let cited = found[1].trim_start_matches("../").trim_start_matches("./");
                let ending = format!("/{cited}");
                if tree.files.iter().any(|path| path == cited || path.ends_with(&ending)) {
                    continue;
                }
                needed.insert(cited.to_string());
                if !list.foreign_names.contains_key(cited) {
                    let text = format!("`{cited}` is the name of no file: name one that exists");
                    findings.push(Finding::at(Kind::Links, file, number + 1, text));
                }
            }
        }
    }
    let idle = list.foreign_names.keys().filter(|name| !needed.contains(*name));
    let why = "it is not cited, or a file of this repository";
    findings.extend(idle.map(|name| not_needed(Kind::Links, tree, name, why)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        assert_eq!(join("a/b/c.md", "../d.md"), "a/d.md");
        assert_eq!(join("c.md", "./d/"), "d");
        assert_eq!(join("a/c.md", "/d"), "d");
    }
}
