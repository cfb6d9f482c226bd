//! `--paths`: all spellings of one file are one node.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::scene::Scene;

/// The node that a spelling becomes, as `who` prints it.
fn node(scene: &Scene, from: &Path, spelling: &str) -> String {
    let mut command = scene.treelock(["who", "--paths", "--", spelling]);
    let output = command.current_dir(from).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let node = text.strip_prefix("write ").and_then(|text| text.split_once(" would"));
    node.unwrap_or_else(|| panic!("{spelling}: {}", String::from_utf8_lossy(&output.stderr)))
        .0
        .into()
}

#[test]
fn all_spellings_are_one_node() {
    let scene = Scene::new();
    let dir = scene.dir().canonicalize().unwrap();
    fs::create_dir_all(dir.join("real/deep")).unwrap();
    fs::write(dir.join("real/file"), "").unwrap();
    symlink("real", dir.join("link")).unwrap();
    symlink("../link/deep", dir.join("real/up")).unwrap();
    symlink(dir.join("real"), dir.join("absolute")).unwrap();
    symlink("real/new/later", dir.join("dangling")).unwrap();
    let same = |spelling: &str, expected: &str| {
        let expected = format!("{}{expected}", dir.display());
        assert_eq!(node(&scene, &dir, spelling), expected, "{spelling}");
        let whole = format!("{}/{spelling}", dir.display());
        assert_eq!(node(&scene, Path::new("/"), &whole), expected, "{whole}");
    };
    same("real", "/real");
    same("./real/", "/real");
    same("real/.", "/real");
    same("link", "/real");
    same("absolute/deep", "/real/deep");
    same("real/up", "/real/deep");
    same("link/up/../file", "/real/file");
    same("real/deep/../../real", "/real");
    // What is not there yet.
    same("new/tail", "/new/tail");
    same("link/new/tail", "/real/new/tail");
    same("missing/../real", "/real");
    same("link/missing/../../real/deep", "/real/deep");
    same("real/file/below", "/real/file/below");
    same("dangling", "/real/new/later");
    same("dangling/x/..", "/real/new/later");
    same(".", "");
    same("-w", "/-w");
    assert_eq!(node(&scene, &dir, "/"), "/");
    assert_eq!(node(&scene, &dir, "/../.."), "/");
}

#[test]
fn two_spellings_exclude_each_other() {
    let scene = Scene::new();
    fs::create_dir(scene.path("real")).unwrap();
    symlink("real", scene.path("link")).unwrap();
    let mut holder = scene.hold(&["--paths", "-w", "link/target"]);
    assert_eq!(scene.done(&["run", "--paths", "-r", "real", "--try", "--", "true"]).code(), 75);
    assert_eq!(scene.done(&["run", "-w", "real", "--try", "--", "true"]).code(), 0, "a name");
    assert!(scene.done(&["ls", "--paths", "real"]).stdout().contains("/target"));
    assert_eq!(holder.finish(), 0);
}

#[test]
fn links_in_a_circle_are_refused() {
    let scene = Scene::new();
    symlink("b", scene.path("a")).unwrap();
    symlink("a", scene.path("b")).unwrap();
    let done = scene.done(&["run", "--paths", "-w", "a/x", "--", "true"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr().contains("\"a/x\" is: its links form a loop"), "{}", done.stderr());
}
