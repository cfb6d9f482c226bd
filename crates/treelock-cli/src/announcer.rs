//! Prints sentences without waiting for them to be written. Standard error may be a pipe that is
//! not read, and then writing blocks. The thread that looks after the command must not block.

use std::{
    cell::OnceCell,
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use crate::output::say;

/// How long [`Announcer::finish`] waits for the last sentences to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints sentences one after another, on its own thread, which starts with the first sentence.
#[derive(Default)]
pub(crate) struct Announcer(OnceCell<Option<Thread>>);

struct Thread {
    sentences: Sender<String>,
    end: Receiver<()>,
}

impl Thread {
    fn start() -> io::Result<Thread> {
        let (sentences, queue) = mpsc::channel::<String>();
        let (at_end, end) = mpsc::channel();
        thread::Builder::new().name("announcer".into()).spawn(move || {
            queue.iter().for_each(|sentence| say(&sentence));
            drop(at_end);
        })?;
        Ok(Thread { sentences, end })
    }
}

impl Announcer {
    /// Queues a sentence and returns at once. If no thread can be started, the sentence is lost:
    /// the command under the lock matters more.
    pub(crate) fn say(&self, sentence: &str) {
        if let Some(thread) = self.0.get_or_init(|| Thread::start().ok()) {
            // The thread listens as long as this value exists.
            let _ = thread.sentences.send(sentence.to_owned());
        }
    }

    /// Waits until everything is printed, for at most two seconds. Returns whether it was.
    pub(crate) fn finish(self) -> bool {
        let Some(Some(Thread { sentences, end })) = self.0.into_inner() else { return true };
        drop(sentences);
        end.recv_timeout(FINISH_TIMEOUT) == Err(RecvTimeoutError::Disconnected)
    }
}
