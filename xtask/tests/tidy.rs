//! `cargo xtask tidy` finds each flaw that is planted in a small repository, and nothing in one
//! without flaws.

use std::{fs, path::Path, process::Command};

/// A repository without flaws: two crates, a document, a contract and a list.
const TIDY: [(&str, &str); 8] = [
    (
        "Cargo.toml",
        "[workspace]\nmembers = [\"a\"]\n\n[workspace.package]\nrust-version = \"1.88\"\n\n\
         [workspace.dependencies]\nserde = \"1\" # values that tools can read\n\n\
         [workspace.lints.rust]\nmissing_debug_implementations = \"warn\"\n",
    ),
    (
        "a/Cargo.toml",
        "[package]\nname = \"a\"\n\n[dependencies]\nserde.workspace = true\n\n\
         [lints]\nworkspace = true\n",
    ),
    (
        "a/src/lib.rs",
        "//! A crate; numbers such as C1 are those of CONTRACT.md.\n\nmod lower;\nmod upper;\n\n\
         pub use upper::Upper;\n",
    ),
    ("a/src/lower.rs", "pub struct Lower;\n"),
    (
        "a/src/upper.rs",
        "use crate::lower::Lower;\n\npub struct Upper(Lower);\n\n#[cfg(test)]\nmod tests {\n    \
         use super::*;\n\n    /// C1.\n    fn test(_: Upper) {}\n}\n",
    ),
    (
        "CONTRACT.md",
        "# Contract\n\n<a id=\"c1\"></a>**C1.** A rule.\n\n<a id=\"c2\"></a>**C2.** Another \
         (planned).\n",
    ),
    (
        "README.md",
        "# Title\n\nSee [C1](CONTRACT.md#c1), [below](#how-it-is-done) and `a/src/lower.rs`. It \
         needs Rust 1.88 or later.\n\n## How it is done\n",
    ),
    (
        "xtask/tidy.toml",
        "[[fact]]\nwhat = \"the oldest Rust\"\n\
         source = { files = \"Cargo.toml\", pattern = 'rust-version = \"(.*)\"' }\n\
         also = [{ files = \"*.md\", pattern = 'Rust ([0-9.]+) or later' }]\n",
    ),
];

/// Runs tidy on the small repository with some files put in place of, or beside, its own. Returns
/// whether it passes, and what it prints.
fn tidy(files: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (file, text) in TIDY.iter().chain(files) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let mut git = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(variable);
    }
    let status = git.args(["init", "--quiet"]).arg(folder.path()).status().expect("git starts");
    assert!(status.success(), "git makes a repository");
    run(folder.path())
}

fn run(root: &Path) -> (bool, String) {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = xtask.args(["tidy", "--root"]).arg(root).output().expect("xtask starts");
    (output.status.success(), String::from_utf8(output.stderr).expect("text"))
}

/// Asserts that the planted flaw is the only one, and that the line that is printed says this.
#[track_caller]
fn finds(files: &[(&str, &str)], lines: &[&str]) {
    let (is_tidy, printed) = tidy(files);
    assert!(!is_tidy, "the flaw is not found:\n{printed}");
    for line in lines {
        assert!(printed.lines().any(|found| found.starts_with(line)), "{line}\n\n{printed}");
    }
    let count = format!(": {} findings (", lines.len());
    assert!(printed.contains(&count), "only {} findings:\n{printed}", lines.len());
}

/// The small repository's file with one part of its text replaced.
fn changed(file: &str, from: &str, to: &str) -> String {
    let (_, text) = TIDY.iter().find(|(name, _)| *name == file).expect("a file of the repository");
    assert!(text.contains(from), "{file} has no {from:?}");
    text.replace(from, to)
}

#[test]
fn a_repository_without_flaws() {
    let (is_tidy, printed) = tidy(&[]);
    assert!(is_tidy, "{printed}");
    assert!(printed.contains("8 files: 0 findings (columns 0, lengths 0, circles 0"), "{printed}");
}

#[test]
fn a_folder_that_is_no_repository() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (is_tidy, printed) = run(folder.path());
    assert!(!is_tidy && printed.contains("`git ls-files` in "), "{printed}");
}

