//! `treelock run`: exclusion, exit codes, what the command finds.

use std::{
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

pub(crate) fn treelock(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_treelock"));
    command.env_remove("TREELOCK_DIR").arg("--dir").arg(directory).stdin(Stdio::null());
    command
}

pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a place for temporary files")
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the binary can be started")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A root as this test sees it.
#[derive(Clone)]
struct Root(bool, Vec<String>);

fn conflict(a: &[Root], b: &[Root]) -> bool {
    a.iter().any(|Root(a_writes, a)| {
        b.iter().any(|Root(b_writes, b)| {
            (a_writes | b_writes) && (a.starts_with(b) || b.starts_with(a))
        })
    })
}

/// Fifty processes with random roots write when they enter and leave; no two that conflict overlap.
#[test]
fn fifty_processes_exclude_one_another() {
    let scratch = scratch();
    let log = scratch.path().join("log");
    fs::write(&log, "").expect("room");
    let mut random = fastrand::Rng::with_seed(7);
    let mut root = || {
        let path = (0..random.usize(0..3)).map(|_| random.choice(["a", "b"]).unwrap().to_string());
        let path = path.collect();
        Root(random.bool(), path)
    };
    let requests: Vec<Vec<Root>> =
        (0..50).map(|i| (0..1 + i % 3).map(|_| root()).collect()).collect();
    let children: Vec<_> = requests
        .iter()
        .enumerate()
        .map(|(number, roots)| {
            let mut command = treelock(&scratch.path().join("locks"));
            command.arg("run");
            for Root(write, path) in roots {
                command.arg(if *write { "-w" } else { "-r" }).arg(format!("/{}", path.join("/")));
            }
            // Lines this short are written whole.
            let script = r#"echo "+$1" >> "$0"; sleep 0.01; echo "-$1" >> "$0""#;
            command.args(["--", "sh", "-c", script]).arg(&log).arg(number.to_string());
            command.spawn().expect("the binary can be started")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("our child").success());
    }
    let mut inside: Vec<usize> = Vec::new();
    let text = fs::read_to_string(&log).expect("the log");
    assert_eq!(text.lines().count(), 100, "{text}");
    for line in text.lines() {
        let number: usize = line[1..].parse().expect("a number");
        match &line[..1] {
            "+" => {
                for other in &inside {
                    assert!(!conflict(&requests[number], &requests[*other]), "{other} {number}");
                }
                inside.push(number);
            }
            _ => inside.retain(|other| *other != number),
        }
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    let scratch = scratch();
    let run = |script: &str| {
        code(&output(treelock(scratch.path()).args(["run", "-w", "a", "--", "sh", "-c", script])))
    };
    assert_eq!(run("exit 0"), 0);
    assert_eq!(run("exit 75"), 75);
    assert_eq!(run("exit 255"), 255);
    assert_eq!(run("kill -KILL $$"), 128 + 9);
}

#[test]
fn other_exit_codes_say_what_went_wrong() {
    let scratch = scratch();
    let run = |arguments: &[&str]| output(treelock(scratch.path()).arg("run").args(arguments));
    assert_eq!(code(&run(&["-w", "a", "--", "no-such-command-anywhere"])), 127);
    assert_eq!(code(&run(&["-w", "a", "--", "/dev/null"])), 126);
    assert_eq!(code(&run(&["--", "true"])), 64);
    assert_eq!(code(&run(&["-w", "a", "--no-such-option", "--", "true"])), 64);
    let unset = run(&["-w", "", "--", "true"]);
    assert_eq!(code(&unset), 64);
    assert!(stderr(&unset).contains("an unset variable?"), "{}", stderr(&unset));
    let nowhere = output(treelock(Path::new("/dev/null/x")).args(["run", "-w", "a", "--", "true"]));
    assert_eq!(code(&nowhere), 74);
    assert!(stderr(&nowhere).contains("/dev/null/x"), "{}", stderr(&nowhere));
}

/// 75, or what the user prefers, and the sentence that says who is in the way; `who` says the same.
#[test]
fn who_does_not_get_the_lock_is_told_who_has_it() {
    let scratch = scratch();
    let inner = format!(
        "{0} --dir {1} run --try -w src/auth -- true; echo $?
         {0} --dir {1} run --timeout 10ms --conflict-exit-code 9 -r src -- true; echo $?
         {0} --dir {1} who src/auth; echo $?; {0} --dir {1} who other; echo $?",
        env!("CARGO_BIN_EXE_treelock"),
        scratch.path().display(),
    );
    let mut run = treelock(scratch.path());
    run.args(["run", "-w", "src", "--label", "agent-7", "--", "sh", "-c", &inner]);
    let output = output(&mut run);
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[1]), ("75", "9"), "{text}");
    assert!(lines[2].starts_with("write /src/auth is blocked by \"agent-7\""), "{text}");
    assert_eq!((lines[3], lines.last()), ("75", Some(&"0")), "{text}");
    assert_eq!(stderr(&output).matches("is blocked by \"agent-7\"").count(), 2);
}

#[test]
fn tokens_grow() {
    let scratch = scratch();
    let token = || {
        let mut run = treelock(scratch.path());
        let output = output(run.args(["run", "-w", "a", "--", "sh", "-c", "echo $TREELOCK_TOKEN"]));
        let text = String::from_utf8(output.stdout).expect("a number");
        text.trim().parse::<u64>().expect("a number")
    };
    let (first, second) = (token(), token());
    assert!(first < second);
}

/// Names with spaces, line breaks and bytes that are no text are told apart.
#[test]
fn odd_names() {
    let scratch = scratch();
    let list = format!("{} --dir {} ls", env!("CARGO_BIN_EXE_treelock"), scratch.path().display());
    let mut run = treelock(scratch.path());
    run.args(["run", "-w", "a b", "-w", "new\nline", "-r"]);
    run.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe")).args(["--", "sh", "-c", &list]);
    let text = String::from_utf8(output(&mut run).stdout).expect("printable");
    for name in ["a b", r"new\nline", r"\xff\xfe"] {
        assert!(text.contains(name), "{name} in {text}");
    }
}

/// Two spellings of one file are one node.
#[test]
fn paths_are_resolved() {
    let scratch = scratch();
    let place = scratch.path().canonicalize().expect("there").join("place");
    fs::create_dir(&place).expect("room");
    std::os::unix::fs::symlink(&place, scratch.path().join("link")).expect("room");
    let list = format!("{} --dir {} ls", env!("CARGO_BIN_EXE_treelock"), scratch.path().display());
    for spelling in ["link", "./place", "place/../link/."] {
        let mut run = treelock(scratch.path());
        run.current_dir(&scratch).args(["run", "--paths", "-w", spelling, "--", "sh", "-c", &list]);
        let text = String::from_utf8(output(&mut run).stdout).expect("printable");
        let node = text.lines().next().unwrap_or_default();
        assert!(node.ends_with(place.to_str().expect("text")), "{spelling}: {text}");
    }
}
