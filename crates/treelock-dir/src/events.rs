//! What happens to the requests of a table: [`DirLock::events`].

use treelock::{Answer, Wait as _, engine::Events};

use crate::{error::Error, lock::DirLock};

impl DirLock {
    /// Listens to what happens to the requests of this lock, in all processes. Returns the events
    /// in order: first one for each live request, then one for each change.
    ///
    /// The table is read 50 times a second, or less often if it is long, on a thread that ends when
    /// the events are dropped. So the time of an event is exact to about 20 ms, and a request that
    /// comes and leaves between two looks is missed; the next ticket that is seen tells how many
    /// were missed ([`What::Missed`](treelock::engine::What::Missed)). Of a request that waited at
    /// one look and is gone at the next it is unknown whether it was granted in between: the event
    /// says that it left while it waited.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if no thread can be started. What fails later is an error of the event
    /// that is waited for.
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
        let lock = self.clone();
        // A source that tells its events itself would be read by `Events::reading` instead.
        let events = Events::looking(move || lock.snapshot().wait());
        Answer::ready(events.map_err(|source| Error::Io {
            doing: "start a thread for the events of",
            path: self.path().into(),
            source,
        }))
    }
}
