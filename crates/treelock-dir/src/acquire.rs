//! The one future behind all ways to ask: [`Acquire`].

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use treelock::{Answer, Blocked, Request, Wait};

use crate::{directory::Directory, error::Error, give_up::give_up, guard::Guard, turn::Turn};

/// A request on its way to its [`Guard`]. [`DirLock::acquire`](crate::DirLock::acquire) returns it.
///
/// It is a future, which a thread can also [`wait`](Wait::wait) for. It asks when it is first
/// polled or waited for, and takes its place in the order of arrival then.
///
/// # Cancel safety
///
/// Dropping it at any time, also between the grant and the poll that would have seen it, gives back
/// whatever it has, and those behind it go on.
///
/// # Panics
///
/// If it is polled again after it was ready.
///
/// # Examples
///
/// ```
/// # use treelock::Request;
/// # use treelock_dir::DirLock;
/// # async fn example(lock: DirLock) -> Result<(), treelock_dir::Error> {
/// let acquire = lock.acquire(&Request::new().read("a")?); // nothing is asked yet
/// let guard = acquire.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a future asks for nothing until it is awaited or waited for"]
pub struct Acquire {
    state: Progress,
}

enum Progress {
    Unasked { directory: Arc<Directory>, request: Request },
    Queued(Turn),
    Done,
}

#[cold]
fn was_ready() -> ! {
    panic!("an `Acquire` was used after it was ready")
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let mut turn = match mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { directory, request } => match directory.ask(&request, true)? {
                Ok(turn) => turn,
                Err(blocked) => unreachable!("it may wait, and is told of {blocked}"),
            },
            Progress::Queued(turn) => turn,
            Progress::Done => was_ready(),
        };
        if turn.is_granted_or_watched(context.waker())? {
            return Poll::Ready(Ok(Guard::new(turn)));
        }
        self.state = Progress::Queued(turn);
        Poll::Pending
    }
}

impl Wait for Acquire {}

impl Acquire {
    pub(crate) fn new(directory: Arc<Directory>, request: Request) -> Acquire {
        Acquire { state: Progress::Unasked { directory, request } }
    }

    /// Returns the ticket, by which a [`Snapshot`](treelock::Snapshot) names the request; `None`
    /// before it has asked and after it was ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// let lock = treelock_dir::DirLock::new("locks");
    /// assert_eq!(lock.acquire(&Request::new()).ticket(), None);
    /// ```
    #[must_use]
    pub fn ticket(&self) -> Option<u64> {
        match &self.state {
            Progress::Queued(turn) => Some(turn.seat().ticket),
            Progress::Unasked { .. } | Progress::Done => None,
        }
    }

    /// Returns who is in the way at this moment, or `None` if nobody is: it has not asked yet, or
    /// it is granted and the next poll is ready. The answer is ready.
    ///
    /// # Blocking
    ///
    /// Looks at the call, which takes some microseconds of file access; see
    /// [`DirLock`](crate::DirLock#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the table was removed or replaced meanwhile; [`Error::Io`],
    /// [`Error::Foreign`] or [`Error::Damaged`] if it cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let clean = Request::new().write("target")?.with_label("clean");
    /// let _guard = lock.acquire(&clean).wait()?;
    ///
    /// let mut acquire = lock.acquire(&clean);
    /// assert!(acquire.wait_timeout(Duration::from_millis(1)).is_none());
    /// let blocked = acquire.blocked().wait()?.expect("the first one holds it");
    /// println!("still waiting: {blocked}");
    /// # assert_eq!(blocked.label.as_deref(), Some("clean"));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn blocked(&self) -> Answer<Result<Option<Blocked>, Error>> {
        Answer::ready(match &self.state {
            Progress::Queued(turn) => turn.blocked(),
            Progress::Unasked { .. } | Progress::Done => Ok(None),
        })
    }

    /// Stops waiting and leaves the line. Returns who was in the way, or the [`Guard`] if the lock
    /// was granted meanwhile.
    ///
    /// A request that has not asked yet asks now and does not wait, as
    /// [`try_acquire`](crate::DirLock::try_acquire) does.
    ///
    /// The answer is ready, with one exception: if whoever is in the way is just leaving, or its
    /// record can no longer be read, the answer waits for it to leave, for at most one second. A
    /// sleeping thread serves as the timer, so async code needs none of its own.
    ///
    /// # Blocking
    ///
    /// Looks at the call, which takes some microseconds of file access; see
    /// [`DirLock`](crate::DirLock#blocking).
    ///
    /// # Cancel safety
    ///
    /// Dropping the answer leaves the line, or gives the guard back.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait longer, saying for whom. [`Error::Damaged`] if
    /// nobody can read any more who is in the way; and those of
    /// [`DirLock::acquire`](crate::DirLock::acquire).
    ///
    /// # Panics
    ///
    /// If it was ready before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, Wait};
    /// use treelock_dir::{DirLock, Error, Guard};
    ///
    /// fn clean(lock: &DirLock) -> Result<Guard, Error> {
    ///     let mut acquire = lock.acquire(&Request::new().write("target")?);
    ///     match acquire.wait_timeout(Duration::from_millis(1)) {
    ///         Some(granted) => granted,
    ///         None => acquire.give_up().wait(),
    ///     }
    /// }
    /// // With tokio: match timeout(limit, &mut acquire).await {
    /// //     Ok(granted) => granted,
    /// //     Err(_) => acquire.give_up().await,
    /// // }
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = clean(&lock)?;
    /// let error = clean(&lock).unwrap_err();
    /// assert_eq!(error.blocked().unwrap().blocker.to_string(), "write /target");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn give_up(self) -> Answer<Result<Guard, Error>> {
        match self.state {
            Progress::Unasked { directory, request } => {
                Answer::ready(directory.attempt(&request).map(Guard::new))
            }
            Progress::Queued(turn) => give_up(turn),
            Progress::Done => was_ready(),
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
