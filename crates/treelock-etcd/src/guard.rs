//! What a holder has: a [`Guard`]. And how the lock is left, by holders and waiters alike.

use std::{fmt, future::Future, sync::Arc};

use treelock::{FencingToken, Request};

use crate::{
    error::Error,
    session::Session,
    table::{Answer, Entry},
};

/// A live request of ours, waiting or held. Dropping it gives back whatever it has (C10), in the background.
pub(crate) struct Turn {
    request: Request,
    session: Arc<Session>,
    /// There until it is given back.
    entry: Option<Entry>,
}

impl Turn {
    pub(crate) fn new(entry: Entry, request: Request) -> Turn {
        Turn { request, session: entry.session.clone(), entry: Some(entry) }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn ticket(&self) -> u64 {
        self.entry.as_ref().and_then(Entry::ticket).unwrap_or(0) as u64
    }

    pub(crate) async fn enter(&mut self, may_wait: bool) -> Result<Answer, Error> {
        match &mut self.entry {
            Some(entry) => entry.enter(may_wait).await,
            None => Ok(Answer::Granted),
        }
    }

    /// Waits until it is granted; returns how often the safety net was needed.
    pub(crate) async fn wait(&mut self) -> Result<u64, Error> {
        match &self.entry {
            Some(entry) => entry.wait().await,
            None => Ok(0),
        }
    }

    /// Gives it back; returns when that is known. If the future is dropped, it goes on in the background.
    pub(crate) async fn leave(mut self) {
        if let Some(leaving) = self.leaving() {
            let _ = self.session.leave(leaving).await;
        }
    }

    fn leaving(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut entry = self.entry.take()?;
        Some(async move { entry.leave().await })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(leaving) = self.leaving() {
            self.session.leave(leaving);
        }
    }
}

/// Holds what a request asked for, until it is dropped or released, or its session ends.
///
/// Owned: it can be stored, sent to another task, and dropped there. Dropping it releases in the background, and
/// never blocks. Leaking it, as [`std::mem::forget`] does, keeps the lock for as long as the process lives.
///
/// # Examples
///
/// See the [crate](crate).
#[must_use = "dropping a guard releases its lock"]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    pub(crate) fn new(turn: Turn) -> Guard {
        Guard { turn }
    }

    /// Returns the fencing token: larger than that of every earlier grant that conflicts. Give it to the resource
    /// with each access, for a [`FenceGate`](treelock::FenceGate) there. It is the revision of etcd at which the
    /// request was entered; after a restore from a backup etcd counts from there again.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// println!("{}", guard.token());
    /// # }
    /// ```
    #[must_use]
    pub fn token(&self) -> FencingToken {
        FencingToken(self.turn.ticket())
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// println!("{}", guard.request());
    /// # }
    /// ```
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.turn.request
    }

    /// Returns whether the lease certainly has not ended, by the clock of this machine. Costs nothing.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// assert!(guard.is_valid());
    /// # }
    /// ```
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.turn.session.is_alive()
    }

    /// Returns a future that is ready when the lock is lost: when the lease has ended, or could have by the clock
    /// of this machine.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// guard.lost().await;
    /// # }
    /// ```
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let session = self.turn.session.clone();
        async move { session.ended().await }
    }

    /// Releases. Returns when etcd has said that it is released, or the lease has ended.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, releasing goes on in the background.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// guard.release().await;
    /// # }
    /// ```
    pub async fn release(self) {
        self.turn.leave().await;
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request)
    }
}
