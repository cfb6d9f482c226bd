//! The lock whose engine is chosen at run time: [`AnyLock`].

use std::{any::Any, fmt, str::FromStr, sync::Arc};

use treelock::{
    Answer, Blocked, Request, Snapshot,
    engine::{Engine, Events, Finding},
};

use crate::{
    acquire::{Acquire, erased},
    address::Address,
    error::Error,
    guard::Guard,
    open,
};

/// A lock over all sub-trees of one tree, whose engine is chosen at run time.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none**, whichever engine keeps the table.
///
/// A value is a handle: clones refer to the same lock. So do two handles that were opened with the
/// same `dir:` or `etcd:` text, in any process. `memory:` is a different lock each time it is
/// opened.
///
/// # Deadlock
///
/// The lock is not re-entrant with any engine: see [`TreeLock`](treelock::TreeLock#deadlock).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use treelock_any::{AnyLock, Wait, treelock::Request};
///
/// let text = std::env::var("APP_LOCK").unwrap_or_else(|_| "memory:".into());
/// let lock = AnyLock::open(&text)?;
/// let mut acquire = lock.acquire(&Request::new().write("photos/2025")?.read("templates")?);
/// let guard = match acquire.wait_timeout(Duration::from_secs(5)) {
///     Some(guard) => guard?,
///     None => acquire.give_up().wait()?, // an error that names the blocker
/// };
/// // No other user of this lock is below photos/2025, and none writes below templates.
/// guard.release().wait();
/// # Ok::<(), treelock_any::Error>(())
/// ```
#[derive(Clone)]
pub struct AnyLock {
    engine: Arc<dyn ErasedEngine>,
    text: Arc<str>,
}

/// A type-erased [`Engine`].
trait ErasedEngine: Send + Sync {
    fn acquire(&self, request: &Request) -> Acquire;
    fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>>;
    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>>;
    fn snapshot(&self) -> Answer<Result<Snapshot, Error>>;
    fn events(&self) -> Answer<Result<Events<Error>, Error>>;
    fn check(&self) -> Answer<Result<Vec<Finding>, Error>>;
    fn settled(&self) -> Answer<()>;
    fn close(&self) -> Answer<()>;
    fn max_roots(&self) -> usize;
    fn as_any(&self) -> &dyn Any;
}

