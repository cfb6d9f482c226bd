//! Exit codes, and what is said with them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
};

use crate::scene::{Done, Scene, TREELOCK};

#[test]
fn the_command_s_own_code() {
    let scene = Scene::new();
    for code in [0, 1, 2, 64, 75, 127, 255] {
        let script = format!("exit {code}");
        assert_eq!(scene.done(&["run", "-w", "a", "--", "sh", "-c", &script]).code(), code);
    }
}

#[test]
fn a_command_that_is_not_there_or_is_no_program() {
    let scene = Scene::new();
    fs::write(scene.path("text"), "no program").unwrap();
    for (command, code, sentence) in [
        ("no-such-command", 127, "treelock: \"no-such-command\": command not found\n"),
        ("./missing", 127, "treelock: \"./missing\": command not found\n"),
        (
            "./text",
            126,
            "treelock: \"./text\" cannot be executed: Permission denied (os error 13)\n",
        ),
    ] {
        let done = scene.done(&["run", "-w", "a", "--", command]);
        assert_eq!((done.code(), done.stderr().as_str()), (code, sentence));
    }
    assert_eq!(scene.counts(), (0, 0));
}

#[test]
fn a_script_without_its_interpreter() {
    let scene = Scene::new();
    fs::write(scene.path("without-interpreter"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(scene.path("without-interpreter"), fs::Permissions::from_mode(0o755))
        .unwrap();
    let path = format!("/usr/bin:{}", scene.dir().display());
    for name in ["./without-interpreter", "without-interpreter"] {
        let mut command = scene.treelock(["run", "-w", "a", "--", name]);
        let done = Done(command.env("PATH", &path).output().unwrap());
        let sentence =
            format!("treelock: {name:?} exists, but the interpreter that it names does not\n");
        assert_eq!((done.code(), done.stderr()), (127, sentence));
    }
}

#[test]
fn not_granted() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "src/auth", "--label", "agent-7"]);
    let sentence =
        format!("treelock: write /src is blocked by \"agent-7\" (pid {}): ", holder.id());
    for how in [
        &["--try"][..],
        &["--timeout", "0"],
        &["--timeout", "0s"],
        &["-t", "20ms"],
        &["-t", "0.02"],
        &["--try", "--conflict-exit-code", "9"],
        &["--try", "-E", "0"],
    ] {
        let done = scene.done(&[&["run", "-w", "src"], how, &["--", "touch", "ran"]].concat());
        let code = how.get(2).map_or(75, |code| code.parse().unwrap());
        assert_eq!(done.code(), code, "{how:?}");
        assert!(done.stderr().starts_with(&sentence), "{}", done.stderr());
        assert!(done.stderr().ends_with("; 1 ahead\n"), "{}", done.stderr());
    }
    for quiet in ["-q", "--quiet"] {
        let done = scene.done(&["run", "-w", "src", "--try", quiet, "--", "touch", "ran"]);
        assert_eq!((done.code(), &*done.stdout(), &*done.stderr()), (75, "", ""));
    }
    assert!(!scene.path("ran").exists());
    assert_eq!(scene.counts(), (1, 0), "nothing is left of those who gave up");
    assert_eq!(holder.finish(), 0);
}

#[test]
fn granted_within_the_time() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut waiter = scene.wait(&["-w", "a", "--timeout", "1h"]);
    assert_eq!(holder.finish(), 0);
    assert_eq!(waiter.code(), 0);
    // A time that no clock counts is for ever.
    let forever = ["run", "-w", "a", "--timeout", "500000000000years", "--", "true"];
    assert_eq!(scene.done(&forever).code(), 0);
    for time in ["30", "0.5", "99999999999999999999999999"] {
        assert_eq!(scene.done(&["run", "-w", "a", "--timeout", time, "--", "true"]).code(), 0);
    }
}

