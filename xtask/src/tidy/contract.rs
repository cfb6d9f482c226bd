//! Checks the numbers of the contract: each cited number is defined in CONTRACT.md, and each number
//! that is built is cited by a test and listed in TESTING.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;

use super::{
    finding::{Finding, Kind},
    tree::{Tree, extension, is_test},
};

/// The file with the contract.
const PATH: &str = "CONTRACT.md";

/// The file that says which tests check which number.
const TESTING: &str = "TESTING.md";

/// The word that marks a number of the contract as not built yet.
const PLANNED: &str = "(planned)";

/// A number as comments and documents cite it.
static CITATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?:^|[^\w#/.&-])C([1-9][0-9]?)\b").expect("a valid pattern"));

/// Finds numbers that are cited and do not exist, and those that no test cites.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let numbers = numbers(tree, &mut findings);
    let mut tested = BTreeSet::new();
    let mut citing = BTreeMap::new();
    for (file, text) in tree.with_extension(&["rs", "py", "pyi", "md", "toml", "txt"]) {
        for (number, line) in cited(file, text) {
            if !numbers.contains_key(&number) {
                let text = format!("C{number} stands nowhere in {PATH}: cite a number that does");
                findings.push(Finding::at(Kind::Contract, file, line, text));
            }
            if is_test(file, text, line) {
                tested.insert(number);
            }
            citing.entry(file).or_insert(line);
        }
    }
    let explained: Option<BTreeSet<u32>> = tree.texts.get(TESTING).map(|text| {
        let cited = cited(TESTING, text).into_iter();
        cited.map(|(number, _)| number).collect()
    });
    for (number, (line, _)) in numbers.iter().filter(|(_, (_, is_planned))| !is_planned) {
        if !tested.contains(number) {
            let text = format!(
                "no test cites C{number}: name it in the comment of the test that shows it, or \
                 say {PLANNED}"
            );
            findings.push(Finding::at(Kind::Contract, PATH, *line, text));
        }
        if explained.as_ref().is_some_and(|explained| !explained.contains(number)) {
            let text = format!("C{number} is missing: say here which tests hold it");
            findings.push(Finding::of(Kind::Contract, TESTING, text));
        }
    }
    findings.extend(unexplained(tree, &citing));
    findings
}

/// The numbers of the contract, with the line of each and whether it is planned.
fn numbers(tree: &Tree, findings: &mut Vec<Finding>) -> BTreeMap<u32, (usize, bool)> {
    let anchor = Regex::new(r#"<a id="c(\d+)"></a>"#).expect("a valid pattern");
    let mut numbers = BTreeMap::new();
    let mut last = None;
    for (index, line) in tree.texts.get(PATH).map_or("", String::as_str).lines().enumerate() {
        if line.starts_with('#') {
            last = None;
        }
        if let Some(found) = anchor.captures(line) {
            let number: u32 = found[1].parse().expect("digits, and few of them");
            last = Some(number);
            if numbers.insert(number, (index + 1, false)).is_some() {
                let text = format!("C{number} stands here twice: a number means one thing");
                findings.push(Finding::at(Kind::Contract, PATH, index + 1, text));
            }
        }
        if let Some((_, is_planned)) = last.and_then(|number| numbers.get_mut(&number)) {
            *is_planned |= line.contains(PLANNED);
        }
    }
    numbers
}

/// The numbers that a file cites, with the line of each. In code only comments and texts cite.
fn cited(file: &str, text: &str) -> Vec<(u32, usize)> {
    let is_rust = extension(file) == "rs";
    let mut cited = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| line.contains('C')) {
        for found in CITATION.captures_iter(line) {
            let number = found.get(1).expect("the group is not optional");
            let before = &line[..number.start()];
            if !is_rust || before.contains("//") || before.contains('"') {
                cited.push((number.as_str().parse().expect("at most two digits"), index + 1));
            }
        }
    }
    cited
}

/// Finds documents and crates that cite numbers but do not say where these are defined.
fn unexplained(tree: &Tree, citing: &BTreeMap<&str, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let says = |file: &str| tree.texts.get(file).is_some_and(|text| text.contains(PATH));
    for (file, line) in citing.iter().filter(|(file, _)| extension(file) == "md") {
        if *file != PATH && !says(file) {
            let text = format!("numbers of the contract are cited: link {PATH} in this document");
            findings.push(Finding::at(Kind::Contract, file, *line, text));
        }
    }
    for (folder, _) in tree.packages() {
        let source = format!("{folder}/src/");
        let cites = citing.keys().any(|file| file.starts_with(&source));
        let roots = ["lib.rs", "main.rs"].map(|name| format!("{source}{name}"));
        let root = roots.iter().find(|root| tree.files.contains(*root));
        if let Some(root) = root.filter(|root| cites && !says(root)) {
            let text = format!(
                "comments of this crate cite numbers of the contract: say in the documentation \
                 of the crate that they stand in {PATH}"
            );
            findings.push(Finding::of(Kind::Contract, root, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn citations_are_told_from_identifiers() {
        let text = "// C1, (C22) and C3–C4, but not aC5, C123, #C6, 0xC7\nstruct C8<C9>;\n\"C2\"";
        let found: Vec<u32> = cited("a.rs", text).into_iter().map(|(number, _)| number).collect();
        assert_eq!(found, [1, 22, 3, 4, 2]);
    }
}
