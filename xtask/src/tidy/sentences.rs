//! Checks that no fact is stated in two documents: no long sentence may be, word for word.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    finding::{Finding, Kind},
    list::{List, Sentence, not_needed},
    markdown,
    tree::{Tree, extension},
};

/// The number of words from which on a sentence may appear only once.
const WORDS_MIN: usize = 12;

/// What ends a sentence, or a cell of a table.
static END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[.!?][*_)]*(?:\s|$)|\|").expect("a valid pattern"));

/// Where a link leads, after its text.
static TARGET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\]\([^)]*\)|\]\[[^\]]*\]").expect("a valid pattern"));

/// The name in the first line of an item, a field or a variant.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    const WORDS: &str = "pub|async|const|unsafe|fn|struct|enum|trait|type|static|mod|union";
    let pattern = format!(r"^(?:(?:{WORDS})(?:\([\w:\s]+\))?\s+)*(\w+)");
    Regex::new(&pattern).expect("a valid pattern")
});

/// Where a sentence stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    /// The document: a Markdown file, or the documentation of a crate.
    document: String,
    file: String,
    line: usize,
    /// The name of the item that is documented, if it is documentation of one.
    item: Option<String>,
}

/// Finds the sentences that stand in two documents, and those that stand where the list forbids it.
pub(super) fn check(tree: &Tree, list: &List) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listed: Vec<(String, &Sentence)> =
        list.sentence.iter().map(|entry| (normal(&entry.text), entry)).collect();
    let mut spots: BTreeMap<String, Vec<Spot>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (file, text) in tree.with_extension(&["md", "rs"]) {
        let document = match extension(file) {
            "md" => file.to_string(),
            _ => format!("the documentation of {}", package(tree, file)),
        };
        let lines: Vec<&str> = text.lines().collect();
        for (line, paragraph) in paragraphs(file, text) {
            let words = normal(&paragraph);
            for (sentence, entry) in listed.iter().filter(|(sentence, _)| words.contains(sentence))
            {
                seen.insert((sentence.clone(), file));
                if !entry.places.iter().any(|place| place == file) {
                    let text = format!(
                        "\"{} …\" may not stand here: link one of the places that \
                         xtask/tidy.toml names, or name this one there",
                        start(sentence)
                    );
                    findings.push(Finding::at(Kind::Sentences, file, line, text));
                }
            }
            for sentence in sentences(&paragraph) {
                if listed.iter().any(|(listed, _)| sentence.contains(listed)) {
                    continue;
                }
                let item = item(&lines[line - 1..]);
                let spot = Spot { document: document.clone(), file: file.into(), line, item };
                spots.entry(sentence).or_default().push(spot);
            }
        }
    }
    for (sentence, entry) in &listed {
        for place in entry.places.iter().filter(|place| !seen.contains(&(sentence.clone(), place)))
        {
            let why = "a sentence that is listed no longer stands there";
            findings.push(not_needed(Kind::Sentences, tree, place, why));
        }
    }
    findings.extend(spots.iter().filter_map(|(sentence, spots)| repeated(sentence, spots)));
    findings
}

/// Returns the finding about a sentence that appears in several documents.
fn repeated(sentence: &str, spots: &[Spot]) -> Option<Finding> {
    // The same verb of two engines says the same, because readers of one crate's docs do not read
    // the other's.
    let items: BTreeSet<&Option<String>> = spots.iter().map(|spot| &spot.item).collect();
    if items.len() == 1 && !items.contains(&None) {
        return None;
    }
    let last = spots.last()?;
    let first = spots.iter().find(|spot| spot.document != last.document)?;
    let text = format!(
        "\"{} …\" also stands in {}:{}; say it in one place and link it, or list it under \
         [[sentence]] in xtask/tidy.toml",
        start(sentence),
        first.file,
        first.line
    );
    Some(Finding::at(Kind::Sentences, &last.file, last.line, text))
}

/// The first words of a sentence.
fn start(sentence: &str) -> String {
    sentence.split(' ').take(9).collect::<Vec<_>>().join(" ")
}

/// The folder of the package that a file belongs to.
fn package<'a>(tree: &'a Tree, file: &str) -> &'a str {
    let within = |folder: &&str| file.starts_with(&format!("{folder}/"));
    tree.packages().map(|(folder, _)| folder).find(within).unwrap_or("this repository")
}

/// The name of the item that the documentation of these lines belongs to.
fn item(lines: &[&str]) -> Option<String> {
    let is_doc = |line: &&&str| line.trim_start().starts_with("///");
    lines.first().filter(is_doc)?;
    let is_before = |line: &&str| ["///", "#[", "//"].iter().any(|start| line.starts_with(start));
    let code = lines.iter().map(|line| line.trim_start()).find(|line| !is_before(line))?;
    NAME.captures(code).map(|found| found[1].to_string())
}

/// The paragraphs of a document, or of a file's documentation, with their first lines.
fn paragraphs(file: &str, text: &str) -> Vec<(usize, String)> {
    let documentation;
    let text = if extension(file) == "rs" {
        documentation = self::documentation(text);
        &documentation
    } else {
        text
    };
    let mut paragraphs = vec![(1, String::new())];
    for (number, line) in markdown::prose(text) {
        let line = line.trim().trim_start_matches(['>', ' ']);
        let begins = ["- ", "* ", "#", "|"].iter().any(|start| line.starts_with(start));
        if line.is_empty() || begins {
            paragraphs.push((number, String::new()));
        }
        let last = paragraphs.last_mut().expect("it begins with one");
        if last.1.is_empty() {
            last.0 = number;
        }
        if !line.is_empty() {
            last.1 += line;
            last.1.push(' ');
        }
    }
    paragraphs
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

/// The long sentences of a paragraph.
fn sentences(paragraph: &str) -> impl Iterator<Item = String> {
    let sentences = END.split(paragraph).map(normal);
    sentences.filter(|sentence| sentence.split(' ').count() >= WORDS_MIN)
}

/// The words of a sentence and nothing else.
fn normal(sentence: &str) -> String {
    let text = TARGET.replace_all(sentence, " ").to_lowercase();
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
