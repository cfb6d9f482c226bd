//! The one future behind all ways to acquire the lock: [`Acquire`].

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use treelock::{Answer, Blocked, Request, Wait};

use crate::{directory::Directory, error::Error, guard::Guard, turn::Turn, watch::Watches};

/// A request on its way to becoming a [`Guard`]. Returned by
/// [`DirLock::acquire`](crate::DirLock::acquire).
///
/// This is a future that a thread can also [`wait`](Wait::wait) for. The request is made, and takes
/// its place in the order of arrival, when the future is first polled or waited for.
///
/// # Cancel safety
///
/// Dropping it at any time, even between the grant and the poll that would have observed it, gives
/// back whatever it has, and the requests behind it proceed.
///
/// # Panics
///
/// Panics if polled again after it was ready.
///
/// # Examples
///
/// ```
/// # use treelock::Request;
/// # use treelock_dir::DirLock;
/// # async fn example(lock: DirLock) -> Result<(), treelock_dir::Error> {
/// let acquire = lock.acquire(&Request::new().read("a")?); // nothing is requested yet
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

/// How long a poll waits for a latch that others have, which is mostly held for less than a
/// microsecond. If a process was stopped with it, the next poll tries again.
const POLL_TIMEOUT: Duration = Duration::from_millis(10);

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let mut turn = match self.turn(Some(Instant::now() + POLL_TIMEOUT)) {
            Err(Error::Stuck { path, process }) => {
                return match Watches::retry_later(context.waker()) {
                    Ok(()) => Poll::Pending,
                    Err(_) => Poll::Ready(Err(Error::Stuck { path, process })),
                };
            }
            turn => turn?,
        };
        if turn.is_granted_or_watched(context.waker())? {
            return Poll::Ready(Ok(Guard::new(turn)));
        }
        self.state = Progress::Queued(turn);
        Poll::Pending
    }
}

impl Wait for Acquire {
    /// Sleeps where those who leave ring, so that no other thread has to wake this one.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Result<Guard, Error>> {
        // However short the time is, the request is made if the latch is in use as usual.
        let latest = deadline.map(|deadline| deadline.max(Instant::now() + POLL_TIMEOUT));
        let mut turn = match self.turn(latest) {
            Err(Error::Stuck { .. }) if deadline.is_some() => return None,
            Err(error) => return Some(Err(error)),
            Ok(turn) => turn,
        };
        match turn.is_granted_until(deadline) {
            Ok(true) => Some(Ok(Guard::new(turn))),
            Ok(false) => {
                self.state = Progress::Queued(turn);
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Acquire {
    /// Takes the request's place in line out of the future; makes the request if it is not made
    /// yet. If a process was stopped with the latch, fails at the deadline, and the request is not
    /// made.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<Turn, Error> {
        match mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { directory, request } => {
                match directory.ask(&request, true, deadline) {
                    Ok(Ok(turn)) => Ok(turn),
                    Ok(Err(blocked)) => {
                        unreachable!("a request that may wait was refused: {blocked}")
                    }
                    Err(error) => {
                        if let Error::Stuck { .. } = error {
                            self.state = Progress::Unasked { directory, request };
                        }
                        Err(error)
                    }
                }
            }
            Progress::Queued(turn) => Ok(turn),
            Progress::Done => was_ready(),
        }
    }

    pub(crate) fn new(directory: Arc<Directory>, request: Request) -> Acquire {
        Acquire { state: Progress::Unasked { directory, request } }
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](treelock::Snapshot). It
    /// is `None` before the request is made and after the future was ready.
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
            Progress::Queued(turn) => Some(turn.seat().own.ticket),
            Progress::Unasked { .. } | Progress::Done => None,
        }
    }

    /// Returns the request that is in the way at this moment, or `None` if there is none: the
    /// request has not been made yet, or it is granted and the next poll will be ready. The answer
    /// is ready immediately.
    ///
    /// # Blocking
    ///
    /// The call itself reads the table, which takes some microseconds of file access; see
    /// [`DirLock`](crate::DirLock#blocking).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Lost`] if the table was removed or replaced in the meantime; [`Error::Io`],
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

    /// Stops waiting and leaves the line. Returns the request that was in the way, or the [`Guard`]
    /// if the lock was granted in the meantime.
    ///
    /// If the request has not been made yet, it is made now without waiting, as
    /// [`try_acquire`](crate::DirLock::try_acquire) does.
    ///
    /// The answer is ready immediately.
    ///
    /// # Blocking
    ///
    /// The call itself reads the table, which takes some microseconds of file access; see
    /// [`DirLock`](crate::DirLock#blocking).
    ///
    /// # Cancel safety
    ///
    /// Dropping the answer leaves the line or gives the guard back.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Blocked`], which names the blocker, if the request would have to wait
    /// longer; [`Error::Damaged`] if it can no longer be determined what is in the way; and the
    /// errors of [`DirLock::acquire`](crate::DirLock::acquire).
    ///
    /// # Panics
    ///
    /// Panics if the future was ready before.
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
            Progress::Queued(turn) => Answer::ready(give_up(turn)),
            Progress::Done => was_ready(),
        }
    }
}

/// Leaves the line with what is in the way, or with the guard if nothing is.
fn give_up(mut turn: Turn) -> Result<Guard, Error> {
    while !turn.is_granted()? {
        // If it has left in between, the request is granted now.
        if let Some(blocked) = turn.blocked()? {
            return Err(blocked.into());
        }
    }
    Ok(Guard::new(turn))
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
