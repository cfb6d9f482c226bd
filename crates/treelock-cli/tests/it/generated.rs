//! Completions and man pages.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::scene::Scene;

#[test]
fn completions_for_each_shell() {
    let scene = Scene::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let done = scene.done(&["completions", shell]);
        assert_eq!(done.code(), 0);
        for word in ["treelock", "conflict-exit-code", "doctor"] {
            assert!(done.stdout().contains(word), "{shell}: {word}");
        }
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    let script = scene.done(&["completions", "bash"]).stdout();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn man_pages() {
    let scene = Scene::new();
    let page = scene.done(&["man"]).stdout();
    assert!(page.contains(".TH treelock 1"), "{page}");
    assert_eq!(scene.done(&["man", "new/pages"]).code(), 0);
    let names = ["", "-run", "-hold", "-release", "-ls", "-who", "-break", "-doctor"];
    for name in names.into_iter().chain(["-completions", "-man"]) {
        let page = fs::read_to_string(scene.path(format!("new/pages/treelock{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    let run = fs::read_to_string(scene.path("new/pages/treelock-run.1")).unwrap();
    assert!(run.contains("128+N") && run.contains("TREELOCK_TOKEN") && run.contains("75"));
    assert!(run.contains(".SH NOTES\n.nf\nExamples:\n  treelock run "), "{run}");
    assert!(run.ends_with("\n.fi\n"), "{run}");
    let version = format!("\"treelock {}\"", env!("CARGO_PKG_VERSION"));
    assert!(run.contains(&version), "{run}");
    assert!(page.contains("\n.fi\n.SH VERSION\n"), "{page}");
    assert!(!scene.table().exists(), "the lock table's directory is no place for pages");
}

#[test]
fn a_directory_that_takes_no_pages() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    let done = scene.done(&["man", "file/below"]);
    assert_eq!(done.code(), 74);
    assert!(done.stderr().contains("cannot write into \"file/below\""), "{}", done.stderr());
}
