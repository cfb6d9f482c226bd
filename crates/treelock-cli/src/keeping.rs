//! What a keeper does with itself: it leaves behind what it inherited, ends when it is not needed
//! any more, and leaves the terminal when it holds the lock.

use std::{
    env,
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{close, getpid},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::setsid,
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
    thread::set_name,
};
use signal_hook::{consts::SIGTERM, flag};

use crate::json::Held;

/// Closes all descriptors but the standard ones. A keeper stays for long, and what it inherited may
/// be a pipe whose reader waits for its end, or another lock, such as that of a `treelock run`
/// around it.
pub(crate) fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // The list itself has one of these descriptors, and is closed before them.
    let numbers: Vec<RawFd> = numbers.filter(|number| *number > 2).collect();
    for number in numbers {
        let _ = close(number);
    }
}

/// Makes this process take SIGTERM, even if it was started to ignore it. Must be called before
/// signals are listened to. Returns what tells whether it has come: between the two calls it would
/// be missed otherwise.
pub(crate) fn accept_sigterm() -> io::Result<Arc<AtomicBool>> {
    let came = Arc::default();
    flag::register(SIGTERM, Arc::clone(&came))?;
    Ok(came)
}

/// Sets the name that `ps -o comm` shows.
pub(crate) fn rename(name: &str) {
    // The name is for people, and for `release`, which says so if it does not find it.
    let _ = CString::new(name).map(|name| set_name(&name));
}

/// The other end of the conversation with the command that started this keeper.
pub(crate) struct Starter {
    channel: UnixStream,
}

impl Starter {
    /// Takes the channel from standard output, and the process to hold for from standard input.
    pub(crate) fn take() -> io::Result<(Starter, OwnedFd)> {
        let channel = io::stdout().as_fd().try_clone_to_owned()?;
        let kept_for = io::stdin().as_fd().try_clone_to_owned()?;
        Ok((Starter { channel: UnixStream::from(channel) }, kept_for))
    }

    /// Says that the lock is held. That nobody listens any more is noticed elsewhere.
    pub(crate) fn tell(mut self, held: &Held) {
        let line = serde_json::to_string(held).expect("text and numbers always serialise");
        let _ = writeln!(self.channel, "{line}");
    }
}

/// Sends SIGTERM to this process when it is not needed any more: the process that it holds for has
/// ended, or the command that started it has ended without letting it go. So whatever this process
/// waits for, it ends like one that is asked to.
pub(crate) fn watch(starter: &Starter, kept_for: Option<OwnedFd>) -> io::Result<()> {
    let mut channel = Some(starter.channel.try_clone()?);
    thread::Builder::new().name("watch".into()).spawn(move || {
        while channel.is_some() || kept_for.is_some() {
            let [ended, spoken] = await_either(kept_for.as_ref(), channel.as_ref());
            let lets_go = spoken
                && channel.take().is_some_and(|mut starter| {
                    starter.read(&mut [0]).is_ok_and(|length| length > 0)
                });
            if ended || spoken && !lets_go {
                let _ = kill(getpid(), Signal::SIGTERM);
                return;
            }
        }
    })?;
    Ok(())
}

/// Waits until one of them can be read, and returns which. If that cannot be known, nobody can
/// let this process go.
fn await_either(process: Option<&OwnedFd>, channel: Option<&UnixStream>) -> [bool; 2] {
    let process = process.map(|process| PollFd::new(process, PollFlags::IN));
    let channel = channel.map(|channel| PollFd::new(channel, PollFlags::IN));
    let has_process = process.is_some();
    let mut all: Vec<PollFd<'_>> = process.into_iter().chain(channel).collect();
    loop {
        match poll(&mut all, None) {
            Err(Errno::INTR) => {}
            Err(_) => return [has_process, true],
            Ok(_) => break,
        }
    }
    let is_ready = |at: usize| all.get(at).is_some_and(|one| !one.revents().is_empty());
    if has_process { [is_ready(0), is_ready(1)] } else { [false, is_ready(0)] }
}

/// Leaves the session, the terminal, the working directory and the standard descriptors.
pub(crate) fn detach() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    // Not the leader of a group, since the command that started it leads that or is led itself.
    setsid()?;
    env::set_current_dir("/")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
