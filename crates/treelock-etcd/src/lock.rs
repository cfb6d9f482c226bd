//! The lock, [`EtcdLock`], and its verbs.

use std::{fmt, sync::Arc};

use treelock::{
    Answer, Blocked, Request, Snapshot,
    engine::{Events, Finding},
};

use crate::{
    acquire::Acquire,
    ask::{Asked, ask},
    check::check,
    error::Error,
    events,
    guard::Guard,
    options::Options,
    runtime::work::answer,
    shared::Shared,
};

/// A lock over all sub-trees of one tree, shared by the processes of many machines. Its table is in
/// etcd.
///
/// **A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none.**
///
/// A value is a handle. Its clones share one session, that is, one lease. Other handles with the
/// same endpoints and namespace refer to the same lock, in any process. Tasks that share a session
/// wait for each other without asking etcd.
///
/// What the verbs return can be awaited on any executor, or a thread can [wait](treelock::Wait) for
/// it. A thread of this crate talks to etcd and renews the lease, whatever the application does
/// with its own threads ([more](crate#threads)).
///
/// # Deadlock
///
/// The lock is not re-entrant. A holder that requests something that conflicts with what it already
/// holds waits for itself. Request everything at once, in one [`Request`].
///
/// # Examples
///
/// See the [crate](crate).
#[derive(Clone)]
pub struct EtcdLock(Arc<Shared>);

impl EtcdLock {
    /// Returns the lock of this cluster. Does no I/O: the first request opens the session.
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

    /// Acquires everything that `request` names. Returns a future of a [`Guard`].
    ///
    /// The first poll sends the request, which takes its place in the order of arrival when etcd
    /// carries it out. To wait with a limit, see [`Acquire`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back, in the background, whatever it has or may still
    /// get.
    ///
    /// # Errors
    ///
    /// The future fails with any [`Error`] except [`Error::Blocked`].
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

    /// Acquires everything that `request` names if nothing is in its way. Returns a [`Guard`].
    ///
    /// Does not overtake: an earlier request that conflicts is in the way even while it is still
    /// waiting.
    ///
    /// # Cancel safety
    ///
    /// The same as for [`acquire`](EtcdLock::acquire).
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Blocked`] if the request would have to wait, and with the errors of
    /// [`acquire`](EtcdLock::acquire).
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

    /// Returns the blocker that `request` would have if it were made now; `None` if nothing is in
    /// its way. Does not request the lock.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Fails with any [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
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

    /// Returns all live requests, held and waiting, at one moment. Their ages are by the clocks of
    /// the machines that made them.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Fails with any [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
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

    /// Listens to what happens to the requests of this lock, on all machines. Returns the events in
    /// order: first one for each live request, then one for each change, as etcd tells it.
    ///
    /// An event is told when it is certain, within a round trip, and its time is the time at which
    /// it is told. If the members that answer have forgotten something that the listener has not
    /// had, because the listener was too slow or nobody answered for long, an event says so.
    ///
    /// # Cancel safety
    ///
    /// The answer and the events may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Fails if this crate's thread cannot be started. What fails later is an error of the event
    /// that is waited for; if nobody answers, that is [`Error::Unavailable`] every ten seconds.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(lock: treelock_etcd::EtcdLock) -> Result<(), treelock_etcd::Error> {
    /// let mut events = lock.events().await?;
    /// loop {
    ///     println!("{:?}", events.next().await?.what);
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Answer<Result<Events<Error>, Error>> {
        Answer::ready(events::events(&self.0))
    }

    /// Checks the cluster: whether locks work here, and what is odd.
    ///
    /// Calls each endpoint. Changes nothing, except that it takes a lease and gives it back.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Unavailable`], [`Error::Denied`] or [`Error::Tls`] if no member answers,
    /// and with [`Error::Options`]. Anything else that cannot be found out is reported as a
    /// finding.
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

    /// Revokes a live request of any owner: takes away its place in line, or its lock.
    ///
    /// Returns whether there was a request with this ticket, which a [`Snapshot`] shows. Its owner
    /// is notified: a waiter gets [`Error::Lost`]; for a holder, [`Guard::lost`] becomes ready. **A
    /// holder goes on until the news has reached it**, and only its fencing token keeps it from
    /// changing what another request holds by then.
    ///
    /// # Cancel safety
    ///
    /// If the answer is dropped, the operation may or may not take effect.
    ///
    /// # Errors
    ///
    /// Fails with any [`Error`] except [`Error::Blocked`] and [`Error::Lost`].
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

    /// Begins a new epoch of the namespace, after etcd was restored from a backup. Returns the
    /// epoch's number.
    ///
    /// All sessions and requests end, and their owners are notified. From then on tokens are larger
    /// than all earlier ones, although etcd counts again from where the backup was made. A
    /// namespace has 65,535 epochs.
    ///
    /// # Cancel safety
    ///
    /// If the answer is dropped, the operation may or may not take effect. Repeating it does no
    /// harm.
    ///
    /// # Errors
    ///
    /// Fails with any [`Error`] except [`Error::Blocked`] and [`Error::Lost`]; with
    /// [`Error::Unsupported`] after the last epoch.
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
    /// pending requests.
    ///
    /// Call this at the end of a program. Otherwise the end interrupts what is still being given
    /// back, which then stays until the lease ends.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
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

    /// Waits until everything that was dropped is given back, then gives back the leases to which
    /// nothing is attached any more.
    ///
    /// Call this at the end of a program, which otherwise leaves a lease behind until the lease
    /// ends by itself. The lock can be used again, with a new lease.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
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
            // Without the thread nothing was ever requested, so an error does not matter.
            if let Ok(work) = shared.work(async move { there.pool.close().await }) {
                work.await;
            }
        })
    }

    /// Returns how often the safety net of a waiter of this handle, which looks every seven
    /// seconds, found something that no watch had reported. Stays 0 as long as etcd delivers all
    /// watch events.
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

/// [`EtcdLock::snapshot`] shows which requests hold and wait.
impl fmt::Debug for EtcdLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdLock").finish_non_exhaustive()
    }
}