#[test]
fn wide_lines() {
    let words = "word ".repeat(25);
    let url = format!("https://example.org/{}", "x".repeat(100));
    let text = format!(
        "//! {words}\n\n/// {url}\n/// | {words} |\npub const A: &str =\n    \"{words}\";\n// \
         {url} x\n"
    );
    finds(
        &[
            ("a/src/lower.rs", &format!("{text}pub struct Lower;\n")),
            ("b.py", &format!("# {words}")),
        ],
        &[
            "a/src/lower.rs:1: columns: 129 columns; break the line at 100",
            "a/src/lower.rs:6: columns: 132 columns",
            "a/src/lower.rs:7: columns: 125 columns",
            "b.py:1: columns: 127 columns",
        ],
    );
}

#[test]
fn long_files_and_functions() {
    let long = "// line\n".repeat(501);
    let function = format!("pub struct Lower;\n\nfn long() {{\n{}}}\n", "    long();\n".repeat(69));
    let text = [("b.py", &*long.replace("//", "#")), ("a/src/lower.rs", &function)];
    finds(
        &text,
        &[
            "a/src/lower.rs:3: lengths: `long` has 71 lines; split it at 70, or give the reason",
            "b.py: lengths: 501 lines; split it at 500, or give the reason under [long-files]",
        ],
    );
    let list = "[long-files]\n\"b.py\" = \"generated\"\n[long-functions]\n\
                \"a/src/lower.rs: long\" = \"a table\"\n";
    let (is_tidy, printed) = tidy(&[text[0], text[1], ("xtask/tidy.toml", list)]);
    assert!(is_tidy, "what is listed may stay:\n{printed}");
}

#[test]
fn a_list_that_is_wrong() {
    finds(
        &[(
            "xtask/tidy.toml",
            "[long-files]\n\"a/src/lower.rs\" = \"\"\n\n[long-functions]\n\"b\" = \"c\"\n",
        )],
        &[
            "xtask/tidy.toml:2: lengths: give the reason why `a/src/lower.rs` is listed",
            "xtask/tidy.toml:2: lengths: remove `a/src/lower.rs`: no such file has more than 500",
            "xtask/tidy.toml:5: lengths: remove `b`: no such function has more than 70 lines",
        ],
    );
    finds(&[("xtask/tidy.toml", "[long]\n")], &["xtask/tidy.toml: lengths: TOML parse error"]);
}

#[test]
fn circles_of_two_files() {
    finds(
        &[(
            "a/src/lower.rs",
            "use crate::upper::Upper;\n\npub struct Lower(Option<Box<Upper>>);\n",
        )],
        &["a/src/lower.rs: circles: a circle of 2 files: lower.rs, upper.rs"],
    );
    // By a path in code, in a macro, in an attribute, and in the tests of a file.
    for text in [
        "pub struct Lower;\n\nfn f(_: crate::upper::Upper) {}\n",
        "pub struct Lower;\n\nfn f() -> usize {\n    vec![super::upper::Upper::LENGTH].len()\n}\n",
        "#[a(b = crate::upper::c)]\npub struct Lower;\n",
        "pub struct Lower;\n\n#[cfg(test)]\nmod tests {\n    use super::super::upper;\n}\n",
    ] {
        finds(
            &[("a/src/lower.rs", text)],
            &["a/src/lower.rs: circles: a circle of 2 files: lower.rs, upper.rs"],
        );
    }
}

