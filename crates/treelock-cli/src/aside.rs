//! Sayings that nobody waits for. Standard error may be a pipe that nobody reads, and who writes into it stands
//! still; whoever looks after a command must not.

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::say;

/// How long the last words are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Says sentences, one after the other, on a thread of its own.
pub(crate) struct Aside {
    sentences: Sender<String>,
    end: Receiver<()>,
}

impl Aside {
    pub(crate) fn start() -> io::Result<Aside> {
        let (sentences, line) = mpsc::channel::<String>();
        let (at_end, end) = mpsc::channel();
        thread::Builder::new().name("aside".into()).spawn(move || {
            line.iter().for_each(|sentence| say(&sentence));
            drop(at_end);
        })?;
        Ok(Aside { sentences, end })
    }

    /// Returns at once.
    pub(crate) fn say(&self, sentence: &str) {
        // The thread listens for as long as this is there.
        let _ = self.sentences.send(sentence.to_owned());
    }

    /// Waits until everything is said, but not for ever; returns whether it is.
    pub(crate) fn finish(self) -> bool {
        drop(self.sentences);
        self.end.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Disconnected)
    }
}
