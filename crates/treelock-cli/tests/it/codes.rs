//! Exit codes, and what is said with them.

use std::{fs, os::unix::fs::PermissionsExt as _};

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
            "echo hi | wc -c",
            127,
            "treelock: \"echo hi | wc -c\": command not found; a command and its arguments are \
             separate words; if this is a line for a shell, write `sh -c` before it\n",
        ),
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
    let unset = "\"\" does not name a node: it is empty (an unset variable?); \
        write \"/\" for the whole tree";
    told(&["run", "-w", "", "--", "true"], unset);
    told(&["run", "-w", "", "--paths", "--", "true"], unset);
    told(&["ls", ""], unset);
    told(&["who", ""], unset);
    told(&["run", "-w", "a/../b", "--", "true"], "\"a/../b\" does not name a node");
    for path in ["./src", "../src", "src/..", "."] {
        told(&["run", "-w", path, "--", "true"], "; for a file path, add --paths\n");
        told(&["who", path], "; for a file path, add --paths\n");
    }
    told(&["run", "-F", "--grace", "1s", "-w", "a", "--", "true"], "cannot be used with");
    told(&["run", "-q", "-v", "-w", "a", "--", "true"], "cannot be used with");
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
    told(&["ls", "--dir", ""], "is empty (an unset variable?)");
    told(&["no-such"], "unrecognized subcommand");
    told(&[], "Usage");
    told(&["break", "x"], "a ticket is a number");
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
