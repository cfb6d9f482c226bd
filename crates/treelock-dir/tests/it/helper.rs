//! Helper processes: this test binary once more, started to play a part.
//!
//! [`Part::start`] starts one. It runs the "test" [`a_part`](crate::parts::a_part), which looks
//! into its environment for what to play. What the harness prints comes before the line `ready`.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    str::FromStr,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
};

use nix::{sys::signal::Signal, unistd::Pid};
use treelock_dir::DirLock;

use crate::scratch::LONG;

/// The variables in which a helper process finds its part, the lock's directory, and a word.
pub(crate) const PART: &str = "TREELOCK_TEST_PART";
pub(crate) const DIRECTORY: &str = "TREELOCK_TEST_DIRECTORY";
const WORD: &str = "TREELOCK_TEST_WORD";

/// A word that was given to this process.
pub(crate) fn word() -> String {
    env::var(WORD).expect("set by who started this process")
}

/// Prints a line that the one who started this process waits for.
pub(crate) fn say(line: &str) {
    let mut out = stdout().lock();
    // Nobody may listen any more, if this process outlives its test by a moment.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Reads a line; `None` if there will be no more.
pub(crate) fn hear() -> Option<String> {
    let mut line = String::new();
    let count = stdin().lock().read_line(&mut line).unwrap_or(0);
    (count > 0).then(|| line.trim_end().to_string())
}

/// A process that is about to be started.
pub(crate) struct Part(Command);

impl Part {
    pub(crate) fn new(part: &str, directory: &Path, word: &str) -> Part {
        Part::wrapped(&[], part, directory, word)
    }

    /// A part that is started through other programs, such as `setpriv --reuid 1000`.
    pub(crate) fn wrapped(wrap: &[&str], part: &str, directory: &Path, word: &str) -> Part {
        let mut command = this_program(wrap, "parts::a_part");
        command.env(PART, part).env(DIRECTORY, directory).env(WORD, word);
        Part(command)
    }

    pub(crate) fn start(mut self) -> Helper {
        let spawned = self.0.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("this program can be started");
        let input = child.stdin.take();
        let output = lines(child.stdout.take().expect("piped"));
        let helper = Helper { process: Process(child), input, output };
        helper.expect("ready");
        helper
    }
}

/// Its lines, read by a thread, so that one can wait for them for a limited time.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    receiver
}

/// This test binary, to run one of its tests or parts alone.
fn this_program(wrap: &[&str], test: &str) -> Command {
    let program = env::current_exe().expect("this program has a path");
    let mut words = wrap.iter().map(|word| word.as_ref()).chain([program.as_os_str()]);
    let mut command = Command::new(words.next().expect("at least this program"));
    command.args(words);
    command.args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command
}

/// Whether this is the process that a test has for itself. If it is not, it is started, in the
/// first of these ways that is possible here, and must end well: `test` is the full name of the
/// caller.
///
/// For what a process has only once: its limits, its working directory, its user, its mounts.
pub(crate) fn is_alone(test: &str, ways: &[&[&str]]) -> bool {
    const ALONE: &str = "TREELOCK_TEST_ALONE";
    if env::var(ALONE).is_ok_and(|name| name == test) {
        return true;
    }
    let Some(way) = ways.iter().find(|way| is_possible(way)) else { return false };
    let output = this_program(way, test).env(ALONE, test).output().expect("it can be started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    let passed = text(&output.stdout).contains("1 passed");
    assert!(output.status.success() && passed, "{test}:\n{}", text(&output.stderr));
    false
}

/// Whether this program can be started through these others here; if not, says so.
pub(crate) fn is_possible(wrap: &[&str]) -> bool {
    let mut tried = this_program(wrap, "no such test");
    let status = tried.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let possible = status.is_ok_and(|status| status.success());
    if !possible {
        println!("not tested here: `{}` is not possible", wrap.join(" "));
    }
    possible
}

/// A process that plays its part.
pub(crate) struct Helper {
    process: Process,
    input: Option<ChildStdin>,
    output: Receiver<String>,
}

/// A child that is killed when this is dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Helper {
    /// Starts a process that holds a node when this returns.
    pub(crate) fn holding(lock: &DirLock, node: &str) -> Helper {
        let helper = Part::new("hold", lock.path(), node).start();
        helper.expect("holds");
        helper
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Reads lines up to this one.
    pub(crate) fn expect(&self, line: &str) {
        while let Some(said) = self.line() {
            if said == line {
                return;
            }
        }
        panic!("the process ended before it said {line:?}");
    }

    /// Returns the next line that it says; `None` if it will say no more.
    pub(crate) fn line(&self) -> Option<String> {
        match self.output.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it has said nothing for {LONG:?}"),
        }
    }

    /// The rest of the next line that begins with this word, as a value.
    pub(crate) fn value<T: FromStr>(&self, word: &str) -> T {
        while let Some(line) = self.line() {
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().parse().ok().expect("a value");
            }
        }
        panic!("the process ended before it said its {word}");
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed yet");
        writeln!(input, "{line}").expect("it listens");
    }

    /// Its two ends, for one who speaks and listens in different threads, and what keeps it alive.
    pub(crate) fn split(self) -> (ChildStdin, Receiver<String>, Process) {
        (self.input.expect("not closed yet"), self.output, self.process)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32);
        nix::sys::signal::kill(pid, signal).expect("our child");
    }

    /// Kills it. It is about to be gone when this returns.
    pub(crate) fn strike(&mut self) {
        self.process.0.kill().expect("our child");
    }

    /// Kills it. It is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.strike();
        self.process.0.wait().expect("our child");
    }

    /// Returns how it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.0.try_wait().expect("our child")
    }

    /// Ends its input, so that it comes to its end. Returns how it ended.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.input = None;
        self.process.0.wait().expect("our child")
    }
}
