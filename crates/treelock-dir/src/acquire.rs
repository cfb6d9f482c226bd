//! The one future behind all ways to ask: [`Acquire`].

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use treelock::{Blocked, Request};

use crate::{directory::Directory, error::Error, guard::Guard, turn::Turn};

/// The future of [`DirLock::acquire`].
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
/// # use treelock::Request;
/// # use treelock_dir::DirLock;
/// # async fn example(lock: DirLock) -> Result<(), Box<dyn std::error::Error>> {
/// let acquire = lock.acquire(&Request::new().read("a")?); // nothing is asked yet
/// let guard = acquire.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a future asks for nothing until it is awaited"]
pub struct Acquire {
    state: Progress,
}

enum Progress {
    Unasked { directory: Arc<Directory>, request: Request },
    Queued(Turn),
    Done,
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let mut turn = match std::mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { directory, request } => match directory.ask(&request, true)? {
                Ok(turn) => turn,
                Err(blocked) => unreachable!("it may wait, and is told of {blocked}"),
            },
            Progress::Queued(turn) => turn,
            Progress::Done => panic!("an `Acquire` was polled after it was ready"),
        };
        if turn.is_granted(context.waker())? {
            return Poll::Ready(Ok(Guard::new(turn)));
        }
        self.state = Progress::Queued(turn);
        Poll::Pending
    }
}

impl Acquire {
    pub(crate) fn new(directory: Arc<Directory>, request: Request) -> Acquire {
        Acquire { state: Progress::Unasked { directory, request } }
    }

    /// Returns who is in the way at this moment, or `None` if nobody is: it has not asked yet, or
    /// it is granted and the next poll is ready.
    ///
    /// For the message when an async time-out is over.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the table was removed or replaced meanwhile; [`Error::Io`],
    /// [`Error::Foreign`] or [`Error::Damaged`] if it cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{future::Future, pin::pin, task::{Context, Waker}};
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let clean = Request::new().write("target").unwrap().label("clean");
    /// let _guard = lock.try_acquire(&clean)?;
    /// let mut acquire = lock.acquire(&clean);
    /// // With tokio: if timeout(Duration::from_secs(5), &mut acquire).await.is_err() { … }
    /// # assert!(pin!(&mut acquire).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    /// if let Some(blocked) = acquire.blocked()? {
    ///     println!("gave up: {blocked}");
    /// }
    /// # assert_eq!(acquire.blocked()?.unwrap().label.as_deref(), Some("clean"));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn blocked(&self) -> Result<Option<Blocked>, Error> {
        match &self.state {
            Progress::Queued(turn) => turn.blocked(),
            Progress::Unasked { .. } | Progress::Done => Ok(None),
        }
    }

    /// Returns the ticket, by which a [`Snapshot`] names the request; `None` before it has asked
    /// and after it was ready.
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