#[test]
fn a_table_that_cannot_be_used() {
    let scene = Scene::new();
    fs::write(scene.path("file"), "").unwrap();
    let dir = scene.path("file/locks");
    let dir = dir.to_str().unwrap();
    for arguments in
        [&["run", "-w", "a", "--try", "--", "true"][..], &["run", "-w", "a", "--", "true"]]
    {
        let done = scene.done(&[&["--dir", dir], arguments].concat());
        assert_eq!(done.code(), 74, "{arguments:?}");
        assert!(done.stderr().contains(dir), "{}", done.stderr());
    }
}

#[test]
fn a_wrong_command_line() {
    let scene = Scene::new();
    let told = |arguments: &[&str], sentence: &str| {
        let done = scene.done(arguments);
        assert_eq!(done.code(), 64, "{arguments:?}");
        assert!(done.stderr().contains(sentence), "{arguments:?}: {}", done.stderr());
        assert_eq!(done.stdout(), "");
    };
    let unset =
        "\"\" names no node: it is empty (an unset variable?); write \"/\" for the whole tree";
    told(&["run", "-w", "", "--", "true"], unset);
    told(&["run", "-w", "", "--paths", "--", "true"], unset);
    told(&["ls", ""], unset);
    told(&["who", ""], unset);
    told(&["run", "-w", "a/../b", "--", "true"], "\"a/../b\" names no node");
    told(
        &["run", "--", "true"],
        "nothing to lock: name a root with -w or -r (the whole tree is `-w /`)",
    );
    told(&["run", "-w", "a"], "COMMAND");
    told(&["run", "-w", "--", "true"], "a value is required");
    // As an unquoted `-w src/*` becomes: nothing is run that was meant as a root.
    told(&["run", "-w", "a", "b", "c", "--", "true"], "unexpected argument 'b'");
    told(&["run", "-w", "a", "--timeout", "soon", "--", "true"], "soon");
    told(&["run", "-w", "a", "--timeout", "5M", "--", "true"], "write `m` for minutes");
    told(&["break", "1", "--grace", "5M"], "write `m` for minutes");
    told(&["run", "-w", "a", "--timeout", "1m 30", "--", "true"], "time unit needed");
    told(&["run", "-w", "a", "--timeout", "", "--", "true"], "empty");
    told(&["run", "-w", "a", "--timeout", ".", "--", "true"], "number");
    told(&["run", "-w", "a", "--quiet", "--json", "--", "true"], "cannot be used with");
    told(&["run", "-w", "a", "--timeout", "3s", "--try", "--", "true"], "cannot be used with");
    told(&["run", "-w", "a", "-E", "256", "--", "true"], "256");
    told(&["ls", "--dir", ""], "it is empty (an unset variable?)");
    told(&["no-such"], "unrecognized subcommand");
    told(&[], "Usage");
    told(&["break", "x"], "a ticket is a number");
}

#[cfg(not(feature = "etcd"))]
#[test]
fn a_binary_without_the_cluster_says_how_to_get_one() {
    let done = Scene::new().done(&["ls", "--etcd", "http://127.0.0.1:2379"]);
    assert_eq!(done.code(), 64);
    assert!(done.stderr().contains("built without"), "{}", done.stderr());
    assert!(done.stderr().contains("cargo install treelock-cli --features etcd"));
}

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
    for word in ["Examples:", "TREELOCK_TOKEN", "128+N", "75", "TREELOCK_DIR"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let scene = Scene::new();
    for arguments in ["completions bash", "man", "ls --json", "--help"] {
        let script = format!("{{ {} {arguments}; }} 2>err | true", TREELOCK);
        for _ in 0..5 {
            let mut shell = std::process::Command::new("sh");
            scene.environment(shell.args(["-c", &script]).current_dir(scene.dir()));
            shell.status().unwrap();
            assert_eq!(fs::read_to_string(scene.path("err")).unwrap(), "", "{arguments}");
        }
    }
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
