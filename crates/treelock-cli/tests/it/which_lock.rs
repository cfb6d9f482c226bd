//! Which lock the command line and the environment mean.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
};

use crate::scene::{Done, Scene, TREELOCK};

#[test]
fn a_directory_from_the_environment() {
    let scene = Scene::new();
    let with = |dir: &str| Done(scene.treelock(["ls"]).env("TREELOCK_DIR", dir).output().unwrap());
    assert!(with("").stderr().contains("it is empty (an unset variable?)"));
    assert_eq!(with("").code(), 64);
    assert!(with("locks").stderr().contains("make it absolute"));
    assert_eq!(with("locks").code(), 64);
    for dir in ["", "locks"] {
        for arguments in [&["completions", "bash"][..], &["man"], &["--help"], &["run", "--help"]] {
            let mut command = scene.treelock(arguments);
            let done = Done(command.env("TREELOCK_DIR", dir).output().unwrap());
            assert_eq!((done.code(), &*done.stderr()), (0, ""), "{arguments:?}");
        }
    }
    // An option is for one command, whose working directory is known.
    assert_eq!(scene.done(&["--dir", "other", "run", "-w", "a", "--", "true"]).code(), 0);
    assert_eq!(scene.done(&["run", "--dir", "other", "-w", "a", "--", "true"]).code(), 0);
    assert!(scene.path("other").is_dir() && !scene.table().exists());
}

/// Who means no cluster is not kept from work by what is set for etcdctl.
#[test]
fn variables_of_etcdctl_do_not_matter_on_one_host() {
    let scene = Scene::new();
    for value in [OsStr::new(""), OsStr::from_bytes(b"\xff")] {
        for arguments in
            [&["run", "-w", "a", "--", "true"][..], &["who", "a"], &["man"], &["--help"]]
        {
            let mut command = scene.treelock(arguments);
            for name in ["CACERT", "CERT", "KEY", "USER", "PASSWORD", "ENDPOINTS"] {
                command.env(format!("ETCDCTL_{name}"), value);
            }
            let done = Done(command.env("TREELOCK_NAMESPACE", value).output().unwrap());
            assert_eq!((done.code(), &*done.stderr()), (0, ""), "{arguments:?} {value:?}");
        }
    }
}

