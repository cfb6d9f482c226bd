//! Asking for the lock: [`TreeLock`] and its verbs.

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

/// A lock over all sub-trees of one tree: shared or exclusive, several at once, in one request.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as soon
/// as there are none.** So it is fair (FIFO), never waits for what is not in its way, and requests that
/// are given whole can never deadlock one another.
///
/// A `TreeLock` is a handle: clones are the same lock. [`TreeLock::new`] makes an independent one. All
/// ways to ask work on the same lock at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds waits
/// for itself, for ever (or until its time-out); so can two holders that each ask for more. Ask for
/// everything in one [`Request`].
///
/// # Fairness and its price
///
/// Nothing overtakes an earlier request that conflicts with it, [`try_acquire`](TreeLock::try_acquire)
/// included, so nobody starves. The price: while a write on `/` waits, all later requests wait for it.
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
/// // Nobody else is below photos/2025, and nobody writes below templates.
/// drop(guard);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TreeLock {
    shared: Arc<Shared>,
}

impl TreeLock {
    /// Returns a new lock, of which nothing is held.
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

    /// Acquires everything that `request` names. Returns a future of the [`Guard`], which a thread can also
    /// [`wait`](crate::Wait::wait) for.
    ///
    /// The request takes its place in the order of arrival when the future is first polled or waited for.
    /// It needs no particular executor; for a time-out use the executor's own, or
    /// [`wait_timeout`](crate::Wait::wait_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, also between the grant and the poll that would have seen it,
    /// gives back whatever it has, and those behind it go on.
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

    /// Acquires everything that `request` names, if nothing is in the way. Asks at once; the answer is
    /// ready: the [`Guard`], or who is in the way.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits. A
    /// failure leaves nothing in the line; to say who is in the way, and how many, it visits the roots of
    /// others above and below its own, along nodes where somebody is in the way.
    ///
    /// # Errors
    ///
    /// [`Blocked`] if it would have to wait, saying for whom.
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

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Acquires
    /// nothing. The answer is ready.
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

    /// Returns all live requests at one moment: who holds and who waits for whom. The answer is ready.
    ///
    /// Takes time for each of them; holds the lock's mutex for a part of it.
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

    /// Returns how many requests hold at this moment, in constant time.
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

    /// Returns how many requests wait at this moment, in constant time.
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

/// How many hold and wait; [`TreeLock::snapshot`] says who.
impl fmt::Debug for TreeLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (held, waiting) = self.shared.table(|table| table.counts());
        f.debug_struct("TreeLock").field("held", &held).field("waiting", &waiting).finish()
    }
}
