//! Asking for the lock: [`TreeLock`], its verbs, and the one future behind them.
//!
//! There is one implementation of waiting, [`Acquire`]. Blocking a thread polls the same future with a
//! waker that unparks the thread.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    arena::Slot,
    guard::{Guard, Shared, Turn},
    request::Request,
    snapshot::{Blocked, Snapshot},
    sync::{self, Arc},
    table::Granted,
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
    /// assert!(lock.snapshot().entries.is_empty());
    /// ```
    #[must_use]
    pub fn new() -> TreeLock {
        TreeLock { shared: Arc::new(Shared::new()) }
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`].
    ///
    /// The request takes its place in the order of arrival when the future is first polled. The future
    /// needs no particular executor; for a time-out use the executor's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, also between the grant and the poll that would have seen it,
    /// gives back whatever it has, and those behind it go on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, TreeLock};
    /// # async fn example(lock: TreeLock) -> Result<(), treelock::NodeError> {
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// let guard = lock.acquire(&rename).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        let request = request.clone();
        Acquire { state: Progress::Unasked { shared: self.shared.clone(), request } }
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`] at once.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits. A
    /// failure leaves nothing in the queue; to say who is in the way, and how many, it visits the roots of
    /// others above and below its own, along nodes where somebody is in the way.
    ///
    /// # Errors
    ///
    /// [`Blocked`] if it would have to wait, saying for whom.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let reader = Request::new().read("photos")?;
    /// let one = lock.try_acquire(&reader)?;
    /// let two = lock.try_acquire(&reader)?;
    /// let blocked = lock.try_acquire(&Request::new().write("photos/2025")?).unwrap_err();
    /// assert_eq!(blocked.ahead, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Result<Guard, Blocked> {
        let request = request.clone();
        request.prepare();
        let (id, failed) = self.shared.table(|table| {
            let (id, _) = table.enqueue(request);
            let blocked = table.why_waiting(id);
            // It was the last in every queue, so nobody waits for it and nobody is granted.
            (id, blocked.map(|blocked| (blocked, table.leave(id, &mut Granted::default()))))
        });
        match failed {
            None => Ok(self.granted(id)),
            Some((blocked, _left)) => Err(blocked),
        }
    }

    /// Acquires everything that `request` names. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted. Not for use within a future: use
    /// [`acquire`](TreeLock::acquire) there.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let request = Request::new().write("target")?;
    /// let guard = lock.acquire_blocking(&request);
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn acquire_blocking(&self, request: &Request) -> Guard {
        match self.block(request, None) {
            Ok(guard) => guard,
            Err(blocked) => unreachable!("gave up without a deadline: {blocked}"),
        }
    }

    /// Acquires everything that `request` names, within `timeout`. Returns the [`Guard`].
    ///
    /// A time-out too long for the clock waits without one. With a time-out of zero the lock is granted
    /// if nothing is in the way, as by [`try_acquire`](TreeLock::try_acquire).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted or the time is over.
    ///
    /// # Errors
    ///
    /// [`Blocked`] if the time is over, saying who was in the way then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.acquire_blocking(&Request::new().write("target/debug")?);
    /// let clean = Request::new().write("target")?;
    /// let blocked = lock.acquire_timeout(&clean, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(blocked.blocker.to_string(), "write /target/debug");
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Guard, Blocked> {
        self.block(request, Instant::now().checked_add(timeout))
    }

    /// Acquires everything that `request` names, before `deadline`. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted or the deadline is over.
    ///
    /// # Errors
    ///
    /// [`Blocked`] if the deadline is over, saying who was in the way then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let source = lock.acquire_deadline(&Request::new().read("src")?, deadline)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_deadline(&self, request: &Request, deadline: Instant) -> Result<Guard, Blocked> {
        self.block(request, Some(deadline))
    }

    /// Returns all live requests at one moment: who holds and who waits for whom.
    ///
    /// Takes time for each of them; holds the lock's mutex for a part of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.try_acquire(&Request::new().write("photos")?)?;
    /// println!("{}", lock.snapshot());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of_table(self.shared.table(|table| table.sightings()))
    }

    /// Returns how many requests hold at this moment, in constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let _guard = lock.try_acquire(&Request::new().write("photos")?)?;
    /// assert_eq!((lock.held(), lock.waiting()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.table(|table| table.counts().0)
    }

    /// Returns how many requests wait at this moment, in constant time.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(treelock::TreeLock::new().waiting(), 0);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.table(|table| table.counts().1)
    }

    fn block(&self, request: &Request, deadline: Option<Instant>) -> Result<Guard, Blocked> {
        let turn = match Turn::ask(self.shared.clone(), request.clone()) {
            (turn, true) => return Ok(Guard::new(turn)),
            (turn, false) => turn,
        };
        let waker = sync::thread_waker();
        let mut acquire = Acquire { state: Progress::Queued(turn) };
        loop {
            if let Poll::Ready(guard) =
                Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker))
            {
                return Ok(guard);
            }
            if !sync::park(deadline) {
                return acquire.give_up();
            }
        }
    }

    fn granted(&self, id: Slot) -> Guard {
        Guard::new(Turn::new(self.shared.clone(), id))
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

/// The future of [`TreeLock::acquire`].
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has.
///
/// # Panics
///
/// If polled again after it was ready.
///
/// # Examples
///
/// ```
/// # use treelock::{Request, TreeLock};
/// # async fn example(lock: TreeLock) -> Result<(), treelock::NodeError> {
/// let acquire = lock.acquire(&Request::new().read("a")?); // nothing is asked yet
/// let guard = acquire.await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a future asks for nothing until it is awaited"]
pub struct Acquire {
    state: Progress,
}

enum Progress {
    Unasked { shared: Arc<Shared>, request: Request },
    Queued(Turn),
    Done,
}

impl Future for Acquire {
    type Output = Guard;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Guard> {
        let turn = match std::mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { shared, request } => match Turn::ask(shared, request) {
                (turn, true) => return Poll::Ready(Guard::new(turn)),
                (turn, false) => turn,
            },
            Progress::Queued(turn) => turn,
            Progress::Done => panic!("an `Acquire` was polled after it was ready"),
        };
        if turn.register(context.waker()) {
            return Poll::Ready(Guard::new(turn));
        }
        self.state = Progress::Queued(turn);
        Poll::Pending
    }
}

