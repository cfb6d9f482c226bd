//! What happens to the requests of a table: [`DirLock::events`].

use std::{
    future::Future,
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use treelock::{
    Answer, Wait as _,
    engine::{Event, Events},
};

use crate::{
    error::Error,
    listen::{Listener, Stop},
    lock::DirLock,
};

impl DirLock {
    /// Listens to what happens to the requests of this lock, in all processes. Returns the events
    /// in order: first one for each live request, then one for each change, exactly once.
    ///
    /// Who makes a request or leaves tells it to the listeners, in a file `events` beside the table
    /// (1 MiB), which the first listener creates. While nobody listens, nothing is told, and that
    /// costs nothing. While nothing happens, the listener sleeps, except that it looks once in a
    /// second for what nobody tells: that a process died, or that the table was removed. A listener
    /// that is more than 4096 events behind misses some, and hears how many requests it missed
    /// ([`What::Missed`](treelock::engine::What::Missed)).
    ///
    /// A listener that may only read the table, or cannot create the file, compares snapshots
    /// instead, at most 50 times a second. Then the time of an event is exact to about 20 ms, and a
    /// request that comes and leaves between two looks is missed; the next ticket that is seen
    /// tells how many were missed. The 33rd listener of a table does so too, and one that begins
    /// while a process is stopped with the latch.
    ///
    /// The events come from a thread, which ends when they are dropped.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if no thread can be started; [`Error::Foreign`] if there is another
    /// file with the name of the table or of the events; and the other errors of opening the table.
    /// What fails later is an error of the event that is waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, Wait, engine::What};
    /// use treelock_dir::DirLock;
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.acquire(&Request::new().write("photos")?).wait()?;
    /// let mut events = lock.events().wait()?;
    /// assert!(matches!(events.next().wait()?.what, What::Live(..)));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        Answer::ready(self.listen())
    }

    fn listen(&self) -> Result<Events<Error>, Error> {
        let failed = |source| Error::Io {
            doing: "start a thread for the events of",
            path: self.path().into(),
            source,
        };
        match Listener::new(self.path()) {
            Ok(listener) => told(listener).map_err(failed),
            Err(error) if must_look(&error) => {
                let lock = self.clone();
                Events::looking(move || lock.snapshot().wait()).map_err(failed)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns whether this is a reason to compare snapshots: it may not write, there is no room, there
/// are too many listeners, or a process was stopped with the latch.
fn must_look(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return matches!(error, Error::Stuck { .. }) };
    matches!(
        source.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::ResourceBusy
    )
}

fn told(mut listener: Listener) -> io::Result<Events<Error>> {
    let stop = StopWhenDropped(listener.stop());
    let events = Events::reading(move |_| listener.next())?;
    let mut listening = Listening { events, _stop: stop };
    Ok(Events::of(move |context| listening.poll(context)))
}

/// Events whose thread sleeps for long, and is woken when they are dropped.
struct Listening {
    // Dropped first, so that the thread that is woken ends.
    events: Events<Error>,
    _stop: StopWhenDropped,
}

struct StopWhenDropped(Arc<Stop>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Listening {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        Pin::new(&mut self.events.next()).poll(context)
    }
}
