//! Commands that become another user's. These tests need root, and say so and return where they are
//! not.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use serde_json::json;

use crate::{
    scene::{Done, Running, Scene, TREELOCK, can, is_alive, kill, until},
    schema,
};

/// Two users that need no names.
const ONE: &str = "64011";
const OTHER: &str = "64012";

/// A scene in which both users can work, and what makes the one the other, as sudo(8) would.
struct Users {
    scene: Scene,
    treelock: PathBuf,
    become_other: PathBuf,
}

impl Users {
    fn new() -> Option<Users> {
        let scene = Scene::new();
        let open = |path: &PathBuf, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let (treelock, become_other) = (scene.path("treelock"), scene.path("become"));
        // By a process of its own: a file that is open for writing here cannot be executed, and
        // other tests start processes that inherit it for a moment.
        let copy = |from: &str, to: &PathBuf| {
            Command::new("cp").arg(from).arg(to).status().is_ok_and(|status| status.success())
        };
        assert!(copy(TREELOCK, &treelock), "the program is there");
        if !copy("/usr/bin/setpriv", &become_other) {
            return None;
        }
        fs::create_dir(scene.table()).unwrap();
        open(&scene.dir().to_path_buf(), 0o755);
        open(&scene.table(), 0o777);
        open(&treelock, 0o755);
        open(&become_other, 0o4755);
        let users = Users { scene, treelock, become_other };
        let become_other = users.become_other.to_str().unwrap();
        let works = [&as_user(ONE)[..], &[become_other], &to(OTHER), &["true"]].concat();
        can(&works).then_some(users)
    }

    fn command(&self, how: &[&str], arguments: &[&str]) -> Command {
        let mut command = Command::new(how[0]);
        command.args(&how[1..]).arg(&self.treelock).args(arguments).current_dir(self.scene.dir());
        self.scene.environment(&mut command);
        command
    }

    /// A `run` of a command that becomes the second user's.
    fn run(&self, how: &[&str]) -> (Running, u32) {
        let become_other = self.become_other.to_str().unwrap();
        let script = ["sh", "-c", "trap '' TERM; echo $$; read line; exit 5"];
        let run = [&["run", "-w", "a", "--", become_other][..], &to(OTHER), &script].concat();
        let mut running = Running::start(&mut self.command(how, &run));
        let command = running.line().parse().unwrap();
        (running, command)
    }

    fn done(&self, how: &[&str], arguments: &[&str]) -> Done {
        Done(self.command(how, arguments).stdin(Stdio::null()).output().unwrap())
    }
}

fn as_user(user: &str) -> Vec<&str> {
    [&["setpriv"][..], &to(user)].concat()
}

fn to(user: &str) -> Vec<&str> {
    vec!["--reuid", user, "--regid", user, "--clear-groups", "--"]
}

#[test]
fn a_signal_that_cannot_be_forwarded() {
    let Some(users) = Users::new() else { return };
    let (mut running, command) = users.run(&as_user(ONE));
    let mut stderr = BufReader::new(running.stderr.take().unwrap());
    let mut told = String::new();
    running.signal(Signal::TERM);
    stderr.read_line(&mut told).unwrap();
    running.signal(Signal::USR1);
    assert!(is_alive(command));
    assert_eq!(running.finish(), 5);
    stderr.read_to_string(&mut told).unwrap();
    let sentence = format!("to the command (pid {command}): Operation not permitted");
    assert!(told.starts_with("treelock: cannot send SIG") && told.contains(&sentence), "{told}");
    assert_eq!(told.lines().count(), 1, "it is said once: {told}");
}

#[test]
fn break_where_a_process_cannot_be_seen() {
    let Some(users) = Users::new() else { return };
    let (mut running, command) = users.run(&as_user(ONE));
    // The first user sees his own `run`, and not what its command has become.
    let breaking = ["break", "1", "--force", "--grace", "100ms"];
    let done = users.done(&as_user(ONE), &breaking);
    assert_eq!(done.code(), 77, "{}{}", done.stdout(), done.stderr());
    let pid = running.id();
    let did = format!(
        "sent SIGTERM to {pid}; sent SIGKILL to {pid}; #1 is NOT free: a process that you \
         cannot see keeps it; ask its owner, or run this as root\n"
    );
    assert!(done.stdout().ends_with(&did), "{}", done.stdout());
    assert!(running.status().code().is_none() && is_alive(command));
    let done = users.done(&as_user(ONE), &breaking);
    assert_eq!(done.code(), 77, "nobody is seen: {}", done.stderr());
    kill(command, Signal::KILL);
    until("it is free", || users.scene.counts() == (0, 0));
}

#[test]
fn break_where_a_process_cannot_be_signalled() {
    let Some(users) = Users::new() else { return };
    // Root without the right to signal others sees all, and may signal what is root's.
    let weak = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", "--"];
    if !can(&[&weak[..], &["true"]].concat()) {
        return;
    }
    let (mut running, command) = users.run(&["env"]);
    let pid = running.id();
    let breaking = ["break", "1", "--force", "--grace", "100ms"];
    let done = users.done(&weak, &[&breaking[..], &["--json"]].concat());
    assert_eq!(done.code(), 77, "{}{}", done.stdout(), done.stderr());
    let report = schema::check("break --json", &done.stdout());
    assert_eq!(report["terminated"], json!([pid]));
    assert_eq!(report["killed"], json!([pid]));
    assert_eq!(report["refused"], json!([command]));
    assert_eq!(report["free"], false);
    assert!(running.status().code().is_none() && is_alive(command));
    let done = users.done(&weak, &breaking);
    let did = format!(
        "\n#1 is NOT free: you may not signal {command}; ask its owner, or run this as \
            root\n"
    );
    assert_eq!(done.code(), 77);
    assert!(done.stdout().ends_with(&did), "{}", done.stdout());
    kill(command, Signal::KILL);
}
