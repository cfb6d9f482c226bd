//! The links between the files of the repository: each leads somewhere.

use std::{fs, path::Path, process::Command};

use crate::root;

/// Fails if a relative link of a Markdown file leads to no file.
pub(crate) fn check() -> Result<(), String> {
    let output = Command::new("git").args(["ls-files", "*.md"]).current_dir(root()).output();
    let output = output.map_err(|error| format!("`git ls-files` cannot be started: {error}"))?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut links = 0;
    let mut broken = Vec::new();
    for file in listed.lines() {
        let path = root().join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        for link in relative(&text) {
            links += 1;
            let target = link.split('#').next().unwrap_or_default();
            let folder = path.parent().unwrap_or(Path::new("."));
            if !folder.join(target).exists() {
                broken.push(format!("{file}: {link} leads nowhere"));
            }
        }
    }
    if links == 0 {
        return Err("no link was found, so none was checked".into());
    }
    eprintln!("{links} links checked");
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// The targets of inline links that are neither elsewhere nor in the same file.
fn relative(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '\n']).next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let text = "[a](b/c.md) ![x](d.svg) [e](https://f.g) [h](#i) [j](k.rs#l)";
        assert!(relative(text).eq(["b/c.md", "d.svg", "k.rs#l"]));
        check().expect("every link leads somewhere");
    }
}
