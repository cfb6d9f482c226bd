//! `--help` and `--version`.

use crate::scene::{Done, Scene};

#[test]
fn help_and_version_are_no_errors() {
    let scene = Scene::new();
    for arguments in
        [&["--help"][..], &["-h"], &["run", "--help"], &["help", "break"], &["--version"]]
    {
        let done = scene.done(arguments);
        assert_eq!((done.code(), done.stderr().as_str()), (0, ""));
        assert!(done.stdout().lines().all(|line| line.chars().count() <= 100), "{}", done.stdout());
    }
    // What is said last fits a narrow terminal as it is, so that its tables stay tables.
    for name in ["", "run", "ls", "who", "break", "doctor"] {
        let arguments: Vec<_> =
            [name, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let mut narrow = scene.treelock(&arguments);
        let narrow = Done(narrow.env("COLUMNS", "80").output().unwrap()).stdout();
        let last = |text: String| text.split_once("\nExit codes:\n").unwrap().1.to_owned();
        assert_eq!(last(narrow), last(scene.done(&arguments).stdout()), "{name}");
    }
    let help = scene.done(&["run", "--help"]).stdout();
    let words =
        ["Examples:", "TREELOCK_TOKEN", "TREELOCK_TICKET", "128+N", "70", "75", "TREELOCK_DIR"];
    for word in words {
        assert!(help.contains(word), "{word}");
    }
}

/// Who cannot use a cluster need not read about it.
#[test]
fn options_of_clusters_where_they_are_built_in() {
    let scene = Scene::new();
    for name in ["run", "ls", "who", "doctor"] {
        let short = scene.done(&[name, "-h"]).stdout();
        let long = scene.done(&[name, "--help"]).stdout();
        assert_eq!(short.contains("--etcd"), cfg!(feature = "etcd"), "{short}");
        for word in ["--etcd", "--ttl", "--cacert", "--password", "Cluster", "etcd:"] {
            assert_eq!(long.contains(word), cfg!(feature = "etcd"), "{word}: {long}");
        }
    }
    let run = scene.done(&["run", "--help"]).stdout();
    assert_eq!(run.contains("lives by its lease"), cfg!(feature = "etcd"), "{run}");
}
