//! Asking for the lock: [`EtcdLock`] and its verbs.

use std::{fmt, sync::Arc};

use treelock::{Answer, Blocked, Request, Snapshot, engine::Finding};

use crate::{
    acquire::Acquire,
    ask::{Asked, ask},
    check::check,
    error::Error,
    guard::Guard,
    options::Options,
    runtime::work::answer,
    shared::Shared,
};

/// A lock over all sub-trees of one tree, shared by the processes of many machines: its table is in
/// etcd.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none.**
///
/// A value is a handle. Its clones share one session, that is, one lease. Other handles with the
/// same endpoints and namespace are the same lock, in whatever process. Tasks that share a session
/// wait for each other without asking etcd.
///
/// What the verbs return can be awaited on any executor, or
/// [waited for](treelock::Wait) by a thread. A thread of this crate talks to etcd and renews the
/// lease, whatever the application does with its own threads ([more](crate#threads)).
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that asks for something that conflicts with what it holds
/// waits for itself. Ask for everything in one [`Request`].
///
/// # Examples
///
/// See the [crate](crate).
#[derive(Clone)]
pub struct EtcdLock(Arc<Shared>);

impl EtcdLock {
    /// Returns the lock of this cluster. Does nothing else: the first request opens the session.
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
    /// The request takes its place in the order of arrival when etcd carries out what the first
    /// poll sends. To wait with a limit, see [`Acquire`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has, or may still get, in the
    /// background.
    ///
    /// # Errors
    ///
    /// The future's: all of [`Error`] except [`Error::Blocked`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use treelock_etcd::{Wait, treelock::Request};
    ///
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// let guard = lock.acquire(&Request::new().write("photos/2025")?).await?;
    /// # drop(guard);
    /// // The same, in code that blocks its thread.
    /// let guard = lock.acquire(&Request::new().write("photos/2025")?).wait()?;
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self, request: &Request) -> Acquire {
        Acquire::new(self.0.clone(), request.clone())
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`].
    ///
    /// Does not overtake: an earlier request that conflicts is in the way even while it only waits.
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// [`Error::Blocked`] if it would have to wait, and those of [`acquire`](EtcdLock::acquire).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// let guard = lock.try_acquire(&Request::new().write("photos/2025")?).await?;
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_acquire(&self, request: &Request) -> Answer<Result<Guard, Error>> {
        answer(ask(self.0.clone(), request.clone(), Asked::without_waiting()))
    }

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Does
    /// not ask for the lock.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// All of [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use treelock::Request;
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// if let Some(blocked) = lock.blocked(&Request::new().write("photos/2025")?).await? {
    ///     println!("{blocked}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Error>> {
        let request = request.clone();
        self.0
            .answer(|shared| async move { shared.namespace().in_the_way(&request, u64::MAX).await })
    }

    /// Returns who holds and who waits, at one moment. Ages are by the clocks of those who asked.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// All of [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// println!("{}", lock.snapshot().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn snapshot(&self) -> Answer<Result<Snapshot, Error>> {
        self.0.answer(|shared| async move { shared.namespace().all().await.map(Snapshot::of) })
    }

    /// Returns what is to be said of this cluster: whether locks work here, and what is odd.
    ///
    /// Asks each endpoint. Changes nothing, except that it takes a lease and gives it back.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`], [`Error::Denied`] or [`Error::Tls`] if no member answers, and
    /// [`Error::Options`]. Everything else that cannot be found out is a finding.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// for finding in lock.check().await? {
    ///     println!("{} {finding}", finding.severity);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(&self) -> Answer<Result<Vec<Finding>, Error>> {
        self.0.answer(|shared| async move { check(shared.namespace(), shared.pool.ttl).await })
    }

    /// Takes away what a live request has, whoever owns it: its place in the line, or its lock.
    ///
    /// Returns whether there was a request with this ticket, which a [`Snapshot`] shows. Its owner
    /// is told: a waiter gets [`Error::Lost`]; for a holder, [`Guard::lost`] is ready. **A holder
    /// goes on until it has heard of it**, and only its fencing token keeps it from what somebody
    /// else holds by then.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, it may have been done or not.
    ///
    /// # Errors
    ///
    /// All of [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// assert!(!lock.revoke(7).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn revoke(&self, ticket: u64) -> Answer<Result<bool, Error>> {
        self.0.answer(move |shared| async move { shared.namespace().revoke(ticket).await })
    }

    /// Begins a new epoch of the namespace, after etcd was restored from a backup. Returns its
    /// number.
    ///
    /// All sessions and requests end, and their owners are told. From then on tokens are larger
    /// than all before, although etcd counts again from where the backup was made. A namespace has
    /// 65,535 epochs.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, it may have been done or not. Doing it once more does no harm.
    ///
    /// # Errors
    ///
    /// All of [`Error`] except [`Error::Blocked`] and [`Error::Lost`]; [`Error::Unsupported`] after
    /// the last epoch.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// println!("epoch {} begins", lock.begin_epoch().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_epoch(&self) -> Answer<Result<u16, Error>> {
        self.0.answer(|shared| async move { shared.namespace().begin_epoch().await })
    }

    /// Waits until everything that this handle and its clones dropped is given back: guards, and
    /// requests on their way.
    ///
    /// For the end of a program: what it interrupts is only given back when the lease ends.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) {
    /// lock.settled().await;
    /// # }
    /// ```
    pub fn settled(&self) -> Answer<()> {
        let shared = self.0.clone();
        answer(async move { shared.pool.background.settled().await })
    }

    /// Waits until everything that was dropped is given back, and gives back the leases on which
    /// nothing hangs any more.
    ///
    /// For the end of a program, which otherwise leaves a lease behind until that ends by itself.
    /// The lock can be used again, with a new lease.
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
    pub fn close(&self) -> Answer<()> {
        let shared = self.0.clone();
        answer(async move {
            shared.pool.background.settled().await;
            let there = shared.clone();
            // Without the thread nothing was ever asked for, so an error does not matter.
            if let Ok(work) = shared.work(async move { there.pool.close().await }) {
                work.await;
            }
        })
    }

    /// Returns how often a waiter of this handle found by its safety net, which looks every seven
    /// seconds, what no watch had told it. 0 as long as etcd tells what it is asked to tell.
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
}

/// [`EtcdLock::snapshot`] says who holds and who waits.
impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock").finish_non_exhaustive()
    }
}
