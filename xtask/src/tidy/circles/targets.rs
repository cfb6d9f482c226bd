//! Finds the files with which the compiler begins.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::tidy::tree::Tree;

/// The root files of all targets: what Cargo finds by itself, and what manifests name.
pub(super) fn roots(tree: &Tree) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    for (folder, text) in tree.packages() {
        let mut add = |path: String| {
            if tree.files.contains(&path) {
                roots.insert(path);
            }
        };
        for name in ["src/lib.rs", "src/main.rs", "build.rs"] {
            add(format!("{folder}/{name}"));
        }
        for place in ["src/bin", "examples", "tests", "benches"] {
            let start = format!("{folder}/{place}/");
            for file in
                tree.files.range(start.clone()..).take_while(|file| file.starts_with(&start))
            {
                let rest = &file[start.len()..];
                if (!rest.contains('/') && rest.ends_with(".rs")) || is_main(rest) {
                    add(file.clone());
                }
            }
        }
        for path in named(text) {
            add(format!("{folder}/{path}"));
        }
    }
    roots
}

/// Whether this is the main file of a target in a folder of its own.
fn is_main(rest: &str) -> bool {
    rest.split_once('/').is_some_and(|(_, file)| file == "main.rs")
}

/// The paths that a manifest states for its targets.
fn named(manifest: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().unwrap_or_default();
    let lists = ["bin", "example", "test", "bench"].into_iter();
    let targets = lists.filter_map(|name| manifest.get(name)?.as_array()).flatten();
    let paths = targets.chain(manifest.get("lib")).filter_map(|target| target.get("path"));
    paths.filter_map(Value::as_str).map(String::from).collect()
}
