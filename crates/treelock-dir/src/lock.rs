//! Asking for the lock: [`DirLock`], its verbs, and the one future behind them.
//!
//! There is one implementation of waiting, [`Acquire`]. Blocking a thread polls the same future with a
//! waker that unparks the thread.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use treelock::{Blocked, Request, Snapshot};

use crate::{
    error::Error,
    file::NAME,
    guard::{Guard, Turn},
    table::{Answer, Table},
    view,
};

/// A lock over all sub-trees of one tree, shared by the processes of one host: its table is a directory.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as soon
/// as there are none**, whichever threads and processes they come from. A process that dies, however it
/// dies, releases at once.
///
/// A `DirLock` is a handle: clones are the same lock, and so is every other `DirLock`, in whatever process,
/// with the same directory. All ways to ask work on the same lock at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds waits
/// for itself, for ever (or until its time-out); so can two holders that each ask for more. Ask for
/// everything in one [`Request`].
///
/// # Blocking
///
/// Asking, also by the first poll of a future, and looking take the table's latch for some microseconds and
/// block the thread for so long. A process that is *stopped* (`SIGSTOP`, a debugger) in that moment
/// stops all who ask until it goes on or dies.
///
/// # Examples
///
/// ```
/// use treelock::Request;
/// use treelock_dir::DirLock;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let path = scratch.path().join("locks");
/// let lock = DirLock::new(path);
/// let request = Request::new().write("photos/2025")?.read("templates")?.label("import");
/// let guard = lock.acquire_blocking(&request)?;
/// // No process of this host is below photos/2025, and none writes below templates.
/// drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DirLock(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    /// Opened at the first request, and again when another has taken its place.
    table: Mutex<Option<Arc<Table>>>,
}

impl Inner {
    fn slot(&self) -> MutexGuard<'_, Option<Arc<Table>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> Result<Arc<Table>, Error> {
        let mut slot = self.slot();
        match &*slot {
            Some(table) if table.is_own() => return Ok(table.clone()),
            // Not even dropped, which would meddle with what is the other process's too.
            Some(_) => std::mem::forget(slot.take()),
            None => {}
        }
        Ok(slot.insert(Arc::new(Table::open(&self.directory)?)).clone())
    }

    /// Forget a table that is no longer in its place.
    fn forget(&self, table: &Arc<Table>) {
        let old = {
            let mut slot = self.slot();
            slot.take_if(|known| Arc::ptr_eq(known, table))
        };
        drop(old);
    }

    /// Enter a request, or be told who is in the way of one that may not wait.
    fn ask(&self, request: &Request, may_wait: bool) -> Result<Result<Queued, Blocked>, Error> {
        let mut replaced = 0;
        loop {
            let table = self.table()?;
            match table.ask(request, may_wait) {
                Ok(Answer::Entered(place, blockers)) => {
                    let turn = Turn::new(table, request.clone(), place);
                    return Ok(Ok(Queued { turn, blockers }));
                }
                Ok(Answer::Refused(blocked)) => return Ok(Err(blocked)),
                Ok(Answer::Gone) if replaced < REPLACED => {}
                Ok(Answer::Gone) => return Err(Error::Lost { path: table.path().to_path_buf() }),
                // Opened anew it is mended, if nobody uses it.
                Err(Error::Damaged { .. }) if replaced == 0 => {}
                Err(error) => return Err(error),
            }
            replaced += 1;
            self.forget(&table);
        }
    }
}

/// A table that is replaced so often while one asks is not seen for what it is: each time there is a reason to
/// open it again.
const REPLACED: usize = 100;

impl DirLock {
    /// Returns the lock whose table is in this directory.
    ///
    /// Nothing is done yet: the first request makes the directory, for its user alone, and the table. For a
    /// lock between users make the directory yourself, with the rights that you want; the table takes its
    /// rights from it.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = treelock_dir::DirLock::new("/var/lib/builds/locks");
    /// assert_eq!(lock.path(), std::path::Path::new("/var/lib/builds/locks"));
    /// ```
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> DirLock {
        let directory = directory.into();
        // The same directory wherever the process goes. What cannot be made absolute cannot be opened.
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        DirLock(Arc::new(Inner { directory, table: Mutex::default() }))
    }

