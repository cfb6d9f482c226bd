//! The keeper: the process that `treelock hold` leaves in the background, as those see it that
//! start it or signal it.
//!
//! The keeper is this program, started once more with the same arguments, under a name of its own.
//! It makes the request itself, because a lock belongs to the process that requests it. Until it is
//! let go it belongs to the command that started it: both are one job of the terminal, and when
//! that command ends, the keeper gives everything back. They talk through a pair of sockets:
//!
//! ```text
//! keeper  -> command   one line of JSON, when the lock is held; before that, only its end
//! command -> keeper    one byte: the line is printed, so the keeper may stay
//! ```

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Child, Command, Stdio},
};

use crate::{error::Failure, exit, json::Held, waiting_signals::Forwarder};

/// The `argv[0]` of a keeper. No user starts this program under such a name.
const NAME: &str = "treelock: keeper";
const SELF: &str = "/proc/self/exe";
/// The number of bytes of a thread's name that Linux stores.
const COMM_BYTES_MAX: usize = 15;

/// Returns whether this process was started as a keeper.
pub(crate) fn is_asked() -> bool {
    env::args_os().next().is_some_and(|name| name == OsStr::new(NAME))
}

/// Returns the name of the keeper of a ticket, as `ps -o comm` shows it.
pub(crate) fn comm(ticket: u64) -> String {
    let mut name = format!("treelock #{ticket}");
    name.truncate(COMM_BYTES_MAX);
    name
}

/// Returns whether a process is the keeper of this ticket, by its names. Pin the process before, so
/// that no other one can have taken its number.
pub(crate) fn is_of(pid: u32, ticket: u64) -> bool {
    let of = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let has_name = of("cmdline").split(|byte| *byte == 0).next() == Some(NAME.as_bytes());
    has_name && of("comm").trim_ascii_end() == OsStr::new(&comm(ticket)).as_bytes()
}

/// A keeper that has not been let go yet.
pub(crate) struct Keeper {
    process: Child,
    channel: BufReader<UnixStream>,
    signals: Forwarder,
}

impl Keeper {
    /// Starts a keeper with the arguments of this process. Its standard input is the process that
    /// it holds for.
    pub(crate) fn start(kept_for: Option<&OwnedFd>) -> Result<Keeper, Failure> {
        let (ours, its) = UnixStream::pair().map_err(|error| cannot_start(&error))?;
        let kept_for = kept_for.map(OwnedFd::try_clone).transpose();
        let kept_for = kept_for.map_err(|error| cannot_start(&error))?;
        let mut command = Command::new(SELF);
        command
            .arg0(NAME)
            .args(env::args_os().skip(1))
            .stdin(kept_for.map_or_else(Stdio::null, Stdio::from))
            .stdout(OwnedFd::from(its));
        let signals = Forwarder::start().map_err(|error| {
            Failure::new(exit::CANNOT_LOCK, format_args!("cannot listen for signals: {error}"))
        })?;
        let process = command.spawn().map_err(|error| cannot_start(&error))?;
        drop(command); // so the keeper alone has its end of the channel
        signals.forward_to(&process);
        Ok(Keeper { process, channel: BufReader::new(ours), signals })
    }

    /// Waits until the keeper holds the lock. Otherwise the keeper has said why and has ended, and
    /// this returns its exit code.
    pub(crate) fn held(mut self) -> Result<Result<(Keeper, Held), u8>, Failure> {
        let mut line = String::new();
        let read = self.channel.read_line(&mut line);
        if read.is_ok_and(|length| length > 0)
            && let Ok(held) = serde_json::from_str(&line)
        {
            let Some(signal) = self.signals.turn_off() else { return Ok(Ok((self, held))) };
            // It came too late to end the wait, but before anybody was told that the lock is held.
            drop(self.channel);
            let _ = self.process.wait();
            return Ok(Err(exit::end_by_signal(signal)));
        }
        let status = self.process.wait().map_err(|error| cannot_start(&error))?;
        match (status.code(), status.signal()) {
            (Some(code @ 1..), _) => Ok(Err(code as u8)), // a process has no more than these bits
            (None, Some(signal)) => Ok(Err(exit::end_by_signal(signal))),
            _ => Err(Failure::new(exit::CANNOT_LOCK, "the keeper ended without a word")),
        }
    }

    /// Lets the keeper stay when this process has ended.
    pub(crate) fn let_go(mut self) -> Result<(), Failure> {
        self.channel.get_mut().write_all(b"\n").map_err(|_| {
            Failure::new(exit::CANNOT_LOCK, "the keeper ended as soon as it held the lock")
        })
    }
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::new(
        exit::CANNOT_LOCK,
        format_args!(
            "cannot start {SELF} as the process that holds the lock: {error}; is /proc mounted?"
        ),
    )
}
