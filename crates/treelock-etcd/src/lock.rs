//! Asking for the lock: [`EtcdLock`] and its verbs.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use treelock::{Blocked, Finding, Request, Snapshot};

use crate::{
    acquire::Acquire,
    ask::{Asked, ask},
    blocking::Blocking,
    check::check,
    error::Error,
    guard::Guard,
    options::Options,
    shared::Shared,
};

/// A lock over all sub-trees of one tree, shared by the processes of many machines: its table is in etcd.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as soon as there
/// are none.** A handle: clones share one session, that is one lease; other handles with the same endpoints and
/// namespace are the same lock, in whatever process. Tasks that share a session wait for each other without asking
/// etcd.
///
/// Its futures can be polled by any executor: a thread of this crate talks to etcd, and renews the lease whatever
/// the application does with its own threads ([more](crate#threads)). A program that never waits for futures uses
/// [`blocking`](EtcdLock::blocking).
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds waits for
/// itself. Ask for everything in one [`Request`].
///
/// # Examples
///
/// See the [crate](crate).
#[derive(Clone)]
pub struct EtcdLock(Arc<Shared>);

impl EtcdLock {
    /// Returns the lock of this cluster. Nothing is asked yet: the first request opens the session.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{EtcdLock, Options};
    ///
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// # let _ = lock;
    /// ```
    #[must_use]
    pub fn new(options: &Options) -> EtcdLock {
        EtcdLock(Shared::new(options))
    }

    /// Acquires everything that `request` names. Returns a future of the [`Guard`].
    ///
    /// The request takes its place in the order of arrival when etcd carries out what the first poll sends. For a
    /// time-out that says who is in the way use [`acquire_timeout`](EtcdLock::acquire_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has, or may still get, in the background.
    ///
    /// # Errors
    ///
    /// The future's: all of [`Error`] but [`Error::Blocked`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.acquire(&Request::new().write("photos/2025")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(self.0.clone(), request.clone())
    }

    /// Waits until everything that was dropped is given back: guards and futures of this handle and its clones. For
    /// the end of a program: what it interrupts is only given back when the lease ends.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// lock.settled().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn settled(&self) {
        self.0.pool.leaving.settled().await;
    }

    /// Ends what is not in use: waits until everything that was dropped is given back, and gives back the leases on
    /// which nothing hangs any more. For the end of a program, which else leaves a lease behind for as long as it
    /// lasts. The lock can be used again, with a new lease.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) {
    /// lock.close().await;
    /// # }
    /// ```
    pub async fn close(&self) {
        self.settled().await;
        let shared = self.0.clone();
        // Without the thread nothing was ever asked.
        if let Ok(work) = self.0.work(async move { shared.pool.close().await }) {
            work.await;
        }
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`] at once.
    ///
    /// Does not overtake: an earlier request that conflicts is in the way also while it only waits.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, and those of [`acquire`](EtcdLock::acquire).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.try_acquire(&Request::new().write("photos/2025")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(&self, request: &Request) -> Result<Guard, Error> {
        ask(self.0.clone(), request.clone(), Asked::without_waiting()).await
    }

    /// Acquires everything that `request` names, if it is granted within `limit`. Returns the [`Guard`].
    ///
    /// The limit is for waiting. A cluster that does not answer is asked for ten seconds, and then it is
    /// [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if the time is over, and those of [`acquire`](EtcdLock::acquire).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = std::time::Duration::from_secs(5);
    /// let guard = lock.acquire_timeout(&Request::new().write("photos/2025")?, limit).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_timeout(
        &self,
        request: &Request,
        limit: Duration,
    ) -> Result<Guard, Error> {
        let mut acquire = self.acquire(request);
        let waiting = async move {
            match tokio::time::timeout(limit, &mut acquire).await {
                Ok(granted) => granted,
                Err(_) => acquire.give_up().await,
            }
        };
        self.0.work(waiting)?.await
    }

    /// As [`acquire_timeout`](EtcdLock::acquire_timeout), until a moment.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// Those of [`acquire_timeout`](EtcdLock::acquire_timeout).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    /// let guard = lock.acquire_deadline(&Request::new().write("photos/2025")?, deadline).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire_deadline(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Guard, Error> {
        self.acquire_timeout(request, deadline.saturating_duration_since(Instant::now())).await
    }

    /// Returns the same lock for code that blocks its thread.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = lock.blocking().acquire(&Request::new().write("photos/2025")?)?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn blocking(&self) -> Blocking<'_> {
        Blocking::new(self)
    }

    /// Takes away what a live request of anybody has: its place in the line, or its lock. Returns whether there was
    /// one with this ticket, which a [`Snapshot`] shows. Its owner is told: a waiter gets [`Error::Lost`], a
    /// holder's [`Guard::lost`] is ready. **Until he has heard of it he goes on**, and only his fencing token
    /// keeps him from what somebody else holds by then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been done or not.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(!lock.revoke(7).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn revoke(&self, ticket: u64) -> Result<bool, Error> {
        let shared = self.0.clone();
        self.0.work(async move { shared.namespace().revoke(ticket).await })?.await
    }

    /// Begins a new epoch of the namespace, after etcd was restored from a backup: all sessions and requests end,
    /// and their owners are told; tokens are larger than all before from then on, although etcd counts again from
    /// where the backup was made. Returns the number of the epoch; there are 65,535.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been done or not; doing it once more does no harm.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`]; [`Error::Unsupported`] after the last epoch.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("epoch {} begins", lock.begin_epoch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn begin_epoch(&self) -> Result<u16, Error> {
        let shared = self.0.clone();
        self.0.work(async move { shared.namespace().begin_epoch().await })?.await
    }

    /// Returns how often a waiter of this handle found by its safety net, which looks every seven seconds, what no
    /// watch had told it. 0 as long as etcd tells what it is asked to tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock_etcd::{EtcdLock, Options};
    ///
    /// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
    /// assert_eq!(lock.rescued(), 0);
    /// ```
    #[must_use]
    pub fn rescued(&self) -> u64 {
        self.0.rescued()
    }

    /// Returns who holds and who waits, at one moment. Ages are by the clocks of those who asked.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", lock.snapshot().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let shared = self.0.clone();
        self.0.work(async move { shared.namespace().all().await.map(Snapshot::of) })?.await
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Asks for nothing.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// let blocked = lock.blocked(&Request::new().write("photos/2025")?).await?;
    /// # let _ = blocked;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn blocked(&self, request: &Request) -> Result<Option<Blocked>, Error> {
        let (shared, request) = (self.0.clone(), request.clone());
        self.0.work(async move { shared.namespace().in_the_way(&request, u64::MAX).await })?.await
    }

    /// Returns what is to be said of this cluster: whether locks work here, and what is odd. Asks each endpoint;
    /// changes nothing, but for a lease that it takes and gives back.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Denied`] or [`Error::Tls`] if no member answers, and [`Error::Options`]. What
    /// else cannot be found out is a finding.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), Box<dyn std::error::Error>> {
    /// for finding in lock.check().await? {
    ///     println!("{} {finding}", finding.severity);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Result<Vec<Finding>, Error> {
        let shared = self.0.clone();
        self.0.work(async move { check(shared.namespace(), shared.pool.ttl).await })?.await
    }
}

impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock").finish_non_exhaustive()
    }
}
