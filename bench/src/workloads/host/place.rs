//! Places for locks between processes, the programs that lock there, and those that hold there what
//! nobody else wants.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use treelock_bench::host::HostLock;

use crate::report::count;
use crate::workloads::sibling;

/// How many requests one process holds: it may need a descriptor for each.
const HELD_BY_ONE: usize = 10_000;

/// How many seconds it may take until one process holds what it is to hold.
const HOLDING_SECONDS: usize = 60;

/// Returns a directory that is removed with the value.
pub(super) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a place for temporary files")
}

/// A lock in a program that takes the arguments of the binary `process`.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    pub(super) name: &'static str,
}

impl Program {
    /// Returns the program of one of our locks, or a sentence that says why there is none.
    pub(super) fn of<L: HostLock>() -> Result<Program, String> {
        Ok(Program { path: sibling::binary("process")?, name: L::NAME })
    }

    /// Returns the program of Berkeley DB's lock region, if somebody has built it.
    pub(super) fn berkeley() -> Option<Program> {
        let own = env::current_exe().ok()?;
        let path = own.with_file_name("berkeley");
        path.exists().then_some(Program { path, name: "Berkeley DB, lock_vec" })
    }

    /// Returns the command for one of its parts.
    pub(super) fn command(&self, part: &str, place: &Path, numbers: &[usize]) -> Command {
        self.wrapped(&[], part, place, numbers)
    }

    /// Returns a command that runs it through another one.
    pub(super) fn wrapped(
        &self,
        wrap: &[&OsStr],
        part: &str,
        place: &Path,
        numbers: &[usize],
    ) -> Command {
        let mut words = wrap.iter().copied().chain([self.path.as_os_str()]);
        let mut command = Command::new(words.next().expect("at least the program"));
        command.args(words).args([part, self.name]).arg(place);
        command.args(numbers.iter().map(ToString::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// A process that is killed when this is dropped.
pub(super) struct Process(pub(super) Child);

impl Process {
    /// Starts it. Returns its first line too.
    pub(super) fn start(mut command: Command) -> (Process, String) {
        let mut child = command.spawn().expect("it was just built");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::with_capacity(1, out).read_line(&mut line).expect("a pipe");
        (Process(child), line.trim().into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Other processes that hold write locks on siblings in one directory, until this is dropped.
pub(super) struct Others {
    program: Program,
    place: TempDir,
    count: usize,
    processes: Vec<Process>,
    /// Whether holding more has taken too long.
    is_full: bool,
}

impl Others {
    /// Returns a place where nobody holds anything.
    pub(super) fn none(program: &Program) -> Others {
        let (program, processes) = (program.clone(), Vec::new());
        Others { program, place: scratch(), count: 0, processes, is_full: false }
    }

    /// Returns a place where others hold so many requests, if that does not take too long.
    pub(super) fn hold(program: &Program, count: usize) -> Option<Others> {
        let mut others = Others::none(program);
        others.grow(count).then_some(others)
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    pub(super) fn place(&self) -> &Path {
        self.place.path()
    }

    /// Lets others hold so many requests in all. Returns `false` if that takes too long, and from
    /// then on.
    pub(super) fn grow(&mut self, count: usize) -> bool {
        while self.count < count && !self.is_full {
            let to = count.min(self.count + HELD_BY_ONE);
            let numbers = [self.count, to, HOLDING_SECONDS];
            let (process, line) =
                Process::start(self.program.command("hold", self.place(), &numbers));
            let held: usize = line.parse().expect("it says how many it holds");
            self.count += held;
            self.processes.push(process);
            self.is_full = self.count < to;
        }
        !self.is_full
    }

    /// Lets a process time out behind one of the others, and kills it.
    pub(super) fn time_out(&self) {
        drop(Process::start(self.program.command("time-outs", self.place(), &[1])));
    }

    /// Lets a process hold some more, and kills it.
    pub(super) fn die(&self, count: usize) {
        let numbers = [self.count, self.count + count, HOLDING_SECONDS];
        let (process, _) = Process::start(self.program.command("hold", self.place(), &numbers));
        drop(process);
    }
}

/// Returns a sentence that says what was not measured.
pub(super) fn too_slow(name: &str, size: usize) -> String {
    let [size, step] = [size, HELD_BY_ONE].map(|number| count(number as f64));
    format!(
        "{name} beside {size} others was not measured: it took more than {HOLDING_SECONDS} s until \
         up to {step} more of them held their locks."
    )
}