impl<E: Engine> ErasedEngine for E {
    fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(Engine::acquire(self, request))
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        Engine::try_acquire(self, request).map(erased)
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        Engine::blocked(self, request).map(|answer| answer.map_err(Error::of_engine))
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        Engine::snapshot(self).map(|answer| answer.map_err(Error::of_engine))
    }

    fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        Engine::events(self).map(|answer| match answer {
            Ok(events) => Ok(events.map_err(Error::of_engine)),
            Err(error) => Err(Error::of_engine(error)),
        })
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        Engine::check(self).map(|answer| answer.map_err(Error::of_engine))
    }

    fn settled(&self) -> Answer<()> {
        Engine::settled(self)
    }

    fn close(&self) -> Answer<()> {
        Engine::close(self)
    }

    fn max_roots(&self) -> usize {
        E::MAX_ROOTS
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl AnyLock {
    /// Opens the lock that a text names: `memory:`, `dir:PATH` or `etcd://HOST:PORT/NAMESPACE`.
    /// [`Address`] says what a text may contain.
    ///
    /// This does not use the lock yet. Whether a directory can be used, or a cluster answers, shows
    /// at the first verb, or with [`check`](AnyLock::check).
    ///
    /// # Blocking
    ///
    /// Reads the files that an `etcd:` text names, with certificates or a password.
    ///
    /// # Errors
    ///
    /// Fails if the text does not name a lock ([`Error::Address`]), its engine is not built in
    /// ([`Error::NotBuiltIn`]), or the engine refuses its options. No error holds a password.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::AnyLock;
    ///
    /// let lock = AnyLock::open("memory:")?;
    /// let error = AnyLock::open("/var/lib/app/locks").unwrap_err();
    /// assert!(error.to_string().contains("write \"dir:/var/lib/app/locks\""));
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn open(text: &str) -> Result<AnyLock, Error> {
        AnyLock::at(&text.parse()?)
    }

    /// Opens the lock at an address, as [`open`](AnyLock::open) does.
    ///
    /// # Errors
    ///
    /// The same as for [`open`](AnyLock::open).
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{Address, AnyLock};
    ///
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let path = scratch.path().join("locks");
    /// # if cfg!(feature = "dir") {
    /// let lock = AnyLock::at(&Address::Dir(path.clone()))?;
    /// assert_eq!(lock.to_string(), format!("dir:{}", path.display()));
    /// # }
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn at(address: &Address) -> Result<AnyLock, Error> {
        let text = address.to_string();
        match address {
            Address::Memory => Ok(AnyLock::named(treelock::TreeLock::new(), text)),
            Address::Dir(path) => open::dir(path).map(|engine| AnyLock::named(engine, text)),
            Address::Etcd(etcd) => open::etcd(etcd).map(|engine| AnyLock::named(engine, text)),
        }
    }

    /// Wraps an engine, which can be one that this crate does not know. `Display` prints the
    /// engine's `Debug`.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{AnyLock, treelock::TreeLock};
    ///
    /// let lock = AnyLock::new(TreeLock::new());
    /// assert!(lock.downcast_ref::<TreeLock>().is_some());
    /// ```
    #[must_use]
    pub fn new(engine: impl Engine) -> AnyLock {
        let text = format!("{engine:?}");
        AnyLock::named(engine, text)
    }

    fn named(engine: impl Engine, text: String) -> AnyLock {
        AnyLock { engine: Arc::new(engine), text: text.into() }
    }

    /// Acquires everything that `request` names. Returns a future of the guard. The first poll or
    /// wait makes the request, which then takes its place in line.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has.
    ///
    /// # Errors
    ///
    /// The future fails if the engine could not be used, or if the request lost its place in line.
    /// Nothing is held then.
    ///
    /// # Examples
    ///
    /// See [`AnyLock`].
    pub fn acquire(&self, request: &Request) -> Acquire {
        self.engine.acquire(request)
    }

    /// Acquires everything that `request` names if nothing is in its way. Does not overtake: an
    /// earlier request that conflicts is in the way even while it is still waiting. A failure
    /// leaves nothing in line.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Blocked`], which names the blocker, and with the errors of
    /// [`acquire`](AnyLock::acquire).
    ///
    /// # Examples
    ///
    /// See [`Error`].
    pub fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        self.engine.try_acquire(request)
    }

    /// Returns the blocker that `request` would have if it were made now; `None` if nothing is in
    /// its way. Acquires nothing.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use treelock_any::{AnyLock, Wait, treelock::Request};
    /// let lock = AnyLock::open("memory:")?;
    /// let _guard = lock.acquire(&Request::new().read("a/b")?).wait()?;
    /// assert!(lock.blocked(&Request::new().write("a")?).wait()?.is_some());
    /// assert!(lock.blocked(&Request::new().read("a")?).wait()?.is_none());
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        self.engine.blocked(request)
    }

    /// Returns all live requests at one moment: which hold, and which wait for which.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// See [`Guard`].
    pub fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        self.engine.snapshot()
    }

    /// Listens to what happens to the requests of this lock. Returns the events in order: first one
    /// for each live request, then one for each change, as the engine tells it.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{AnyLock, Wait, treelock::Request};
    ///
    /// let lock = AnyLock::open("memory:")?;
    /// let _guard = lock.acquire(&Request::new().read("a/b")?).wait()?;
    /// let mut events = lock.events().wait()?;
    /// assert!(events.next().wait()?.request().is_some());
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        self.engine.events()
    }

    /// Checks the place where the locks are kept: whether they work there, and what is odd.
    ///
    /// # Errors
    ///
    /// Fails if the place could not be checked, for a reason that is not a finding.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{AnyLock, Wait, treelock::engine::Severity};
    ///
    /// let findings = AnyLock::open("memory:")?.check().wait()?;
    /// assert!(findings.iter().all(|finding| finding.severity < Severity::Bad));
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        self.engine.check()
    }

    /// Waits until everything that this handle and its clones dropped is given back: guards, and
    /// pending requests. This matters for engines that give back in the background; with all others
    /// the answer is ready at once.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// See [`close`](AnyLock::close).
    pub fn settled(&self) -> Answer<()> {
        self.engine.settled()
    }

    /// Waits until everything that was dropped is given back, and ends what is not in use, such as
    /// leases. Call this at the end of a program. The lock can be used again.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_any::{AnyLock, Wait};
    ///
    /// let lock = AnyLock::open("memory:")?;
    /// lock.settled().wait();
    /// lock.close().wait();
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    pub fn close(&self) -> Answer<()> {
        self.engine.close()
    }

    /// Returns how many roots one request may have with this lock's engine.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(treelock_any::AnyLock::open("memory:")?.max_roots() > 1_000_000);
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn max_roots(&self) -> usize {
        self.engine.max_roots()
    }

    /// Returns the engine itself, if it is of this type. Use it for what only that engine has.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "dir")] {
    /// use treelock_any::{AnyLock, treelock_dir::DirLock};
    ///
    /// let lock = AnyLock::open("dir:/var/lib/app/locks")?;
    /// let dir = lock.downcast_ref::<DirLock>().expect("the text says so");
    /// assert_eq!(dir.path(), "/var/lib/app/locks");
    /// # }
    /// # Ok::<(), treelock_any::Error>(())
    /// ```
    #[must_use]
    pub fn downcast_ref<E: Engine>(&self) -> Option<&E> {
        self.engine.as_any().downcast_ref()
    }
}

impl Engine for AnyLock {
    type Acquire = Acquire;
    type Guard = Guard;
    type Error = Error;

    /// The limit that every engine of this repository accepts. [`AnyLock::max_roots`] returns the
    /// limit of this engine.
    const MAX_ROOTS: usize = open::MAX_ROOTS;

    fn acquire(&self, request: &Request) -> Acquire {
        AnyLock::acquire(self, request)
    }

    fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        AnyLock::try_acquire(self, request)
    }

    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        AnyLock::blocked(self, request)
    }

    fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        AnyLock::snapshot(self)
    }

    fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        AnyLock::events(self)
    }

    fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        AnyLock::check(self)
    }

    fn settled(&self) -> Answer<()> {
        AnyLock::settled(self)
    }

    fn close(&self) -> Answer<()> {
        AnyLock::close(self)
    }
}

impl FromStr for AnyLock {
    type Err = Error;

    fn from_str(text: &str) -> Result<AnyLock, Error> {
        AnyLock::open(text)
    }
}

impl TryFrom<&str> for AnyLock {
    type Error = Error;

    fn try_from(text: &str) -> Result<AnyLock, Error> {
        AnyLock::open(text)
    }
}

/// Prints the text that was opened, without a password.
impl fmt::Display for AnyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for AnyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyLock({})", self.text)
    }
}
