//! The files of the repository, read once.

use std::{collections::BTreeMap, collections::BTreeSet, fs, path::Path, process::Command};

/// What is read as text; of all other files only the names are of interest.
const TEXTS: [&str; 6] = ["rs", "py", "pyi", "md", "toml", "txt"];

/// The files of a repository: those that git tracks, and those that it would.
pub(super) struct Tree {
    /// The paths of all files, below the root, with `/` between the parts.
    pub(super) files: BTreeSet<String>,
    /// The text files by path.
    pub(super) texts: BTreeMap<String, String>,
    /// The Rust files by path, as the parser reads them, or what it cannot read.
    pub(super) rust: BTreeMap<String, syn::Result<syn::File>>,
}

impl Tree {
    /// Reads all files below the root of a repository.
    pub(super) fn read(root: &Path) -> Result<Self, String> {
        let files: BTreeSet<String> =
            listed(root)?.into_iter().filter(|file| root.join(file).is_file()).collect();
        let mut texts = BTreeMap::new();
        for file in files.iter().filter(|file| TEXTS.contains(&extension(file))) {
            let text = fs::read_to_string(root.join(file));
            texts.insert(file.clone(), text.map_err(|error| format!("{file}: {error}"))?);
        }
        let is_rust = |file: &String| extension(file) == "rs";
        let rust = texts.iter().filter(|(file, _)| is_rust(file));
        let rust = rust.map(|(file, text)| (file.clone(), syn::parse_file(text))).collect();
        Ok(Self { files, texts, rust })
    }

    /// The text files whose names end in one of these, without the dot.
    pub(super) fn with_extension<'a>(
        &'a self,
        wanted: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let texts = self.texts.iter().map(|(file, text)| (file.as_str(), text.as_str()));
        texts.filter(|(file, _)| wanted.contains(&extension(file)))
    }

    /// The folders of all packages, with the text of their manifests.
    pub(super) fn packages(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.texts.iter().map(|(file, text)| (file.as_str(), text.as_str()));
        texts.filter_map(|(file, text)| Some((file.strip_suffix("/Cargo.toml")?, text)))
    }

    /// Whether a path below the root is a file or a folder with files.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        let after = self.files.range(folder.clone()..).next();
        path.is_empty()
            || self.files.contains(path)
            || after.is_some_and(|file| file.starts_with(&folder))
    }
}

/// What follows the last dot of a file's name.
pub(super) fn extension(file: &str) -> &str {
    Path::new(file).extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// Whether a file, or this line of it (counted from 1), is a test.
pub(super) fn is_test(file: &str, text: &str, line: usize) -> bool {
    // The suite of the engines is nothing but tests, and the gates hold the cost.
    const ALL_TESTS: [&str; 2] = ["crates/treelock-conformance/", "bench/src/bin/ir.rs"];
    let folder = file.split('/').any(|part| part == "tests");
    let unit = || text.lines().take(line).any(|line| line.trim() == "#[cfg(test)]");
    folder || ALL_TESTS.iter().any(|start| file.starts_with(start)) || unit()
}

fn listed(root: &Path) -> Result<Vec<String>, String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    // Git sets these in its hooks, where they mean another repository.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(variable);
    }
    let output = git.output();
    let output = output.map_err(|error| format!("`git ls-files` cannot be started: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`git ls-files` in {}: {}", root.display(), why.trim()));
    }
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(String::from).collect())
}