    /// Returns the directory of the table.
    ///
    /// # Examples
    ///
    /// See [`DirLock::new`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.directory
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`].
    ///
    /// The request takes its place in the order of arrival when the future is first polled, which takes some
    /// microseconds of file access. The future needs no particular executor; for a time-out use the
    /// executor's own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, also between the grant and the poll that would have seen it,
    /// gives back whatever it has, and those behind it go on.
    ///
    /// # Errors
    ///
    /// The future's are those of [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # async fn example(lock: DirLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// let guard = lock.acquire(&rename).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        let request = request.clone();
        Acquire { state: Progress::Unasked { lock: self.clone(), request } }
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`] at once.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits. A
    /// failure leaves nothing in the table.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, saying for whom; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let reader = Request::new().read("photos").unwrap();
    /// let one = lock.try_acquire(&reader)?;
    /// let two = lock.try_acquire(&reader)?;
    /// let writer = Request::new().write("photos/2025").unwrap();
    /// assert_eq!(lock.try_acquire(&writer).unwrap_err().blocked().unwrap().ahead, 2);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Result<Guard, Error> {
        Ok(Guard::new(self.0.ask(request, false)??.turn))
    }

    /// Acquires everything that `request` names. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted. Not for use within a future: use
    /// [`acquire`](DirLock::acquire) there.
    ///
    /// # Errors
    ///
    /// - [`Error::Io`]: the directory or the table cannot be made, read or written (rights, a full disk, no
    ///   more file descriptors or threads).
    /// - [`Error::Shared`]: the directory lies on a network file system.
    /// - [`Error::Foreign`], [`Error::Damaged`]: what is there is not a table, or no longer.
    /// - [`Error::Lost`]: the table was removed or replaced while the request waited.
    /// - [`Error::TooLarge`]: the request has too many or too long roots.
    ///
    /// Whatever fails, nothing is left in the table.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.acquire_blocking(&Request::new().write("target").unwrap())?;
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_blocking(&self, request: &Request) -> Result<Guard, Error> {
        self.block(request, None)
    }

    /// Acquires everything that `request` names, if it is granted within `timeout`. Returns the [`Guard`].
    ///
    /// The request stands in line meanwhile, and leaves it when the time is over.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the lock is granted or the time is over.
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the time is over, saying who was in the way then; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.acquire_blocking(&Request::new().write("target/debug").unwrap())?;
    /// let clean = Request::new().write("target").unwrap();
    /// let error = lock.acquire_timeout(&clean, Duration::from_millis(1)).unwrap_err();
    /// assert_eq!(error.blocked().unwrap().blocker.to_string(), "write /target/debug");
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_timeout(&self, request: &Request, timeout: Duration) -> Result<Guard, Error> {
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
    /// [`Error::Blocked`] if the deadline is over, saying who was in the way then; and those of
    /// [`acquire_blocking`](DirLock::acquire_blocking).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let source = lock.acquire_deadline(&Request::new().read("src").unwrap(), deadline)?;
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire_deadline(&self, request: &Request, deadline: Instant) -> Result<Guard, Error> {
        self.block(request, Some(deadline))
    }

    /// Returns all live requests of all processes at one moment: who holds and who waits for whom. Empty if
    /// there is no table. Needs no right to write.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.try_acquire(&Request::new().write("photos").unwrap())?;
    /// println!("{}", lock.snapshot()?);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Ok(Snapshot::of(view::live_in(self.path())?))
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Asks for nothing.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::Request;
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("photos").unwrap();
    /// assert!(lock.blocked(&request)?.is_none());
    /// let guard = lock.try_acquire(&request)?;
    /// assert_eq!(lock.blocked(&request)?.unwrap().ticket, guard.ticket());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        Ok(Blocked::of(&view::live_in(self.path())?, request, u64::MAX))
    }

    fn block(&self, request: &Request, deadline: Option<Instant>) -> Result<Guard, Error> {
        let (parker, unparker) = parking::pair();
        let waker = Waker::from(unparker);
        let mut acquire = self.acquire(request);
        let mut looks = 0;
        loop {
            let polled = Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(result) = polled {
                return result;
            }
            match deadline {
                None => parker.park(),
                // Once more after the deadline, if it was woken just then.
                Some(deadline) if parker.park_deadline(deadline) => {}
                Some(_) => match acquire.blocked()? {
                    Some(blocked) => return Err(blocked.into()),
                    // Whoever was in the way is leaving, or nobody can read any more who it is.
                    None if looks < LOOKS => looks += usize::from(!parker.park_timeout(LEAVING)),
                    None => return Err(Error::Damaged { path: self.0.directory.join(NAME) }),
                },
            }
        }
    }
}

