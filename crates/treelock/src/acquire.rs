//! The one future behind all ways to acquire the lock: [`Acquire`].

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    answer::Answer,
    blocked::Blocked,
    guard::Guard,
    request::Request,
    sync::Arc,
    turn::{Shared, Turn},
    wait::Wait,
};

/// A request on its way to becoming a [`Guard`]. Returned by
/// [`TreeLock::acquire`](crate::TreeLock::acquire).
///
/// This is a future that a thread can also [`wait`](Wait::wait) for. The request is made, and takes
/// its place in the order of arrival, when the future is first polled or waited for.
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has, and the requests behind it proceed.
///
/// # Panics
///
/// Panics if polled again after it was ready.
///
/// # Examples
///
/// ```
/// # use treelock::{Request, TreeLock};
/// # async fn example(lock: TreeLock) -> Result<(), treelock::NodeError> {
/// let acquire = lock.acquire(&Request::new().read("a")?); // nothing is requested yet
/// let guard = acquire.await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a future requests nothing until it is awaited or waited for"]
pub struct Acquire {
    state: Progress,
}

enum Progress {
    Unasked { shared: Arc<Shared>, request: Request },
    Queued(Turn),
    Done,
}

#[cold]
fn was_ready() -> ! {
    panic!("an `Acquire` was used after it was ready")
}

impl Future for Acquire {
    type Output = Guard;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Guard> {
        let turn = match mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { shared, request } => match Turn::ask(shared, request) {
                (turn, true) => return Poll::Ready(Guard::new(turn)),
                (turn, false) => turn,
            },
            Progress::Queued(turn) => turn,
            Progress::Done => was_ready(),
        };
        if turn.register(context.waker()) {
            return Poll::Ready(Guard::new(turn));
        }
        self.state = Progress::Queued(turn);
        Poll::Pending
    }
}

impl Wait for Acquire {}

impl Acquire {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, request: Request) -> Acquire {
        Acquire { state: Progress::Unasked { shared, request } }
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](crate::Snapshot). It is
    /// `None` before the request is made and after the future was ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, TreeLock};
    /// assert_eq!(TreeLock::new().acquire(&Request::new()).ticket(), None);
    /// ```
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        match &self.state {
            Progress::Queued(turn) => Some(turn.ticket()),
            Progress::Unasked { .. } | Progress::Done => None,
        }
    }

    /// Returns the request that is in the way at this moment, or `None` if there is none: the
    /// request has not been made yet, or it is granted and the next poll will be ready. The answer
    /// is ready immediately.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, TreeLock, Wait};
    ///
    /// let lock = TreeLock::new();
    /// let request = Request::new().write("target")?.with_label("clean");
    /// let _guard = lock.acquire(&request).wait();
    ///
    /// let mut acquire = lock.acquire(&request);
    /// assert!(acquire.wait_timeout(Duration::from_millis(1)).is_none());
    /// let blocked = acquire.blocked().wait().expect("the first one holds it");
    /// println!("still waiting: {blocked}");
    /// # assert_eq!(blocked.label.as_deref(), Some("clean"));
    /// # Ok::<(), treelock::NodeError>(())
    /// ```
    pub fn blocked(&self) -> Answer<Option<Blocked>> {
        Answer::ready(match &self.state {
            Progress::Queued(turn) => turn.blocked(),
            Progress::Unasked { .. } | Progress::Done => None,
        })
    }

    /// Stops waiting and leaves the line. Returns the request that was in the way, or the [`Guard`]
    /// if the lock was granted in the meantime. The answer is ready immediately.
    ///
    /// If the request has not been made yet, it is made now without waiting, as
    /// [`try_acquire`](crate::TreeLock::try_acquire) does.
    ///
    /// # Errors
    ///
    /// Returns [`Blocked`], which names the blocker, if the request would have to wait longer.
    ///
    /// # Panics
    ///
    /// Panics if the future was ready before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Guard, Request, TreeLock, Wait};
    ///
    /// fn clean(lock: &TreeLock) -> Result<Guard, Box<dyn std::error::Error>> {
    ///     let mut acquire = lock.acquire(&Request::new().write("target")?);
    ///     match acquire.wait_timeout(Duration::from_millis(1)) {
    ///         Some(guard) => Ok(guard),
    ///         None => Ok(acquire.give_up().wait()?),
    ///     }
    /// }
    /// // With tokio: match timeout(limit, &mut acquire).await {
    /// //     Ok(guard) => guard, Err(_) => acquire.give_up().await? }
    ///
    /// let lock = TreeLock::new();
    /// let _guard = clean(&lock)?;
    /// let error = clean(&lock).unwrap_err();
    /// assert!(error.to_string().starts_with("write /target is blocked by request #1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn give_up(self) -> Answer<Result<Guard, Blocked>> {
        let turn = match self.state {
            Progress::Unasked { shared, request } => Turn::attempt(&shared, &request),
            Progress::Queued(turn) => match turn.blocked() {
                Some(blocked) => Err(blocked),
                None => Ok(turn),
            },
            Progress::Done => was_ready(),
        };
        Answer::ready(turn.map(Guard::new))
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
