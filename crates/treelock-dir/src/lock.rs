//! The lock between processes, [`DirLock`], and its verbs.

use std::{
    fmt,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use treelock::{Answer, Blocked, Request, Snapshot, engine::Finding};

use crate::{
    acquire::Acquire, check, directory::Directory, error::Error, guard::Guard, holders, look,
};

/// A lock over all sub-trees of one tree, shared by the processes of one host. Its lock table is
/// kept in a directory.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none**, whichever threads and processes they come from. A process that dies,
/// in whatever way, releases its locks at once.
///
/// A `DirLock` is a handle: clones refer to the same lock, and so does every other `DirLock` with
/// the same directory, in any process. All ways to acquire can be used at the same time.
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that requests something that conflicts with what it already
/// holds waits for itself, forever or until it gives up. Two holders that each request more can
/// block each other in the same way. Request everything at once, in one [`Request`].
///
/// # Blocking
///
/// A request that waits does not block the thread that polls it. However, making a request
/// (including by the first poll of a future) takes the table's latch, which others hold for about a
/// microsecond each, and the first request opens the table. Looking at the table reads its file.
/// The verbs that return an [`Answer`] do this during the call. If a process is *stopped*
/// (`SIGSTOP`, a debugger) while it has the latch, a poll blocks the thread for 10 ms and tries
/// again later, and a try fails after 250 ms.
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
/// // No process on this host is below photos/2025, and none writes below templates.
/// drop(guard);
/// # Ok::<(), treelock_dir::Error>(())
/// ```
#[derive(Clone)]
pub struct DirLock(Arc<Directory>);

impl DirLock {
    /// Returns the lock whose table is in this directory.
    ///
    /// Nothing is created yet. The first request creates the table, and the directory if it is
    /// missing, for the current user alone. For a lock between users, create the directory
    /// yourself, with the permissions that you want; the table takes its permissions from the
    /// directory.
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
        // So it is the same directory even if the process changes its working directory. A path
        // that cannot be made absolute cannot be opened either.
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
    /// waited for, which takes some microseconds of file access. The future works with any
    /// executor. For a timeout, use the executor's own or
    /// [`wait_timeout`](treelock::Wait::wait_timeout). Both keep the place in line until the future
    /// is dropped or [given up](Acquire::give_up).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time, even between the grant and the poll that would have
    /// observed it, gives back whatever it has, and the requests behind it proceed.
    ///
    /// # Errors
    ///
    /// The future returns
    ///
    /// - [`Error::Io`]: the directory or the table cannot be created, read or written (permissions,
    ///   a full disk, no more file descriptors or threads).
    /// - [`Error::Shared`]: the directory is on a network file system.
    /// - [`Error::Foreign`], [`Error::Damaged`]: the file in the table's place is not a table, or
    ///   no longer is one.
    /// - [`Error::Lost`]: the table was removed or replaced while the request waited.
    /// - [`Error::TooLarge`]: the request has too many roots, or roots that are too long.
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

    /// Acquires everything that `request` names, if nothing is in the way. The request is made at
    /// once, and the answer is ready immediately: the [`Guard`], or the request that is in the way.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way even while it only waits.
    /// A failed try leaves nothing in the table.
    ///
    /// # Blocking
    ///
    /// The call itself takes some microseconds of file access; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Blocked`], which names the blocker, if the request would have to wait; and
    /// the errors of [`acquire`](DirLock::acquire).
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

    /// Returns the request that would be in the way of `request` if it were made now, or `None` if
    /// there is none. Acquires nothing. The table is read at once, and the answer is ready
    /// immediately.
    ///
    /// # Blocking
    ///
    /// The call itself takes some microseconds of file access; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
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
        Answer::ready(look::blocked_in(self.path(), request))
    }

    /// Returns all live requests of all processes at one moment: which of them hold their locks,
    /// and what each of the others waits for. The snapshot is empty if there is no table. No write
    /// permission is needed. The table is read at once, and the answer is ready immediately.
    ///
    /// # Blocking
    ///
    /// The call itself takes some microseconds of file access; see [`DirLock`](DirLock#blocking).
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`], [`Error::Foreign`] or [`Error::Damaged`] if the table cannot be read.
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

    /// Checks the directory and the table. Returns what it found: whether locks work here, and
    /// anything unusual. If there is no table yet, it says so, and creates nothing. The check runs
    /// at once, and the answer is ready immediately.
    ///
    /// # Blocking
    ///
    /// The call itself takes some milliseconds, or a fifth of a second if the latch is never free.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if something cannot be examined that was there a moment ago. Anything
    /// bad about the directory is a [`Finding`], not an error.
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

    /// Waits until everything that was dropped is given back. The answer is ready immediately,
    /// because dropping gives back at once.
    ///
    /// # Examples
    ///
    /// See [`close`](DirLock::close).
    pub fn settled(&self) -> Answer<()> {
        Answer::ready(())
    }

    /// Closes the table that this handle and its clones keep open, and ends their idle threads,
    /// once no guard or request needs them, except for threads that sleep until another process
    /// ends. The answer is ready immediately. The lock can be used again afterwards.
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

    /// Returns the process IDs of all processes that keep a ticket alive: the one that made the
    /// request, and those that inherited its descriptor. Returns none if the ticket is not live.
    ///
    /// The processes are found in `/proc`. Only root sees the processes of other users.
    ///
    /// # Blocking
    ///
    /// Reads the `/proc` entries of every process, which takes some milliseconds.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Io`] if the table or `/proc` cannot be read.
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
        holders::of_ticket(self.path(), ticket)
    }
}

/// Shows where the table is. [`DirLock::snapshot`] says which requests are held and which wait.
impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirLock").field(&self.path()).finish()
    }
}