#[test]
fn the_default_directory() {
    let scene = Scene::new();
    let run = |home: Option<&str>, state: Option<&str>| {
        let mut command = scene.treelock(["run", "-w", "a", "--", "true"]);
        command.env_remove("TREELOCK_DIR").env_remove("XDG_STATE_HOME");
        command.env("HOME", scene.path(home.unwrap_or("nowhere")));
        if let Some(state) = state {
            command.env("XDG_STATE_HOME", scene.path(state));
        }
        assert!(command.status().unwrap().success());
    };
    run(Some("home"), None);
    assert!(scene.path("home/.local/state/treelock").is_dir());
    run(None, Some("state"));
    assert!(scene.path("state/treelock").is_dir() && !scene.path("nowhere").exists());
    let mode = fs::metadata(scene.path("state/treelock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_working_directory_that_is_gone() {
    let scene = Scene::new();
    let gone = |arguments: &str| {
        let script = format!("mkdir gone && cd gone && rmdir ../gone && {TREELOCK} {arguments}");
        let mut shell = std::process::Command::new("sh");
        scene.environment(shell.args(["-c", &script]).current_dir(scene.dir()));
        Done(shell.output().unwrap())
    };
    let locks = scene.path("other").display().to_string();
    for arguments in ["who --paths /a".into(), format!("--dir {locks} who a")] {
        let done = gone(&arguments);
        assert_eq!(done.code(), 0, "{arguments}: {}", done.stderr());
        assert_eq!(done.stdout(), "write /a would be granted at once\n");
    }
    assert_eq!(gone(&format!("run --dir {locks} --paths -w /a -- true")).code(), 0);
    for (arguments, what) in [
        ("who --paths a", "which file \"a\" is"),
        ("--dir other who a", "which directory \"other\" is"),
    ] {
        let done = gone(arguments);
        let sentence = format!("cannot tell {what}, since the working directory is gone");
        assert_eq!(done.code(), 64);
        assert!(done.stderr().contains(&sentence), "{}", done.stderr());
    }
}

#[cfg(not(feature = "etcd"))]
#[test]
fn a_binary_without_the_cluster_says_how_to_get_one() {
    let done = Scene::new().done(&["ls", "--etcd", "http://127.0.0.1:2379"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr().contains("built without"), "{}", done.stderr());
    assert!(done.stderr().contains("cargo install treelock-cli --features etcd"));
    let by_url = with(&Scene::new(), &["ls", "--url", "etcd://127.0.0.1:2379/builds"], &[]);
    assert_eq!((by_url.code(), by_url.stderr()), (64, done.stderr()));
}

/// A scene, and `treelock` in it with this environment instead of the scene's.
fn with(scene: &Scene, arguments: &[&str], environment: &[(&str, &str)]) -> Done {
    let mut command = scene.treelock(arguments);
    command.env_remove("TREELOCK_DIR").envs(environment.iter().copied());
    Done(command.output().unwrap())
}

#[test]
fn a_url_is_another_name_of_the_same_lock() {
    let scene = Scene::new();
    let _holder = scene.hold(&["-w", "a"]);
    let table = scene.table().display().to_string();
    let url = format!("dir:{table}");
    for (arguments, environment, code) in [
        (&["who", "a", "--url", &url][..], &[][..], 75),
        (&["--url", "dir:locks", "who", "a"], &[], 75),
        (&["who", "a"], &[("TREELOCK_URL", &*url)], 75),
        (&["who", "a", "--url", "dir:other"], &[("TREELOCK_URL", &*url)], 0),
        // An option counts for more than a variable, of whatever way.
        (&["who", "a", "--url", &url], &[("TREELOCK_DIR", "/no/such")], 75),
        (&["who", "a", "--dir", &table], &[("TREELOCK_URL", "nonsense")], 75),
        (&["man"], &[("TREELOCK_URL", "nonsense")], 0),
    ] {
        let done = with(&scene, arguments, environment);
        assert_eq!(done.code(), code, "{arguments:?} {environment:?}: {}", done.stderr());
    }
    let run = ["run", "--url", "dir:new", "-w", "a", "--", "treelock-is-not-in-the-path"];
    assert_eq!(with(&scene, &run, &[]).code(), 127);
    assert!(scene.path("new").is_dir(), "the lock was used");
}

#[test]
fn two_names_of_a_lock_are_refused() {
    let scene = Scene::new();
    let (dir, url) = ("/no/such", "dir:/no/such");
    for (arguments, environment, says) in [
        (&["ls", "--url", url, "--dir", dir][..], &[][..], "--url and --dir name two locks"),
        (&["ls", "--url", url, "--etcd", "a:1"], &[], "--url and --etcd name two locks"),
        (&["ls", "--dir", dir, "--etcd", "a:1"], &[], "--dir and --etcd name two locks"),
        (
            &["ls"],
            &[("TREELOCK_URL", url), ("TREELOCK_DIR", dir)],
            "TREELOCK_URL and TREELOCK_DIR name two locks; unset one of them, or say --url or \
             --dir",
        ),
        (
            &["ls"],
            &[("TREELOCK_URL", url), ("TREELOCK_ETCD", "a:1")],
            "TREELOCK_URL and TREELOCK_ETCD name two locks",
        ),
        (&["ls", "--url", url, "--ttl", "5s"], &[], "--ttl is for a cluster; name one with --url"),
    ] {
        let done = with(&scene, arguments, environment);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains(says), "{arguments:?}: {}", done.stderr());
    }
}

#[test]
fn a_wrong_url_is_told_which_part_is_wrong() {
    let scene = Scene::new();
    for (url, says) in [
        ("", "scheme: the text is empty (an unset variable?)"),
        ("/srv/locks", "write \"dir:/srv/locks\""),
        ("file:/srv/locks", "scheme: \"file\" is unknown"),
        ("dir:", "path: it is empty"),
        ("dir:~/locks", "path: only a shell knows `~`"),
        ("etcd:a:2379", "endpoint: `//` is missing"),
        ("etcd://a", "endpoint: \"a\" has no port"),
        ("etcd://a:1/b/c", "namespace: \"b/c\" has a slash"),
        ("etcd://a:1?ttl=soon", "ttl: \"soon\" is not a duration"),
        ("etcd://a:1?no=such", "parameter: \"no\" is unknown"),
        ("etcd://a:1?cert=c", "key: it is missing"),
        ("memory:", "a lock within one process"),
    ] {
        for (how, from) in [("option", "--url"), ("variable", "TREELOCK_URL")] {
            let done = match how {
                "option" => with(&scene, &["ls", "--url", url], &[]),
                _ => with(&scene, &["ls"], &[("TREELOCK_URL", url)]),
            };
            assert_eq!((done.code(), &*done.stdout()), (64, ""), "{url}");
            assert!(done.stderr().contains(says), "{url}: {}", done.stderr());
            let names_source = done.stderr().contains(from) || url == "memory:";
            assert!(names_source, "{url}: {}", done.stderr());
        }
    }
    let relative = with(&scene, &["ls"], &[("TREELOCK_URL", "dir:locks")]);
    assert_eq!(relative.code(), 64);
    assert!(relative.stderr().contains("TREELOCK_URL names \"locks\", which is another directory"));
    let mut no_text = scene.treelock(["ls"]);
    no_text.env_remove("TREELOCK_DIR").env("TREELOCK_URL", OsStr::from_bytes(b"\xffs3cret"));
    let done = Done(no_text.output().unwrap());
    let said = "treelock: the value of --url or TREELOCK_URL is not UTF-8\n";
    assert_eq!((done.code(), &*done.stderr()), (64, said));
}

/// Whatever is wrong with a text, and whatever becomes of the lock that it names.
#[test]
fn no_password_of_a_url_is_said() {
    let scene = Scene::new();
    for url in [
        "etcd://me:s3cret@127.0.0.1:1/builds",
        "etcd://me:s3cret@127.0.0.1:1/builds?ttl=soon",
        "etcd://me:s3cret@127.0.0.1",
        "etcd://me:s3cret",
        "etcd://me:s3cret/x@127.0.0.1:1",
        "etcd://me:s3cret?x@127.0.0.1:1",
        "etcd://me:s3cret@x@127.0.0.1:1",
        "etcd:me:s3cret@127.0.0.1:1",
        "etc://me:s3cret@127.0.0.1:1",
        "me:s3cret@127.0.0.1:1",
        "etcd://127.0.0.1:1?password=s3cret",
    ] {
        for arguments in [&["ls"][..], &["doctor", "--json"], &["--url", "dir:x", "ls", "--help"]] {
            let done = with(&scene, arguments, &[("TREELOCK_URL", url)]);
            let said = format!("{}{}", done.stdout(), done.stderr());
            assert!(!said.contains("s3cret"), "{url} {arguments:?}: {said}");
        }
    }
}
