//! The in-process lock, [`TreeLock`], and its verbs.

use std::fmt;

use crate::{
    acquire::Acquire,
    answer::Answer,
    blocked::Blocked,
    guard::Guard,
    request::Request,
    snapshot::Snapshot,
    sync::Arc,
    turn::{Shared, Turn},
};

/// A lock over all sub-trees of one tree. One request can take several of them, shared or
/// exclusive.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none.** So the lock is fair (FIFO), a request never waits for anything that is
/// not in its way, and requests that are made as a whole can never deadlock one another.
///
/// A `TreeLock` is a handle: clones refer to the same lock. [`TreeLock::new`] makes an independent
/// lock. All ways to acquire work on the same lock at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that requests something that conflicts with what it already
/// holds waits for itself, forever or until its timeout. Two holders that each request more can
/// deadlock in the same way. Request everything at once, in one [`Request`].
///
/// # Fairness and its price
///
/// Nothing overtakes an earlier request that conflicts with it, not even
/// [`try_acquire`](TreeLock::try_acquire), so no request starves. The price: while a write on `/`
/// is waiting, all later requests wait behind it.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
///
/// # async fn example() -> Result<(), treelock::NodeError> {
/// let lock = TreeLock::new();
/// let request = Request::new().write("photos/2025")?.read("templates")?;
/// let guard = lock.acquire(&request).await;
/// // No one else is anywhere below photos/2025, and no one writes below templates.
/// drop(guard);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TreeLock {
    shared: Arc<Shared>,
}

impl TreeLock {
    /// Returns a new lock, with nothing held.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = treelock::TreeLock::new();
    /// assert_eq!(lock.held_count(), 0);
    /// ```
    #[must_use]
    pub fn new() -> TreeLock {
        TreeLock { shared: Arc::new(Shared::new()) }
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`], which a thread
    /// can also [`wait`](crate::Wait::wait) for.
    ///
    /// The request takes its place in the order of arrival when the future is first polled or
    /// waited for. The future works with any executor. For a timeout, use the executor's own or
    /// [`wait_timeout`](crate::Wait::wait_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, even between the grant and the poll that would have
    /// observed it, gives back whatever it has, and the requests behind it proceed.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// # async fn example(lock: TreeLock) -> Result<(), treelock::NodeError> {
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// let guard = lock.acquire(&rename).await; // in async code
    /// drop(guard);
    /// let guard = lock.acquire(&rename).wait(); // in a thread
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(self.shared.clone(), request.clone())
    }

    /// Acquires everything that `request` names, if nothing is in the way. The request is made at
    /// once, and the answer is ready immediately: the [`Guard`], or the request that is in the way.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way even while it only waits.
    /// A failed try leaves nothing in the line. To find the blocker and count how many requests are
    /// ahead, it visits the other requests' roots above and below its own, following only nodes
    /// with a conflicting claim.
    ///
    /// # Errors
    ///
    /// Returns [`Blocked`], which names the blocker, if the request would have to wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let reader = Request::new().read("photos")?;
    /// let one = lock.try_acquire(&reader).wait()?;
    /// let two = lock.try_acquire(&reader).wait()?;
    /// let blocked = lock.try_acquire(&Request::new().write("photos/2025")?).wait().unwrap_err();
    /// assert_eq!(blocked.ahead, 2);
    /// # Ok::<(), treelock::Error>(())
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Blocked>> {
        Answer::ready(Turn::attempt(&self.shared, request).map(Guard::new))
    }

    /// Returns the request that would be in the way of `request` if it were made now, or `None` if
    /// there is none. Acquires nothing. The answer is ready immediately.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let request = Request::new().write("photos")?;
    /// assert_eq!(lock.blocked(&request).wait(), None);
    /// let guard = lock.acquire(&request).wait();
    /// assert_eq!(lock.blocked(&request).wait().unwrap().ticket, guard.ticket());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn blocked(&self, request: &Request) -> Answer<Option<Blocked>> {
        Answer::ready(Turn::look(&self.shared, request))
    }

    /// Returns all live requests at one moment: which of them hold their locks, and what each of
    /// the others waits for. The answer is ready immediately.
    ///
    /// Takes time proportional to the number of live requests, and holds the lock's mutex for part
    /// of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.acquire(&Request::new().write("photos")?).wait();
    /// println!("{}", lock.snapshot().wait());
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn snapshot(&self) -> Answer<Snapshot> {
        Answer::ready(Snapshot::of_table(self.shared.table(|table| table.sightings())))
    }

    /// Returns how many requests are held at this moment, in constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.acquire(&Request::new().write("photos")?).wait();
    /// assert_eq!((lock.held_count(), lock.waiting_count()), (1, 0));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.shared.table(|table| table.counts().0)
    }

    /// Returns how many requests are waiting at this moment, in constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(treelock::TreeLock::new().waiting_count(), 0);
    /// ```
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.shared.table(|table| table.counts().1)
    }
}

impl Default for TreeLock {
    fn default() -> TreeLock {
        TreeLock::new()
    }
}

/// Shows how many requests are held and waiting; [`TreeLock::snapshot`] says which.
impl fmt::Debug for TreeLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (held, waiting) = self.shared.table(|table| table.counts());
        f.debug_struct("TreeLock").field("held", &held).field("waiting", &waiting).finish()
    }
}
