//! Checks values that appear in several places, such as versions: all places must agree.

use regex::Regex;

use super::{
    finding::{Finding, Kind},
    list::{self, Fact, List, Place},
    tree::Tree,
};

/// Finds the places that contradict the one that decides.
pub(super) fn check(tree: &Tree, list: &List) -> Vec<Finding> {
    list.fact.iter().flat_map(|fact| one(tree, fact)).collect()
}

fn one(tree: &Tree, fact: &Fact) -> Vec<Finding> {
    let broken = |text| vec![Finding::at(Kind::Facts, list::PATH, line(tree, &fact.what), text)];
    let sources = match values(tree, &fact.source) {
        Ok(sources) => sources,
        Err(error) => return broken(error),
    };
    let [(source, source_line, wanted)] = &sources[..] else {
        return broken(format!(
            "{}: the source {:?} is found {} times in {}; it has to be found once",
            fact.what,
            fact.source.pattern,
            sources.len(),
            fact.source.files
        ));
    };
    let mut findings = Vec::new();
    for place in &fact.also {
        let found = match values(tree, place) {
            Ok(found) => found,
            Err(error) => return broken(error),
        };
        if found.is_empty() {
            findings.extend(broken(format!(
                "{}: {:?} is found nowhere in {}: remove or mend it",
                fact.what, place.pattern, place.files
            )));
        }
        for (file, line, value) in found.into_iter().filter(|(_, _, value)| value != wanted) {
            let text = format!(
                "{} is {wanted} by {source}:{source_line}, and {value} here: say the same",
                fact.what
            );
            findings.push(Finding::at(Kind::Facts, &file, line, text));
        }
    }
    findings
}

/// What a pattern finds: file, line and value.
fn values(tree: &Tree, place: &Place) -> Result<Vec<(String, usize, String)>, String> {
    let pattern = Regex::new(&place.pattern).map_err(|error| error.to_string())?;
    let is_wanted = |file: &str| match place.files.strip_prefix('*') {
        Some(ending) => file.ends_with(ending),
        None => file == place.files,
    };
    let mut values = Vec::new();
    for (file, text) in tree.texts.iter().filter(|(file, _)| is_wanted(file)) {
        for (index, line) in text.lines().enumerate() {
            for found in pattern.captures_iter(line) {
                let groups: Vec<&str> =
                    found.iter().skip(1).flatten().map(|group| group.as_str()).collect();
                values.push((file.clone(), index + 1, groups.join(".")));
            }
        }
    }
    Ok(values)
}

fn line(tree: &Tree, what: &str) -> usize {
    list::line_of(tree.texts.get(list::PATH).map_or("", String::as_str), what)
}
