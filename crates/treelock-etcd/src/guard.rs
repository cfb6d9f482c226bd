//! What a holder has: a [`Guard`].

use std::{fmt, future::Future};

use treelock::{FencingToken, Request};

use crate::{error::Error, runtime::work, turn::Turn};

/// How many bits of a token are etcd's revision; those above are the epoch.
const REVISION_BITS: u32 = 48;

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
    /// Of a request that was granted; an error if it was lost since.
    pub(crate) fn new(turn: Turn) -> Result<Guard, Error> {
        let guard = Guard { turn };
        if guard.is_valid() { Ok(guard) } else { Err(Error::Lost) }
    }

    /// Returns the fencing token: larger than that of every earlier grant that conflicts. Give it to the resource
    /// with each access, for a [`FenceGate`](treelock::FenceGate) there. It is the revision of etcd at which the
    /// request was entered, below the namespace's epoch, which
    /// [`EtcdLock::begin_epoch`](crate::EtcdLock::begin_epoch) raises after a restore from a backup.
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
        FencingToken((epoch << REVISION_BITS) | self.turn.ticket())
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

    /// Returns whether the lock is certainly not lost, as far as is known here: the lease cannot have ended by the
    /// clock of this machine, and nobody has told that he took the lock away. Costs nothing.
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

    /// Returns a future that is ready when the lock is lost: when the lease has ended, or could have by the clock
    /// of this machine, or when somebody took the lock away ([`EtcdLock::revoke`](crate::EtcdLock::revoke)). Any
    /// executor can poll it.
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
        let (session, slot) = (self.turn.session.clone(), self.turn.slot.clone());
        async move {
            tokio::select! {
                () = session.ended() => {}
                () = slot.revoked() => {}
            }
        }
    }

    /// Releases. Returns when etcd has said that it is released, or the lease has ended.
    ///
    /// # Cancel safety
    ///
    /// If it is dropped, or not polled any more, releasing goes on in the background. Tasks of the same session may be
    /// told two to three seconds late of what is not polled.
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

    /// Releases, and blocks until etcd has said that it is released, or the lease has ended.
    ///
    /// # Blocking
    ///
    /// Blocks the thread; use [`release`](Guard::release) in async code.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(guard: treelock_etcd::Guard) {
    /// guard.release_blocking();
    /// # }
    /// ```
    pub fn release_blocking(self) {
        // The thread is there, since it got this guard.
        let _ = work::block_on(async move {
            self.turn.leave().await;
            Ok(())
        });
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request())
    }
}