#[test]
fn circles_say_which_lines_tie_them() {
    let (_, printed) =
        tidy(&[("a/src/lower.rs", "use super::upper::Upper;\n\npub struct Lower;\n")]);
    for line in ["lower.rs:1 → upper.rs: `super::upper::Upper`", "upper.rs:1 → lower.rs: `crate::"]
    {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

#[test]
fn circles_of_folders() {
    // `inner` is a folder whose module shows what its file defines.
    let root = changed("a/src/lib.rs", "mod lower;", "mod inner;\nmod lower;");
    let module = "mod file;\n\npub(crate) use file::File;\n";
    let file = "use crate::upper::Upper;\n\npub(crate) struct File(Upper);\n";
    let lower = "use crate::inner::File;\n\npub struct Lower(Box<File>);\n";
    let tree = [
        ("a/src/lib.rs", &*root),
        ("a/src/inner/mod.rs", module),
        ("a/src/inner/file.rs", file),
        ("a/src/lower.rs", lower),
    ];
    finds(&tree, &["a/src/inner/file.rs: circles: a circle of 3 files: inner/file.rs, lower.rs"]);
    let file = "pub(crate) struct File;\n\npub(crate) fn f() {\n    super::other();\n}\n";
    let module = "mod file;\n\npub(crate) use file::File;\n\npub(crate) fn other() {}\n";
    finds(
        &[tree[0], tree[1], ("a/src/inner/file.rs", file), ("a/src/inner/mod.rs", module)],
        &["a/src/inner/file.rs: circles: a circle of 2 files: file.rs, mod.rs"],
    );
}

#[test]
fn circles_in_examples_and_tests() {
    for folder in ["examples", "tests"] {
        let main = format!("a/{folder}/it/main.rs");
        let other = format!("a/{folder}/it/other.rs");
        let (_, printed) = tidy(&[
            (&main, "mod other;\n\nfn main() {\n    other::run();\n}\n\nstruct Shared;\n"),
            (&other, "use crate::Shared;\n\npub fn run() {}\n"),
        ]);
        let line = format!("{main}: circles: a circle of 2 files: main.rs, other.rs");
        assert!(printed.contains(&line), "{printed}");
    }
}

#[test]
fn re_exports_of_the_root() {
    let root = changed("a/src/lib.rs", "mod lower;", "mod lower;\nmod other;");
    finds(
        &[("a/src/lib.rs", &root), ("a/src/other.rs", "use crate::Upper;\n")],
        &["a/src/other.rs:1: circles: `crate::Upper` is a re-export: import it from its own \
           module, crate::upper"],
    );
}

#[test]
fn what_is_no_circle() {
    // The root may own and show what it likes; visibility and other crates are no imports.
    let root = changed("a/src/lib.rs", "pub use", "use serde::de;\npub use lower::Lower;\npub use");
    let lower =
        "use std::fmt;\n\npub(in crate::upper) fn f(_: fmt::Error) {}\n\npub struct Lower;\n";
    let (is_tidy, printed) = tidy(&[("a/src/lib.rs", &root), ("a/src/lower.rs", lower)]);
    assert!(is_tidy, "{printed}");
}

#[test]
fn text_that_is_no_rust() {
    finds(&[("a/src/lower.rs", "struct;\n")], &["a/src/lower.rs:1: circles: this is no Rust: "]);
}

#[test]
fn numbers_of_the_contract() {
    // In two parts, since this file is checked too.
    let wrong = ["C", "77"].concat();
    finds(
        &[("a/src/lower.rs", &format!("/// {wrong}.\npub struct Lower;\n"))],
        &[&format!("a/src/lower.rs:1: contract: {wrong} stands nowhere in CONTRACT.md")],
    );
    let contract = changed("CONTRACT.md", " (planned)", "");
    let two = ["C", "2"].concat();
    finds(
        &[("CONTRACT.md", &contract)],
        &[&format!("CONTRACT.md:5: contract: no test cites {two}: name it in the comment")],
    );
    finds(
        &[("TESTING.md", "# Tests\n\nSee CONTRACT.md.\n")],
        &[&format!("TESTING.md: contract: {}1 is missing: say here which tests hold it", "C")],
    );
    let contract = changed("CONTRACT.md", "c2\"></a>**C2.**", "c1\"></a>**C1.**");
    finds(
        &[("CONTRACT.md", &contract)],
        &[&format!("CONTRACT.md:5: contract: {}1 stands here twice", "C")],
    );
    let root = changed("a/src/lib.rs", "CONTRACT.md", "no document");
    finds(
        &[("a/src/lib.rs", &root)],
        &["a/src/lib.rs: contract: comments of this crate cite numbers of the contract: say in"],
    );
    finds(
        &[("b.md", &format!("As {}1 says.\n", "C"))],
        &["b.md:1: contract: numbers of the contract are cited: link CONTRACT.md in this document"],
    );
}

#[test]
fn links_and_names_of_files() {
    finds(
        &[("b.md", "[a](c.md) and\n[b](README.md#what)\n\n`d/e.rs`\n\n```\n[c](f.md)\n```\n")],
        &[
            "b.md:1: links: c.md leads nowhere; name a file that exists",
            "b.md:2: links: README.md#what leads to no heading and no anchor of README.md",
            "b.md:4: links: `d/e.rs` is the name of no file: name one that exists",
        ],
    );
    // In parts, since this file is checked too.
    let url = ["https://github.com/treelock", "/treelock/blob/main/nowhere.md"].concat();
    let name = "`gone.".to_string() + "rs`";
    let text = format!("/// See {url}, and {name}.\npub struct Lower;\n");
    let wrong = format!("a/src/lower.rs:1: links: {url} leads nowhere");
    let list = "[foreign-names]\n\"gone.rs\" = \"of another program\"\n";
    finds(
        &[("a/src/lower.rs", &text)],
        &[&wrong, &format!("a/src/lower.rs:1: links: {name} is the name of no file")],
    );
    finds(&[("a/src/lower.rs", &text), ("xtask/tidy.toml", list)], &[&wrong]);
    finds(
        &[("xtask/tidy.toml", list)],
        &["xtask/tidy.toml:2: links: remove `gone.rs`: it is not cited, or a file of this"],
    );
}

#[test]
fn dependencies() {
    for own in ["serde = \"1\"", "serde = { version = \"1\" }", "serde = { git = \"x\" }"] {
        let manifest = changed("a/Cargo.toml", "serde.workspace = true", own);
        let root = changed("Cargo.toml", "serde = \"1\" # values that tools can read\n", "");
        finds(
            &[("a/Cargo.toml", &manifest), ("Cargo.toml", &root)],
            &["a/Cargo.toml:5: dependencies: `serde` is declared here: write `serde.workspace = "],
        );
    }
    let root = changed("Cargo.toml", "serde = \"1\" #", "\ntoml = \"1\"\nserde = \"1\" #");
    finds(
        &[("Cargo.toml", &root)],
        &[
            "Cargo.toml:9: dependencies: `toml` has no reason: say in a comment why it is here",
            "Cargo.toml:9: dependencies: no crate uses `toml`: remove it",
        ],
    );
    let root = changed("Cargo.toml", "missing_debug_implementations", "missing_docs");
    finds(
        &[("Cargo.toml", &root)],
        &["Cargo.toml: dependencies: write `missing_debug_implementations = \"warn\"` under"],
    );
    let manifest = changed("a/Cargo.toml", "[lints]", "[other]");
    finds(
        &[("a/Cargo.toml", &manifest)],
        &["a/Cargo.toml: dependencies: the lints of the workspace are missing: write"],
    );
}

#[test]
fn facts_that_differ() {
    let readme = changed("README.md", "1.88", "1.85");
    finds(
        &[("README.md", &readme)],
        &["README.md:3: facts: the oldest Rust is 1.88 by Cargo.toml:5, and 1.85 here: say the"],
    );
    let readme = changed("README.md", "Rust 1.88 or later", "a compiler");
    finds(
        &[("README.md", &readme)],
        &["xtask/tidy.toml:2: facts: the oldest Rust: \"Rust ([0-9.]+) or later\" is found \
             nowhere"],
    );
    let list = changed("xtask/tidy.toml", "rust-version", "rust");
    finds(
        &[("xtask/tidy.toml", &list)],
        &["xtask/tidy.toml:2: facts: the oldest Rust: the source \"rust = "],
    );
}

#[test]
fn sentences_that_stand_twice() {
    let sentence = "This is a sentence of more than twelve words, and it says *something* of note";
    let other = sentence.replace("a sentence", "[a sentence](README.md)\nthat is one").to_string();
    let said = sentence.replace("a sentence", "a sentence that is one");
    finds(
        &[("b.md", &format!("{said}. And more.\n")), ("c.md", &format!("- {other}!\n"))],
        &["c.md:1: sentences: \"this is a sentence that is one of more …\" also stands in b.md:1;"],
    );
    finds(
        &[
            ("b.md", &format!("{sentence}.\n")),
            ("a/src/lower.rs", &format!("/// {sentence}.\npub struct Lower;\n")),
        ],
        &["b.md:1: sentences: \"this is a sentence of more than twelve words …\" also stands in"],
    );
    // The same verb of two crates says the same, and another verb does not.
    let manifest = changed("a/Cargo.toml", "\"a\"", "\"b\"");
    for (verb, is_tidy) in [("ask", true), ("tell", false)] {
        let lower = format!("pub struct Lower;\n\n/// {sentence}.\n#[inline]\npub fn ask() {{}}\n");
        let other = format!("/// {sentence}.\npub async fn {verb}() {{}}\n");
        let (found, printed) = tidy(&[
            ("a/src/lower.rs", &lower),
            ("b/Cargo.toml", &manifest),
            ("b/src/lib.rs", &other),
        ]);
        assert_eq!(found, is_tidy, "{printed}");
    }
    let list = format!(
        "[[sentence]]\ntext = '{sentence}'\nplaces = [\n\"b.md\",\n\"gone.md\"]\nreason = 'a \
         motto'\n"
    );
    finds(
        &[
            ("b.md", sentence),
            ("c.md", &format!("So: {sentence}, at last.")),
            ("xtask/tidy.toml", &list),
        ],
        &[
            "c.md:1: sentences: \"this is a sentence of more than twelve words …\" may not stand",
            "xtask/tidy.toml:5: sentences: remove `gone.md`: a sentence that is listed no longer",
        ],
    );
}