/// How long leaving may take, and how often that is waited for.
const LEAVING: Duration = Duration::from_millis(10);
const LOOKS: usize = 100;

/// Where the table is; [`DirLock::snapshot`] says who holds and waits.
impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirLock").field(&self.0.directory).finish()
    }
}

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
    Unasked { lock: DirLock, request: Request },
    Queued(Queued),
    Done,
}

/// A live request, and the tickets that it still waits for, the earliest first.
struct Queued {
    turn: Turn,
    blockers: Vec<u64>,
}

impl Queued {
    /// Whether it is granted; if not, `waker` is called when there is reason to look again.
    fn look(&mut self, waker: &Waker) -> Result<bool, Error> {
        let Queued { turn, blockers } = self;
        if blockers.is_empty() {
            return Ok(true);
        }
        let mut watched = None;
        loop {
            turn.table.shrink(turn.place(), blockers)?;
            let Some(last) = blockers.last().copied() else { break };
            if watched == Some(last) {
                return Ok(false);
            }
            // It may leave before it is watched, so it is looked at once more.
            turn.watch(last, waker)?;
            watched = Some(last);
        }
        turn.see_in_place()?;
        turn.table.note_grant(turn.place());
        Ok(true)
    }
}

impl Future for Acquire {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Guard, Error>> {
        let mut queued = match std::mem::replace(&mut self.state, Progress::Done) {
            Progress::Unasked { lock, request } => match lock.0.ask(&request, true)? {
                Ok(queued) => queued,
                Err(blocked) => unreachable!("it may wait, and is told of {blocked}"),
            },
            Progress::Queued(queued) => queued,
            Progress::Done => panic!("an `Acquire` was polled after it was ready"),
        };
        if queued.look(context.waker())? {
            return Poll::Ready(Ok(Guard::new(queued.turn)));
        }
        self.state = Progress::Queued(queued);
        Poll::Pending
    }
}

impl Acquire {
    /// Returns who is in the way at this moment, or `None` if nobody is: it has not asked yet, or it is
    /// granted and the next poll is ready.
    ///
    /// For the message when an async time-out is over.
    ///
    /// # Blocking
    ///
    /// For some microseconds; see [`DirLock`].
    ///
    /// # Errors
    ///
    /// [`Error::Lost`] if the table was removed or replaced meanwhile; [`Error::Io`], [`Error::Foreign`] or
    /// [`Error::Damaged`] if it cannot be read.
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
            Progress::Queued(Queued { turn, .. }) => {
                turn.see_in_place()?;
                // By its own descriptor, for there may be no other free.
                let sightings = view::live_seen_from(&turn.place().file, turn.table.path())?;
                Ok(Blocked::of(&sightings, &turn.request, turn.place().ticket))
            }
            Progress::Unasked { .. } | Progress::Done => Ok(None),
        }
    }

    /// Returns the ticket, by which a [`Snapshot`] names the request; `None` before it has asked and after
    /// it was ready.
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
            Progress::Queued(queued) => Some(queued.turn.place().ticket),
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
