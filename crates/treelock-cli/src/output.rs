//! Writing to standard output and standard error.

use std::{io, io::Write as _, process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::SIGPIPE;

use crate::{error::Failure, exit};

/// Prints a sentence on standard error. Ignores errors, because its reader may be gone.
pub(crate) fn say(sentence: &str) {
    let _ = writeln!(anstream::stderr(), "treelock: {sentence}");
}

/// Prints text and a newline on standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Ends this process as soon as nobody reads its output any more, and not only when the next line
/// is written, which may be never. Call it only if the process holds nothing.
pub(crate) fn end_with_reader() {
    // Without the thread the next line ends it.
    let _ = thread::Builder::new().name("reader".into()).spawn(|| {
        let out = io::stdout();
        let mut fds = [PollFd::new(&out, PollFlags::empty())];
        while let Ok(0) | Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
        if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            process::exit(exit::by_signal(SIGPIPE).into());
        }
    });
}
