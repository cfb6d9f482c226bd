//! Sentences that nobody waits for. Standard error may be a pipe that nobody reads, and writing to
//! it then blocks; whoever looks after a command must not block.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::output::say;

/// How long [`Announcer::finish`] waits for the last sentences to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Says sentences one after the other, on a thread of its own.
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
        // The thread listens for as long as this exists.
        let _ = self.sentences.send(sentence.to_owned());
    }

    /// Waits until everything is said, for two seconds at most; returns whether it is.
    pub(crate) fn finish(self) -> bool {
        drop(self.sentences);
        self.end.recv_timeout(FINISH_TIMEOUT) == Err(RecvTimeoutError::Disconnected)
    }
}
