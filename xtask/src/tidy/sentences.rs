//! No fact stands in two documents: no long sentence does, word for word.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    finding::{Finding, Kind},
    list::{List, not_needed},
    markdown,
    tree::{Tree, extension},
};

/// From how many words on a sentence may stand only once.
const WORDS_MIN: usize = 12;

/// What ends a sentence, or a cell of a table.
static END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[.!?](?:\s|$)|\|").expect("a valid pattern"));

/// Where a link leads, after its text.
static TARGET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\]\([^)]*\)|\]\[[^\]]*\]").expect("a valid pattern"));

/// Where a sentence stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    /// The document: a Markdown file, or the documentation of a crate.
    document: String,
    file: String,
    line: usize,
}

/// Finds the sentences that stand in two documents.
pub(super) fn check(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut spots: BTreeMap<String, Vec<Spot>> = BTreeMap::new();
    for (file, text) in tree.with_extension(&["md", "rs"]) {
        let document = match extension(file) {
            "md" => file.to_string(),
            _ => format!("the documentation of {}", package(tree, file)),
        };
        for (line, sentence) in sentences(file, text) {
            let spot = Spot { document: document.clone(), file: file.into(), line };
            spots.entry(sentence).or_default().push(spot);
        }
    }
    let mut findings = Vec::new();
    let mut listed: BTreeMap<String, &[String]> = BTreeMap::new();
    for entry in &list.sentence {
        let text = normal(&entry.text);
        let found = spots.get(&text).map_or(&[][..], Vec::as_slice);
        for place in &entry.places {
            if !found.iter().any(|spot| spot.file == *place) {
                let why = "this sentence no longer stands there";
                findings.push(not_needed(Kind::Sentences, tree, place, why));
            }
        }
        listed.insert(text, &entry.places);
    }
    for (sentence, spots) in &spots {
        let allowed = listed.get(sentence).copied().unwrap_or_default();
        findings.extend(repeated(sentence, spots, allowed));
    }
    findings
}

/// One finding for a sentence that stands where it may not.
fn repeated(sentence: &str, spots: &[Spot], allowed: &[String]) -> Option<Finding> {
    let others: Vec<&Spot> = spots.iter().filter(|spot| !allowed.contains(&spot.file)).collect();
    let documents: BTreeSet<&String> = others.iter().map(|spot| &spot.document).collect();
    let is_repeated = documents.len() > 1 || (!allowed.is_empty() && !others.is_empty());
    let last = others.last().filter(|_| is_repeated)?;
    let first = match spots.iter().find(|spot| spot.document != last.document) {
        Some(first) => format!("{}:{}", first.file, first.line),
        None => "the places that xtask/tidy.toml names".into(),
    };
    let start: Vec<&str> = sentence.split(' ').take(9).collect();
    let text = format!(
        "this sentence also stands in {first}: \"{} …\"; say it in one place and link it, or list \
         it under [[sentence]] in xtask/tidy.toml",
        start.join(" ")
    );
    Some(Finding::at(Kind::Sentences, &last.file, last.line, text))
}

/// The folder of the package that a file belongs to.
fn package<'a>(tree: &'a Tree, file: &str) -> &'a str {
    let within = |folder: &&str| file.starts_with(&format!("{folder}/"));
    tree.packages().map(|(folder, _)| folder).find(within).unwrap_or("this repository")
}

/// The long sentences of a document, or of a file's documentation, with the lines on which their
/// paragraphs begin.
fn sentences(file: &str, text: &str) -> Vec<(usize, String)> {
    let documentation;
    let text = if extension(file) == "rs" {
        documentation = self::documentation(text);
        &documentation
    } else {
        text
    };
    let mut sentences = Vec::new();
    let mut paragraph = (0, String::new());
    for (number, line) in markdown::prose(text) {
        let line = line.trim().trim_start_matches(['>', ' ']);
        let begins = ["- ", "* ", "#", "|"].iter().any(|start| line.starts_with(start));
        if line.is_empty() || begins {
            split(&mut sentences, std::mem::take(&mut paragraph));
        }
        if paragraph.1.is_empty() {
            paragraph.0 = number;
        }
        paragraph.1.push_str(line);
        paragraph.1.push(' ');
    }
    split(&mut sentences, paragraph);
    sentences
}

/// The documentation in a Rust file, on the lines on which it stands.
fn documentation(text: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        doc.unwrap_or_default().to_string() + "\n"
    };
    text.lines().map(line).collect()
}

fn split(sentences: &mut Vec<(usize, String)>, (line, paragraph): (usize, String)) {
    let long = END.split(&paragraph).map(normal);
    let long = long.filter(|sentence| sentence.split(' ').count() >= WORDS_MIN);
    sentences.extend(long.map(|sentence| (line, sentence)));
}

/// The words of a sentence and nothing else.
fn normal(sentence: &str) -> String {
    let text = TARGET.replace_all(sentence, " ").to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
