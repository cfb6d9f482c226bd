//! What the command under the lock finds: what it would find without, and its token.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::scene::{Done, Scene, TREELOCK};

#[test]
fn standard_input_output_and_error_are_the_commands() {
    let scene = Scene::new();
    let mut command = scene.treelock(["run", "-w", "a", "--", "sh", "-c", "cat; echo error >&2"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"two\nlines \xff").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"two\nlines \xff");
    assert_eq!(output.stderr, b"error\n");
}

/// What is typed ahead is for the command, also if it has to wait first.
#[test]
fn waiting_reads_no_input() {
    let scene = Scene::new();
    let mut holder = scene.hold(&["-w", "a"]);
    let mut command = scene.treelock(["run", "-w", "a", "--", "cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"early").unwrap();
    scene.until_counts(1, 1);
    assert_eq!(holder.finish(), 0);
    assert_eq!(child.wait_with_output().unwrap().stdout, b"early");
}

#[test]
fn arguments_and_working_directory_are_as_given() {
    let scene = Scene::new();
    let here = scene.dir().canonicalize().unwrap();
    let script = r#"pwd -P; for argument; do echo "<$argument>"; done"#;
    let done = scene.done(&[
        "run",
        "-w",
        "a",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "",
        "a  b",
        "--",
        "-w",
        "*",
        "two\nlines",
    ]);
    let expected = format!("{}\n<>\n<a  b>\n<-->\n<-w>\n<*>\n<two\nlines>\n", here.display());
    assert_eq!(done.stdout(), expected);
}

/// Signals that are blocked or ignored, and open files. One file is more: the table, which keeps
/// the lock.
#[test]
fn the_command_is_as_it_would_be_without_a_lock() {
    let scene = Scene::new();
    let script = "grep -E '^(SigBlk|SigIgn):' /proc/self/status; ls /proc/self/fd | wc -l";
    let found = |mut command: Command| {
        let done = Done(command.current_dir(scene.dir()).stdin(Stdio::null()).output().unwrap());
        let text = done.stdout();
        let words: Vec<_> = text.split_whitespace().collect();
        let mask = |hex| u64::from_str_radix(hex, 16).unwrap() & !OF_THE_C_LIBRARY;
        (mask(words[1]), mask(words[3]), words[4].parse::<u32>().unwrap())
    };
    let plain = |ignore: &str| {
        let mut command = Command::new("env");
        command.args(["--default-signal", "env", ignore]);
        command
    };
    for ignore in ["--ignore-signal=HUP", "--ignore-signal=INT", "--default-signal"] {
        let mut without = plain(ignore);
        without.args(["sh", "-c", script]);
        let (blocked, ignored, files) = found(without);
        for how in [&["-w", "a"][..], &["-w", "a", "--exec"]] {
            let mut with = plain(ignore);
            with.args([TREELOCK, "run"]).args(how).args(["--", "sh", "-c", script]);
            scene.environment(&mut with);
            assert_eq!(found(with), (blocked, ignored, files + 1), "{ignore}");
        }
    }
}

/// The signals 32 and 33, which it keeps for itself.
const OF_THE_C_LIBRARY: u64 = 0b11 << 31;

#[test]
fn a_run_in_a_run_has_a_token_of_its_own() {
    let scene = Scene::new();
    let script = format!(
        "echo $TREELOCK_TOKEN; {TREELOCK} run -w b -- sh -c 'echo $TREELOCK_TOKEN'; \
         echo $TREELOCK_TOKEN"
    );
    let done = scene.done(&["run", "-w", "a", "--", "sh", "-c", &script]);
    assert_eq!((done.code(), done.stderr().as_str()), (0, ""));
    let tokens: Vec<u64> = done.stdout().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(tokens.len(), 3);
    assert_ne!(tokens[0], tokens[1]);
    assert_eq!(tokens[0], tokens[2]);
}
