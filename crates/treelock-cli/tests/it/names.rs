//! Nodes as names: the same from everywhere, whatever is in them, and never two for one in what is
//! shown.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use crate::scene::{Running, Scene};

/// Names and how they are shown.
const NAMES: [(&[u8], &str); 8] = [
    (b"plain", "/plain"),
    (b"with space", "/with space"),
    (b"two\nlines", "/two\\nlines"),
    (b"two\\nlines", "/two\\\\nlines"),
    (b"not \xff utf-8", "/not \\xff utf-8"),
    (b"not \\xff utf-8", "/not \\\\xff utf-8"),
    ("schön".as_bytes(), "/schön"),
    (b"\x1b[31mred", "/\\u{1b}[31mred"),
];

#[test]
fn any_bytes_name_a_node() {
    let scene = Scene::new();
    let hold = |name: &[u8]| {
        let mut command = scene.treelock(["run", "--label", "it", "-w"]);
        command.arg(OsStr::from_bytes(name)).args(["--", "sh", "-c", "echo; read line"]);
        let mut running = Running::start(&mut command);
        running.line();
        running
    };
    let holders: Vec<_> = NAMES.iter().map(|(name, _)| hold(name)).collect();
    let live = scene.live();
    let nodes: Vec<&str> =
        live.iter().map(|request| request["roots"][0]["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, NAMES.map(|(_, shown)| shown));
    let tree = scene.done(&["ls"]).stdout();
    assert_eq!(tree.lines().count(), 1 + 2 * NAMES.len(), "one line each:\n{tree}");
    for (_, shown) in NAMES {
        assert!(
            tree.lines().any(|line| line.ends_with(&format!("── {shown}"))),
            "{shown}:\n{tree}"
        );
    }
    for (name, shown) in NAMES {
        let who = scene.treelock(["who"]).arg(OsStr::from_bytes(name)).output().unwrap();
        let sentence = format!("write {shown} is blocked by \"it\"");
        assert!(who.stdout.starts_with(sentence.as_bytes()), "{who:?}");
    }
    drop(holders);
}

#[test]
fn names_are_the_same_from_everywhere() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a/b"]);
    for name in ["a/b", "/a/b", "a//b/", "a"] {
        let who = scene.treelock(["who", name]).current_dir("/").output().unwrap();
        assert_eq!(who.status.code(), Some(75), "{name}");
    }
    assert_eq!(scene.done(&["who", "./a"]).code(), 64);
    assert_eq!(holder.finish(), 0);
}

#[test]
fn labels_may_hold_anything() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a", "--label", "two\nlines \u{202e} \"quoted\" \x1b[31m"]);
    let tree = scene.done(&["ls"]).stdout();
    assert_eq!(tree.lines().count(), 2, "{tree}");
    assert!(tree.contains(r#""two\nlines \u{202e} \"quoted\" \u{1b}[31m" (pid "#), "{tree}");
    assert_eq!(scene.live()[0]["label"], "two\nlines \u{202e} \"quoted\" \x1b[31m");
}

#[test]
fn the_command_line_is_the_label_of_who_gives_none() {
    let scene = Scene::new();
    let label = |command: &[&str]| {
        let done = scene.done(&[&["run", "-w", "a", "--"], command].concat());
        assert_eq!(done.code(), 0, "{}", done.stderr());
        let listing: serde_json::Value = serde_json::from_str(&done.stdout()).unwrap();
        listing["requests"][0]["label"].as_str().unwrap().to_owned()
    };
    let treelock = crate::scene::TREELOCK;
    assert_eq!(label(&[treelock, "ls", "--json"]), "treelock ls --json");
    let long =
        label(&[treelock, "ls", "--json", "--", "/a/very/long/node/that/nobody/cares/to/read"]);
    assert_eq!(long, "treelock ls --json -- /a/very/long/node…");
}
