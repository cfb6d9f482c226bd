//! Prints sentences without waiting for them to be written. Standard error may be a pipe that is
//! not read, and then writing blocks. The thread that looks after the command must not block.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::output::say;

/// How long [`Announcer::finish`] waits for the last sentences to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints sentences one after another, on its own thread.
pub(crate) struct Announcer {
    sentences: Sender<String>,
    end: Receiver<()>,
}

impl Announcer {
    pub(crate) fn start() -> io::Result<Announcer> {
        let (sentences, queue) = mpsc::channel::<String>();
        let (at_end, end) = mpsc::channel();
        thread::Builder::new().name("announcer".into()).spawn(move || {
            queue.iter().for_each(|sentence| say(&sentence));
            drop(at_end);
        })?;
        Ok(Announcer { sentences, end })
    }

    /// Queues a sentence and returns at once.
    pub(crate) fn say(&self, sentence: &str) {
        // The thread listens as long as this value exists.
        let _ = self.sentences.send(sentence.to_owned());
    }

    /// Waits until everything is printed, for at most two seconds. Returns whether it was.
    pub(crate) fn finish(self) -> bool {
        drop(self.sentences);
        self.end.recv_timeout(FINISH_TIMEOUT) == Err(RecvTimeoutError::Disconnected)
    }
}
