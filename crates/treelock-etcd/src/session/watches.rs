//! The asking side of a session's stream: who watches a key, and what it is told.
//!
//! A watch begins *now*: one that begins in the past waits for a loop of etcd that runs ten times a
//! second. So something may have happened before the watch began, and a watcher must look once more
//! when it knows since when it is told. If the stream is cut, everything that was known of the keys
//! is forgotten, and the watchers are told so.

use tokio::sync::{mpsc, watch};

use crate::protocol::told::{Cut, Told};

/// What the tasks of a session ask of its stream.
pub(super) enum Wanted {
    /// Somebody watches this key.
    Watch { key: Vec<u8>, told: watch::Sender<Told> },
    /// Somebody has stopped watching this key.
    Forget { key: Vec<u8> },
}

/// Where the tasks of a session ask for watches.
pub(crate) struct Watches(mpsc::UnboundedSender<Wanted>);

/// A key that somebody watches. Dropping it ends that.
pub(crate) struct Watched {
    told: watch::Receiver<Told>,
    /// The last field: it is dropped after the receiver, so that the stream finds that closed.
    _forgotten: Forgotten,
}

/// Tells, when dropped, that the key has one listener less.
struct Forgotten {
    key: Vec<u8>,
    wanted: mpsc::UnboundedSender<Wanted>,
}

impl Watches {
    pub(super) fn new() -> (Watches, mpsc::UnboundedReceiver<Wanted>) {
        let (wanted, asked) = mpsc::unbounded_channel();
        (Watches(wanted), asked)
    }

    /// Watches a key.
    pub(crate) fn watch(&self, key: Vec<u8>) -> Watched {
        let (told, listener) = watch::channel(Told::default());
        // If nobody serves it any more, the session is over, and waiters learn that elsewhere.
        let _ = self.0.send(Wanted::Watch { key: key.clone(), told });
        Watched { told: listener, _forgotten: Forgotten { key, wanted: self.0.clone() } }
    }
}

impl Watched {
    /// Waits until everything is told; returns the revision from which on it is.
    pub(crate) async fn since(&self) -> Result<i64, Cut> {
        let mut told = self.told.clone();
        let told = told.wait_for(|told| told.begun().is_some()).await;
        told.ok().and_then(|told| told.begun()).unwrap_or(Err(Cut))
    }

    /// Waits until an entry that was created at this revision is deleted. The key may belong to
    /// another entry since.
    pub(crate) async fn deleted(&self, created: i64) -> Result<(), Cut> {
        let mut told = self.told.clone();
        let told = told.wait_for(|told| told.deleted(created).is_some()).await;
        told.ok().and_then(|told| told.deleted(created)).unwrap_or(Err(Cut))
    }
}

impl Drop for Forgotten {
    fn drop(&mut self) {
        let _ = self.wanted.send(Wanted::Forget { key: std::mem::take(&mut self.key) });
    }
}
