//! `xtask/tidy.toml`: what is known and accepted, each entry with its reason.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{finding::Finding, finding::Kind, tree::Tree};

/// The path of the list, below the root of the repository.
pub(super) const PATH: &str = "xtask/tidy.toml";

/// What the list says. Nothing is listed in a tree that has no list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct List {
    /// Files that may be longer than others, with the reason.
    pub(super) long_files: BTreeMap<String, String>,
    /// Functions that may be longer than others, as `file: name`, with the reason.
    pub(super) long_functions: BTreeMap<String, String>,
    /// File names in backticks that mean no file of this repository, with what they mean.
    pub(super) foreign_names: BTreeMap<String, String>,
    /// Values that stand in several places and must be the same there.
    pub(super) fact: Vec<Fact>,
    /// Sentences that may stand in several documents.
    pub(super) sentence: Vec<Sentence>,
}

/// A value, the place that decides it, and the places that repeat it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fact {
    pub(super) what: String,
    pub(super) source: Place,
    pub(super) also: Vec<Place>,
}

/// Where a value is found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// A path, or an ending such as `*.md`.
    pub(super) files: String,
    /// A regular expression; its groups, joined by dots, are the value.
    pub(super) pattern: String,
}

/// A sentence that is meant to stand in several documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sentence {
    pub(super) text: String,
    pub(super) places: Vec<String>,
    pub(super) reason: String,
}

impl List {
    /// Reads the list. What is wrong with it as a whole is a finding.
    pub(super) fn read(tree: &Tree, findings: &mut Vec<Finding>) -> Self {
        let Some(text) = tree.texts.get(PATH) else { return Self::default() };
        let list: Self = match toml::from_str(text) {
            Ok(list) => list,
            Err(error) => {
                findings.push(Finding::of(Kind::Lengths, PATH, error.to_string()));
                Self::default()
            }
        };
        let reasons = [&list.long_files, &list.long_functions, &list.foreign_names];
        let given = reasons.iter().flat_map(|map| map.iter());
        let of_sentences = list.sentence.iter().map(|entry| (&entry.text, &entry.reason));
        for (entry, reason) in given.chain(of_sentences) {
            if reason.trim().is_empty() {
                let text = format!("give the reason why `{entry}` is listed");
                findings.push(Finding::at(
                    Kind::Lengths,
                    PATH,
                    line_of(text_of(tree), entry),
                    text,
                ));
            }
        }
        list
    }
}

/// A finding about an entry of the list that nothing needs any more.
pub(super) fn not_needed(kind: Kind, tree: &Tree, entry: &str, why: &str) -> Finding {
    let text = format!("remove `{entry}`: {why}");
    Finding::at(kind, PATH, line_of(text_of(tree), entry), text)
}

fn text_of(tree: &Tree) -> &str {
    tree.texts.get(PATH).map_or("", String::as_str)
}

/// The first line that contains a text, or the first of all.
pub(super) fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).map_or(1, |index| index + 1)
}
