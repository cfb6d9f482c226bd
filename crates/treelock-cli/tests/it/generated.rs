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
    for name in ["", "-run", "-ls", "-who", "-break", "-doctor", "-completions", "-man"] {
        let page = fs::read_to_string(scene.path(format!("new/pages/treelock{name}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}");
    }
    let run = fs::read_to_string(scene.path("new/pages/treelock-run.1")).unwrap();
    assert!(run.contains("128+N") && run.contains("TREELOCK_TOKEN") && run.contains("75"));
}
