//! Tells whether a signal was sent to this process alone, or to others of its process group or
//! control group too.
//!
//! The command is in the group of this process, so what is sent to the group reaches it anyway: by
//! a terminal, by `kill -- -GROUP`, by timeout(1), which signals its child and then its group, by a
//! service manager, which signals each process of a control group. To forward that would deliver it
//! twice, and for many programs the second signal means "at once, whatever the loss". Nothing in a
//! signal tells how many got it. So beside the command there is a process in the same groups that
//! blocks all signals in question and sleeps. What is pending there was not sent to this process
//! alone.
//!
//! The witness is older than the command: whoever signals the group because it has heard of the
//! command must be seen. What the witness saw before the command was there is looked for right
//! before the command is started, and while it is. Some microseconds between the two are left, in
//! which a signal to the group is taken for one that reached the command.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use nix::sys::signal::{SigSet, Signal as Name};

use crate::events::FORWARDED;

/// The `argv[0]` that tells this program to be a witness. It does not contain this program's name,
/// so that `pkill -f treelock` does not make the witness a false one.
const NAME: &str = "(witness of signals)";
const SELF: &str = "/proc/self/exe";

/// A process that gets what is sent to all of a group. It ends with this value, or this process.
pub(crate) struct Witness(Child);

impl Witness {
    /// Starts a witness; `None` if that is impossible, as without /proc.
    pub(crate) fn start() -> Option<Witness> {
        let blocked: SigSet =
            FORWARDED.into_iter().filter_map(|n| Name::try_from(n).ok()).collect();
        let before = SigSet::thread_get_mask().ok()?;
        blocked.thread_block().ok()?;
        // Its standard input ends with this process, however that ends.
        let (input, output) = (Stdio::piped(), Stdio::null());
        let mut command = Command::new(SELF);
        command.arg0(NAME).env_clear().stdin(input).stdout(output).stderr(Stdio::null());
        let child = command.spawn();
        let _ = before.thread_set_mask();
        child.ok().map(Witness)
    }

    /// Returns whether each of these signals was sent to the witness too. `None` if it is gone.
    pub(crate) fn saw(&self) -> Option<impl Fn(i32) -> bool + use<>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        let is_alive = !status.lines().any(|line| line.starts_with("State:\tZ"));
        let mask = u64::from_str_radix(mask.trim(), 16).ok().filter(|_| is_alive)?;
        Some(move |signal: i32| mask >> (signal - 1) & 1 == 1)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether this process was started to be a witness.
pub(crate) fn is_asked() -> bool {
    env::args_os().next().is_some_and(|name| name == OsStr::new(NAME))
}

/// Is a witness, until the process that started it has ended.
pub(crate) fn be() {
    let _ = std::io::stdin().read(&mut [0]);
}
