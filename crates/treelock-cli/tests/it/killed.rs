//! What is killed frees its place at once; what lives keeps it.

use std::{
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use super::run::{scratch, treelock};

/// Nothing here takes so long; who waits longer waits for ever.
const LONG: Duration = Duration::from_secs(30);

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LONG, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn list(directory: &Path) -> String {
    let output = treelock(directory).args(["ls", "--json"]).output().expect("the binary starts");
    String::from_utf8(output.stdout).expect("JSON is text")
}

fn count(directory: &Path, state: &str) -> usize {
    list(directory).matches(&format!(r#""state":"{state}""#)).count()
}

/// A wrapper whose command goes on until the file `stop` is there.
fn hold(directory: &Path, node: &str) -> Child {
    let script = r#"echo $$ > "$0/pid"; while ! [ -e "$0/stop" ]; do sleep 0.01; done"#;
    let mut run = treelock(directory);
    run.args(["run", "-w", node, "--", "sh", "-c", script]).arg(directory);
    run.spawn().expect("the binary starts")
}

fn try_lock(directory: &Path, node: &str) -> bool {
    let mut run = treelock(directory);
    let output = run.args(["run", "--try", "-w", node, "--", "true"]).output();
    output.expect("the binary starts").status.success()
}

fn kill(child: &mut Child) {
    child.kill().expect("our child");
    child.wait().expect("our child");
}

fn pid_of_command(directory: &Path) -> String {
    let read = || std::fs::read_to_string(directory.join("pid")).unwrap_or_default();
    until("the command starts", || read().ends_with('\n'));
    read().trim().to_string()
}

/// The command goes on when its wrapper is killed, so its lock does too.
#[test]
fn a_killed_wrapper_leaves_the_lock_to_its_command() {
    let scratch = scratch();
    let mut wrapper = hold(scratch.path(), "a");
    pid_of_command(scratch.path());
    kill(&mut wrapper);
    assert!(!try_lock(scratch.path(), "a/b"), "the command still works");
    std::fs::write(scratch.path().join("stop"), "").expect("room");
    until("the command ends", || try_lock(scratch.path(), "a/b"));
    assert_eq!(count(scratch.path(), "held"), 0);
}

#[test]
fn a_killed_command_frees_the_lock() {
    let scratch = scratch();
    let mut wrapper = hold(scratch.path(), "a");
    let pid = pid_of_command(scratch.path());
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
    assert_eq!(wrapper.wait().expect("our child").code(), Some(128 + 9));
    assert!(try_lock(scratch.path(), "a"));
}

/// Waiters that are killed leave the line; the last one gets the lock when the holder has gone.
#[test]
fn killed_waiters_leave_the_line() {
    let scratch = scratch();
    let mut holder = hold(scratch.path(), "a");
    pid_of_command(scratch.path());
    let wait = || {
        let mut run = treelock(scratch.path());
        run.args(["run", "-w", "a", "--", "true"]).spawn().expect("the binary starts")
    };
    let mut waiters: Vec<Child> = (0..4).map(|_| wait()).collect();
    until("all wait", || count(scratch.path(), "waiting") == 4);
    let mut last = waiters.pop().expect("four");
    waiters.iter_mut().for_each(kill);
    until("one waits", || count(scratch.path(), "waiting") == 1);
    std::fs::write(scratch.path().join("stop"), "").expect("room");
    assert!(holder.wait().expect("our child").success());
    assert!(last.wait().expect("our child").success());
    assert_eq!(list(scratch.path()).matches("state").count(), 0);
}

/// A daemon that the command leaves behind does not keep the lock.
#[test]
fn what_stays_in_the_background_does_not_keep_the_lock() {
    let scratch = scratch();
    let script = r#"sleep 300 > /dev/null 2>&1 & echo $! > "$0/pid""#;
    let mut run = treelock(scratch.path());
    run.args(["run", "-w", "a", "--", "sh", "-c", script]).arg(scratch.path());
    assert!(run.status().expect("the binary starts").success());
    assert!(try_lock(scratch.path(), "a"));
    let pid = pid_of_command(scratch.path());
    assert!(Command::new("kill").arg(&pid).status().expect("kill").success(), "it still ran");
}

/// Signals to the wrapper are the command's.
#[test]
fn signals_are_handed_on() {
    let scratch = scratch();
    let script = r#"trap 'exit 5' TERM; echo $$ > "$0/pid"; while :; do sleep 0.01; done"#;
    let mut run = treelock(scratch.path());
    run.args(["run", "-w", "a", "--", "sh", "-c", script]).arg(scratch.path());
    let mut wrapper = run.spawn().expect("the binary starts");
    pid_of_command(scratch.path());
    let pid = wrapper.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    assert_eq!(wrapper.wait().expect("our child").code(), Some(5));
}

/// `break` ends what keeps a ticket, also when its wrapper is dead.
#[test]
fn break_ends_what_keeps_the_lock() {
    let scratch = scratch();
    let mut wrapper = hold(scratch.path(), "a");
    pid_of_command(scratch.path());
    kill(&mut wrapper);
    let refused =
        treelock(scratch.path()).args(["break", "1"]).output().expect("the binary starts");
    assert_eq!(refused.status.code(), Some(64), "nobody can confirm");
    let broken = treelock(scratch.path()).args(["break", "1", "--force"]).output();
    let broken = broken.expect("the binary starts");
    assert!(broken.status.success(), "{}", String::from_utf8_lossy(&broken.stderr));
    assert!(try_lock(scratch.path(), "a"));
}
