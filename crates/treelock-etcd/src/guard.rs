//! The guard of a holder: [`Guard`].

use std::fmt;

use treelock::{Answer, FencingToken, Request};

use crate::{error::Error, runtime::work::answer, turn::Turn};

/// How many bits of a token are etcd's revision. The bits above are the epoch.
const REVISION_BITS: u32 = 48;

/// Holds what a request asked for, until it is dropped or released, or its session ends.
///
/// A guard is owned: it can be stored, sent to another task, and dropped there. Dropping it
/// releases the lock in the background and never blocks. Leaking it, as [`std::mem::forget`] does,
/// keeps the lock for as long as the process lives.
///
/// # Examples
///
/// See the [crate](crate).
#[must_use = "dropping a guard releases its lock"]
#[clippy::has_significant_drop]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    /// Returns the guard of a granted request; an error if the lock was lost since.
    pub(crate) fn new(turn: Turn) -> Result<Guard, Error> {
        let guard = Guard { turn };
        if guard.is_valid() { Ok(guard) } else { Err(Error::Lost) }
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
        self.turn.request()
    }

    /// Returns the ticket, which identifies the request in a [`Snapshot`](treelock::Snapshot). It
    /// is the revision of etcd at which the request was entered.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// println!("request #{}", guard.ticket());
    /// # }
    /// ```
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.turn.ticket()
    }

    /// Returns the fencing token, which is larger than that of every earlier grant that conflicts
    /// (C20).
    ///
    /// Send it to the resource with each access, for a [`FenceGate`](treelock::FenceGate) there. It
    /// is the [`ticket`](Guard::ticket), with the namespace's epoch in its high bits.
    /// [`EtcdLock::begin_epoch`](crate::EtcdLock::begin_epoch) raises the epoch after a restore
    /// from a backup.
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
        let epoch = u64::from(self.turn.session.fencing_epoch);
        FencingToken::new((epoch << REVISION_BITS) | self.turn.ticket())
    }

    /// Returns whether the lock is certainly still held, as far as this process knows (C21).
    ///
    /// That means: by the clock of this machine the lease cannot have ended, and this process has
    /// not been told that the lock was taken away. This costs nothing.
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
        self.turn.session.is_alive() && !self.turn.slot.is_revoked()
    }

    /// Returns a future that is ready when the lock is lost (C21).
    ///
    /// That means: when the lease has ended, or could have by the clock of this machine, or when
    /// the lock was taken away ([`EtcdLock::revoke`](crate::EtcdLock::revoke)). The future does not
    /// borrow the guard.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// guard.lost().await;
    /// # }
    /// ```
    pub fn lost(&self) -> Answer<()> {
        let (session, slot) = (self.turn.session.clone(), self.turn.slot.clone());
        answer(async move {
            tokio::select! {
                () = session.ended() => {}
                () = slot.revoked() => {}
            }
        })
    }

    /// Releases the lock. The answer is ready when etcd has confirmed the release, or the lease has
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// The release begins when the answer is first polled, waited for or dropped. If the answer is
    /// dropped, or no longer polled, it continues in the background.
    /// Tasks of the same session may then be notified two to three seconds late.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(guard: treelock_etcd::Guard) {
    /// guard.release().await;
    /// # }
    /// ```
    pub fn release(self) -> Answer<()> {
        answer(self.turn.leave())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request())
    }
}
