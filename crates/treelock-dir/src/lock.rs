//! Asking for the lock: [`DirLock`] and its verbs.

use std::{
    fmt,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use treelock::{Answer, Blocked, Request, Snapshot, engine::Finding};

use crate::{
    acquire::Acquire, check, directory::Directory, error::Error, guard::Guard, holders, look,
};

/// A lock over all sub-trees of one tree, shared by the processes of one host: its table is a
/// directory.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none**, whichever threads and processes they come from. A process that dies,
/// however it dies, releases at once.
///
/// A `DirLock` is a handle: clones are the same lock, and so is every other `DirLock`, in whatever
/// process, with the same directory. All ways to ask work on the same lock at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds
/// waits for itself, for ever (or until it gives up); so can two holders that each ask for more.
/// Ask for everything in one [`Request`].
///
/// # Blocking
///
/// A request that waits does not block the thread that polls it. But asking (also by the first poll
/// of a future) and looking take the latch of the table and access its file, and the thread is
/// blocked meanwhile: for some microseconds, as a rule. The verbs that return an [`Answer`] do this
/// at the call. If a process is *stopped* (`SIGSTOP`, a debugger) while it has the latch, all who
/// ask or look are blocked until it goes on or dies, even those with a time-out.
///
/// # Examples
///
/// ```
/// use treelock::{Request, Wait};
/// use treelock_dir::DirLock;
///
/// # let scratch = tempfile::tempdir().unwrap();
/// # let path = scratch.path().join("locks");
/// let lock = DirLock::new(path);
/// let request = Request::new().write("photos/2025")?.read("templates")?.with_label("import");
/// let guard = lock.acquire(&request).wait()?; // in async code: .await?
/// // No process of this host is below photos/2025, and none writes below templates.
/// drop(guard);
/// # Ok::<(), treelock_dir::Error>(())
/// ```
#[derive(Clone)]
pub struct DirLock(Arc<Directory>);

impl DirLock {
    /// Returns the lock whose table is in this directory.
    ///
    /// Nothing is done yet: the first request makes the directory, for its user alone, and the
    /// table. For a lock between users, make the directory yourself, with the rights that you want;
    /// the table takes its rights from it.
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
        // So it is the same directory wherever the process goes. A path that cannot be made
        // absolute cannot be opened either.
        let directory = path::absolute(&directory).unwrap_or(directory);
        DirLock(Arc::new(Directory::new(directory)))
    }

    /// Returns the directory of the table.
    ///
    /// # Examples
    ///
    /// See [`DirLock::new`].
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`], which a thread
    /// can also [`wait`](treelock::Wait::wait) for.
    ///
    /// The request takes its place in the order of arrival when the future is first polled or
    /// waited for, which takes some microseconds of file access. The future needs no particular
    /// executor. For a time-out use the executor's own, or
    /// [`wait_timeout`](treelock::Wait::wait_timeout): both keep the place in the line until the
    /// future is dropped or [given up](Acquire::give_up).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, also between the grant and the poll that would have seen
    /// it, gives back whatever it has, and those behind it go on.
    ///
    /// # Errors
    ///
    /// The future's:
    ///
    /// - [`Error::Io`]: the directory or the table cannot be made, read or written (rights, a full
    ///   disk, no more file descriptors or threads).
    /// - [`Error::Shared`]: the directory lies on a network file system.
    /// - [`Error::Foreign`], [`Error::Damaged`]: the file in the table's place is not a table, or
    ///   no longer.
    /// - [`Error::Lost`]: the table was removed or replaced while the request waited.
    /// - [`Error::TooLarge`]: the request has too many or too long roots.
    ///
    /// Whatever fails, nothing is left in the table.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let rename = Request::new().write("photos/2024")?.write("archive/2024")?;
    /// let guard = lock.acquire(&rename).wait()?; // in async code: .await?
    /// drop(guard);
    ///
    /// let mut acquire = lock.acquire(&rename);
    /// let guard = match acquire.wait_timeout(Duration::from_secs(5)) {
    ///     Some(granted) => granted?,
    ///     None => acquire.give_up().wait()?,
    /// };
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(self.0.clone(), request.clone())
    }

    /// Acquires everything that `request` names, if nothing is in the way. Asks at once; the answer
    /// is ready: the [`Guard`], or who is in the way.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way even while it only waits.
    /// A failure leaves nothing in the table.
    ///
    /// # Blocking
    ///
    /// Some microseconds of file access at the call; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, saying for whom; and those of
    /// [`acquire`](DirLock::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let reader = Request::new().read("photos")?;
    /// let one = lock.try_acquire(&reader).wait()?;
    /// let two = lock.try_acquire(&reader).wait()?;
    /// let error = lock.try_acquire(&Request::new().write("photos/2025")?).wait().unwrap_err();
    /// assert_eq!(error.blocked().unwrap().ahead, 2);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        Answer::ready(self.0.attempt(request).map(Guard::new))
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would.
    /// Acquires nothing. Looks at once; the answer is ready.
    ///
    /// # Blocking
    ///
    /// Some microseconds of file access at the call; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let request = Request::new().write("photos")?;
    /// assert!(lock.blocked(&request).wait()?.is_none());
    /// let guard = lock.acquire(&request).wait()?;
    /// assert_eq!(lock.blocked(&request).wait()?.unwrap().ticket, guard.ticket());
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        let live = look::live_in(self.path());
        Answer::ready(live.map(|live| Blocked::of(&live, request, u64::MAX)))
    }

    /// Returns all live requests of all processes at one moment: who holds and who waits for whom.
    /// Empty if there is no table. Needs no right to write. Looks at once; the answer is ready.
    ///
    /// # Blocking
    ///
    /// Some microseconds of file access at the call; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let _guard = lock.acquire(&Request::new().write("photos")?).wait()?;
    /// println!("{}", lock.snapshot().wait()?);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        Answer::ready(look::live_in(self.path()).map(Snapshot::of))
    }

    /// Returns what there is to say about this place: whether locks work here, and what is odd.
    /// Makes the directory and the table if they are missing. Looks at once; the answer is ready.
    ///
    /// # Blocking
    ///
    /// Some milliseconds at the call; a fifth of a second if the latch is never free.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if something cannot be looked at that was there a moment ago. What is bad
    /// about the place is a [`Finding`], not an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Wait, engine::Severity};
    /// use treelock_dir::DirLock;
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let findings = lock.check().wait()?;
    /// assert!(findings.iter().all(|finding| finding.severity < Severity::Bad));
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        Answer::ready(check::findings(self.path()))
    }

    /// Waits until everything that was dropped is given back. The answer is ready: dropping gives
    /// back at once.
    ///
    /// # Examples
    ///
    /// See [`close`](DirLock::close).
    pub fn settled(&self) -> Answer<()> {
        Answer::ready(())
    }

    /// Closes the files that this handle and its clones keep open to use them again, and ends their
    /// idle threads, unless a guard or a request still needs them. The answer is ready. The lock
    /// can be used again.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// drop(lock.acquire(&Request::new().write("photos")?).wait()?);
    /// lock.close().wait();
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn close(&self) -> Answer<()> {
        self.0.close();
        self.settled()
    }

    /// Returns the numbers of all processes that keep a ticket alive: the one that asked, and those
    /// that inherited its descriptor. Empty if the ticket is not live.
    ///
    /// They are found in `/proc`. Only root sees processes of other users.
    ///
    /// # Blocking
    ///
    /// Reads what `/proc` says of every process: some milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the table or `/proc` cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock::{Request, Wait};
    /// # use treelock_dir::DirLock;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// let lock = DirLock::new(scratch.path().join("locks"));
    /// let guard = lock.acquire(&Request::new()).wait()?;
    /// assert_eq!(lock.processes(guard.ticket())?, [std::process::id()]);
    /// # Ok::<(), treelock_dir::Error>(())
    /// ```
    pub fn processes(&self, ticket: u64) -> Result<Vec<u32>, Error> {
        holders::holders(self.path(), ticket)
    }
}

/// Prints where the table is. [`DirLock::snapshot`] says who holds and who waits.
impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirLock").field(&self.path()).finish()
    }
}