impl Acquire {
    /// Returns who is in the way at this moment, or `None` if nobody is: it has not asked yet, or it is
    /// granted and the next poll is ready.
    ///
    /// For the message when an async time-out is over.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{pin::pin, task::{Context, Waker}};
    /// use treelock::{Request, TreeLock};
    ///
    /// let lock = TreeLock::new();
    /// let clean = Request::new().write("target")?.label("clean");
    /// let _guard = lock.try_acquire(&clean)?;
    /// let mut acquire = lock.acquire(&clean);
    /// // With tokio: if timeout(Duration::from_secs(5), &mut acquire).await.is_err() { … }
    /// # assert!(pin!(&mut acquire).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    /// if let Some(blocked) = acquire.blocked() {
    ///     println!("gave up: {blocked}");
    /// }
    /// # assert_eq!(acquire.blocked().unwrap().label.as_deref(), Some("clean"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn blocked(&self) -> Option<Blocked> {
        match &self.state {
            Progress::Queued(turn) => turn.blocked(),
            Progress::Unasked { .. } | Progress::Done => None,
        }
    }

    /// Stop waiting and say who was in the way, unless the lock was granted meanwhile.
    fn give_up(self) -> Result<Guard, Blocked> {
        match (self.blocked(), self.state) {
            (Some(blocked), _) => Err(blocked),
            (None, Progress::Queued(turn)) => Ok(Guard::new(turn)),
            (None, _) => unreachable!("only who waits can give up"),
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            Progress::Unasked { .. } => "unasked",
            Progress::Queued(_) => "queued",
            Progress::Done => "done",
        };
        f.debug_struct("Acquire").field("state", &state).finish_non_exhaustive()
    }
}
