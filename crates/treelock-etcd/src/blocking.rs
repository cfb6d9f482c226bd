//! The verbs for code that blocks its thread: [`Blocking`].

use std::time::{Duration, Instant};

use treelock::{Blocked, Finding, Request, Snapshot};

use crate::{error::Error, guard::Guard, lock::EtcdLock, runtime::work::block_on};

/// The verbs of an [`EtcdLock`], each blocking its thread until it is done. Returned by [`EtcdLock::blocking`].
///
/// Not for async code, whose executor would stand still meanwhile. Needs no runtime. A guard is released with
/// [`Guard::release_blocking`], or by dropping it.
///
/// # Examples
///
/// ```no_run
/// use treelock::Request;
/// use treelock_etcd::{EtcdLock, Options};
///
/// let lock = EtcdLock::new(&Options::new(["http://127.0.0.1:2379"]));
/// let guard = lock.blocking().acquire(&Request::new().write("photos/2025")?)?;
/// guard.release_blocking();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Blocking<'a>(&'a EtcdLock);

impl<'a> Blocking<'a> {
    pub(crate) fn new(lock: &'a EtcdLock) -> Blocking<'a> {
        Blocking(lock)
    }

    /// Acquires everything that `request` names. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Until it is granted; see [`EtcdLock::acquire`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::acquire`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn acquire(self, request: &Request) -> Result<Guard, Error> {
        block_on(self.0.acquire(request))
    }

    /// Acquires everything that `request` names, if nothing is in the way. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::try_acquire`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::try_acquire`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn try_acquire(self, request: &Request) -> Result<Guard, Error> {
        let (lock, request) = (self.0.clone(), request.clone());
        block_on(async move { lock.try_acquire(&request).await })
    }

    /// Acquires everything that `request` names, if it is granted within `limit`. Returns the [`Guard`].
    ///
    /// # Blocking
    ///
    /// Until it is granted or the time is over; see [`EtcdLock::acquire_timeout`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::acquire_timeout`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn acquire_timeout(self, request: &Request, limit: Duration) -> Result<Guard, Error> {
        let (lock, request) = (self.0.clone(), request.clone());
        block_on(async move { lock.acquire_timeout(&request, limit).await })
    }

    /// As [`acquire_timeout`](Blocking::acquire_timeout), until a moment.
    ///
    /// # Blocking
    ///
    /// Until it is granted or the moment is there.
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::acquire_timeout`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn acquire_deadline(self, request: &Request, deadline: Instant) -> Result<Guard, Error> {
        self.acquire_timeout(request, deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns who would be in the way of `request` if it asked now.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::blocked`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::blocked`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn blocked(self, request: &Request) -> Result<Option<Blocked>, Error> {
        let (lock, request) = (self.0.clone(), request.clone());
        block_on(async move { lock.blocked(&request).await })
    }

    /// Returns who holds and who waits, at one moment.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::snapshot`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::snapshot`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn snapshot(self) -> Result<Snapshot, Error> {
        let lock = self.0.clone();
        block_on(async move { lock.snapshot().await })
    }

    /// Waits until everything that was dropped is given back.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered, or the lease has ended; see [`EtcdLock::settled`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn settled(self) {
        let lock = self.0.clone();
        // Without the thread nothing was ever asked.
        let _ = block_on(async move {
            lock.settled().await;
            Ok(())
        });
    }

    /// Ends what is not in use.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered, for some seconds at most; see [`EtcdLock::close`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn close(self) {
        let lock = self.0.clone();
        // Without the thread nothing was ever asked.
        let _ = block_on(async move {
            lock.close().await;
            Ok(())
        });
    }

    /// Takes away what a live request of anybody has. Returns whether there was one with this ticket.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::revoke`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::revoke`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn revoke(self, ticket: u64) -> Result<bool, Error> {
        let lock = self.0.clone();
        block_on(async move { lock.revoke(ticket).await })
    }

    /// Begins a new epoch of the namespace, after etcd was restored from a backup. Returns its number.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::begin_epoch`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::begin_epoch`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn begin_epoch(self) -> Result<u16, Error> {
        let lock = self.0.clone();
        block_on(async move { lock.begin_epoch().await })
    }

    /// Returns what is to be said of this cluster: whether locks work here, and what is odd.
    ///
    /// # Blocking
    ///
    /// Until etcd has answered; see [`EtcdLock::check`].
    ///
    /// # Errors
    ///
    /// Those of [`EtcdLock::check`].
    ///
    /// # Examples
    ///
    /// See [`Blocking`].
    pub fn check(self) -> Result<Vec<Finding>, Error> {
        let lock = self.0.clone();
        block_on(async move { lock.check().await })
    }
}
