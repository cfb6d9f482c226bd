//! A lock table of its own for a test, and processes that are gone when the test ends.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    ops::{Deref, DerefMut},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TREELOCK: &str = env!("CARGO_BIN_EXE_treelock");

/// As long as a loaded machine may need for anything.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(60);

/// A variable by which the background processes of a scene are known.
pub(crate) const MARK: &str = "TREELOCK_TEST_SCENE";

pub(crate) struct Scene {
    dir: TempDir,
    /// The members of the cluster whose lock is used instead of a table of this host.
    etcd: Option<String>,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        Scene { dir: tempfile::tempdir().unwrap(), etcd: None }
    }

    /// One that uses the lock of a cluster.
    pub(crate) fn on(endpoints: &[String]) -> Scene {
        let mut scene = Scene::new();
        scene.etcd = Some(endpoints.join(","));
        scene
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir().join(name.as_ref())
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.path("locks")
    }

    /// The command, in the scene's directory and with its table. Signals are as a shell at a
    /// terminal would have them, also where the tests run under nohup(1).
    pub(crate) fn treelock(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Command {
        let mut command = Command::new("env");
        command.args(["--default-signal", TREELOCK]).args(arguments).current_dir(self.dir());
        self.environment(&mut command);
        command
    }

    pub(crate) fn environment(&self, command: &mut Command) {
        match &self.etcd {
            None => command.env("TREELOCK_DIR", self.table()).env_remove("TREELOCK_ETCD"),
            Some(etcd) => command.env("TREELOCK_ETCD", etcd).env_remove("TREELOCK_DIR"),
        };
        command
            .env(MARK, self.dir())
            .env_remove("TREELOCK_URL")
            .env_remove("TREELOCK_NAMESPACE")
            .env_remove("TREELOCK_TOKEN")
            .env_remove("TREELOCK_TICKET");
        for name in ["ENDPOINTS", "CACERT", "CERT", "KEY", "USER", "PASSWORD"] {
            command.env_remove(format!("ETCDCTL_{name}"));
        }
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
    }

    /// Runs it to its end.
    pub(crate) fn done(&self, arguments: &[&str]) -> Done {
        Done(self.treelock(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// What `ls --json` says is live.
    pub(crate) fn live(&self) -> Vec<Value> {
        let done = self.done(&["ls", "--json"]);
        let mut listing: Value = serde_json::from_str(&done.stdout()).unwrap();
        serde_json::from_value(listing["requests"].take()).unwrap()
    }

    /// How many requests hold, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let live = self.live();
        let held = live.iter().filter(|request| request["state"] == "held").count();
        (held, live.len() - held)
    }

    pub(crate) fn until_counts(&self, held: usize, waiting: usize) {
        until(&format!("{held} hold, {waiting} wait"), || self.counts() == (held, waiting));
    }

    /// The keepers that `treelock hold` has started in the scene, also those that wait.
    pub(crate) fn keepers(&self) -> Vec<u32> {
        let of = |pid: &u32, file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let mark = format!("{MARK}={}", self.dir().display());
        let is_ours = |pid: &u32| {
            of(pid, "cmdline").starts_with(b"treelock: keeper\0")
                && of(pid, "environ").split(|byte| *byte == 0).any(|set| set == mark.as_bytes())
        };
        processes().filter(is_ours).collect()
    }

    /// Starts `treelock run ARGUMENTS -- sh -c SCRIPT`.
    pub(crate) fn run(&self, arguments: &[&str], script: &str) -> Running {
        let mut command = self.treelock(["run"]);
        command.args(arguments).args(["--", "sh", "-c", script]);
        Running::start(&mut command)
    }

    /// Starts a command that holds these roots until its standard input is closed; returns when it
    /// does.
    pub(crate) fn hold(&self, arguments: &[&str]) -> Running {
        let mut running = self.run(arguments, "echo $$; read line; exit 0");
        running.command = running.line().parse().unwrap();
        running
    }

    /// Starts a command that waits for these roots; returns when it does.
    pub(crate) fn wait(&self, arguments: &[&str]) -> Running {
        let before = self.live().len();
        let running = self.run(arguments, "echo granted");
        until("it waits", || self.live().len() > before);
        running
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for pid in self.keepers() {
            let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
        }
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CONDITION_TIMEOUT;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a shell shows as the code. Nothing but SIGINT may end the command itself.
#[track_caller]
fn code(status: ExitStatus) -> i32 {
    match status.signal() {
        Some(2) => 128 + 2,
        _ => status.code().unwrap_or_else(|| panic!("it did not end by itself: {status}")),
    }
}

/// A process that has ended.
pub(crate) struct Done(pub(crate) Output);

impl Done {
    pub(crate) fn code(&self) -> i32 {
        code(self.0.status)
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }
}

/// A process that runs, and is killed with the test.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// The process number of the command that it runs, if that is known.
    pub(crate) command: u32,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running::start_with_stderr(command, Stdio::piped())
    }

    /// With a standard error that the test looks after.
    pub(crate) fn start_with_stderr(command: &mut Command, stderr: Stdio) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdin, stdout, command: 0 }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended: {line:?} {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    /// The next line that it prints, if there is one.
    pub(crate) fn try_line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Goes away as the reader of what it prints.
    pub(crate) fn close_output(&mut self) {
        let (reader, _) = std::io::pipe().unwrap();
        self.stdout = BufReader::new(ChildStdout::from(std::os::fd::OwnedFd::from(reader)));
    }

    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; returns its exit code.
    #[track_caller]
    pub(crate) fn code(&mut self) -> i32 {
        code(self.status())
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> ExitStatus {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    pub(crate) fn finish(&mut self) -> i32 {
        self.close_input();
        self.code()
    }

    /// Everything that it wrote on standard error, after its end.
    pub(crate) fn stderr(&mut self) -> String {
        self.status();
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What has been waited for is not signalled: another process may have its number.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // A process that nobody has waited for yet is a zombie, which does not run any more.
    !['Z', '-'].contains(&state(pid))
}

/// The letter that ps(1) shows for what a process does, or `-` if there is none.
pub(crate) fn state(pid: u32) -> char {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('-')
}

/// Whether a process has a child that has become another program; a fork shows its parent's name at
/// first.
pub(crate) fn has_started(parent: u32) -> bool {
    let name = |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    children(parent).into_iter().any(|pid| name(pid) != name(parent))
}

/// The processes that a process has started.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = status.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1) == Some(&parent.to_string())
    };
    processes().filter(is_child).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Waits until a process takes signals itself, which end it before.
pub(crate) fn until_it_listens(pid: u32) {
    until("it listens for signals", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        // SIGCHLD is the last that it takes.
        caught >> (17 - 1) & 1 == 1
    });
}

/// Whether a command can be run here; says why not.
pub(crate) fn can(command_line: &[&str]) -> bool {
    let output = Command::new(command_line[0]).args(&command_line[1..]).output();
    match output {
        Ok(output) if output.status.success() => true,
        other => {
            eprintln!("not tested, since this cannot be run here: {command_line:?}: {other:?}");
            false
        }
    }
}
