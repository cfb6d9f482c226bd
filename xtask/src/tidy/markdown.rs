//! As much of Markdown as the checks need.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`[^`]*`").expect("a valid pattern"));

static EXPLICIT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"<a (?:id|name)="([^"]+)">"#).expect("a valid pattern"));

static TARGET: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\]\([^)]*\)").expect("a valid pattern"));

/// A link in a line, the definition of one, or a link in HTML.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"\]\(<?([^)\s>]+)|^ {0,3}\[[^\]^]+\]:\s*<?([^\s>]+)|\b(?:href|src)="([^"]+)""#;
    Regex::new(pattern).expect("a valid pattern")
});

/// The lines of a document outside of code blocks, with their numbers from 1.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let start = line.trim_start().trim_start_matches("> ");
        let marker = ["```", "~~~"].into_iter().find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, Some(marker)) => fence = Some(marker),
            (None, None) => return Some((index + 1, line)),
            _ => {}
        }
        None
    })
}

/// A line with blanks in place of what stands in backticks.
pub(super) fn without_code(line: &str) -> String {
    CODE.replace_all(line, |found: &regex::Captures| " ".repeat(found[0].len())).into_owned()
}

/// The names by which places of a document can be linked: of headings, as GitHub makes them, and of
/// explicit anchors.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (_, line) in prose(text) {
        anchors.extend(EXPLICIT.captures_iter(line).map(|found| found[1].to_string()));
        let title = line.trim_start_matches('#');
        let level = line.len() - title.len();
        if !(1..=6).contains(&level) || !title.starts_with(' ') {
            continue;
        }
        let name = anchor(&EXPLICIT.replace_all(title, ""));
        let times = seen.entry(name.clone()).or_default();
        anchors.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    anchors
}

/// The anchor of a heading.
fn anchor(title: &str) -> String {
    let title = TARGET.replace_all(title.trim(), "");
    let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
    title.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of all links in a document, with the lines on which they stand.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for found in LINK.captures_iter(&line) {
            let target = found.iter().skip(1).flatten().next().expect("one of the three");
            links.push((number, target.as_str().to_string()));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let text = "[a](b/c.md) ![x](d.svg \"y\") [e](https://f.g) [h](#i) `[j](k.rs)`\n\
                    ```\n[l](m)\n```\n[n]: o.md";
        let found: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
        assert_eq!(found, ["b/c.md", "d.svg", "https://f.g", "#i", "o.md"]);
    }

    #[test]
    fn headings_and_anchors_are_found() {
        let text = "# What `it` costs, in [all](x.md)\n## A\n## A\n<a id=\"c7\"></a>C7\n#no\n";
        let found = anchors(text);
        let wanted = ["a", "a-1", "c7", "what-it-costs-in-all"];
        assert_eq!(found, wanted.map(String::from).into());
    }
}
