//! What a holder has: a [`Guard`]. And how the lock is left, by holders and waiters alike.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use etcd_client::{Txn, TxnResponse};
use tokio::{sync::oneshot, time::timeout};
use treelock::{FencingToken, Request};

use crate::{
    error::Error,
    flight::{Flying, Landed},
    guests::Here,
    runtime::{self, Counted, Leaving},
    servers::Failure,
    session::{Place, Session},
    table::{Answer, Begun, Blockers, Entry},
};

/// How long one who has nothing to do any more waits for etcd's word.
const SOON: Duration = Duration::from_secs(2);

/// So many bits of a token are etcd's revision; those above are the epoch.
const REVISION_BITS: u32 = 48;

/// A live request of ours, waiting or held. Dropping it gives back whatever it has (C10), in the background.
pub(crate) struct Turn {
    request: Request,
    session: Arc<Session>,
    place: Arc<Place>,
    /// There until it is given back.
    entry: Option<Entry>,
}

impl Turn {
    pub(crate) fn new(entry: Entry, request: Request) -> Turn {
        let (session, place) = (entry.session.clone(), entry.place.clone());
        Turn { request, session, place, entry: Some(entry) }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    pub(crate) fn ticket(&self) -> u64 {
        self.entry.as_ref().and_then(Entry::ticket).unwrap_or(0) as u64
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Counts what is given back.
    pub(crate) fn leaving(&self) -> &Leaving {
        &self.session.leaving
    }

    /// As [`Entry::send`], if one call can enter it.
    pub(crate) fn send(&mut self, may_wait: bool) -> Option<(i64, Txn)> {
        self.entry
            .as_mut()
            .filter(|entry| entry.can_look())
            .map(|entry| entry.send(false, may_wait))
    }

    /// As [`Entry::sent`].
    pub(crate) fn sent(
        &mut self,
        epoch: i64,
        answer: Result<TxnResponse, Failure>,
        may_wait: bool,
    ) -> Begun {
        match &mut self.entry {
            Some(entry) => entry.sent(epoch, answer, may_wait),
            None => Begun::Not,
        }
    }

    pub(crate) async fn enter(&mut self, begun: Begun, may_wait: bool) -> Result<Answer, Error> {
        match &mut self.entry {
            Some(entry) => entry.enter(begun, may_wait).await,
            None => Ok(Answer::Refused),
        }
    }

    /// Waits until it is granted; returns how often the safety net was needed.
    pub(crate) async fn wait(&self, blockers: Blockers) -> Result<u64, Error> {
        match &self.entry {
            Some(entry) => entry.wait(blockers).await,
            None => Err(Error::Lost),
        }
    }

    /// As [`Entry::nobody_is_in_the_way`].
    pub(crate) async fn nobody_is_in_the_way(&self) -> Result<(), Error> {
        match &self.entry {
            Some(entry) => entry.nobody_is_in_the_way().await,
            None => Err(Error::Lost),
        }
    }

    /// Gives it back; returns when that is known, or soon.
    pub(crate) async fn leave_soon(self) {
        // It goes on in the background.
        let _ = timeout(SOON, self.leave()).await;
    }

    /// Gives it back; returns when that is known. Once polled it goes on, also if this future is dropped.
    pub(crate) async fn leave(self) {
        let releasing = self.entry.as_ref().and_then(Entry::releasing);
        // What hangs on a lease that has ended is not asked for.
        let releasing = releasing.filter(|_| self.session.is_alive());
        match releasing.and_then(|releasing| Some((self.session.servers.here()?, releasing))) {
            Some((here, releasing)) => self.leave_here(here, releasing).await,
            None => self.leave_there(None).await,
        }
    }

    /// By a call that the guest in which this is polled makes.
    async fn leave_here(self, here: Here, releasing: Txn) {
        let counted = Some(self.leaving().count());
        let (done, left) = oneshot::channel();
        let flying = Flying::begin(self, Box::new(|turn| turn.give_back(done)), counted);
        // Who has taken over has said that it is done.
        let Ok(landed) = flying.fly(&here, releasing, left).await else { return };
        let Landed { answer, mut turn, counted } = landed;
        match answer.is_ok_and(|answer| answer.succeeded()) {
            true => turn.left(),
            false => turn.leave_there(counted).await,
        }
    }

    /// In the background, where it is counted from then on.
    async fn leave_there(self, counted: Option<Counted>) {
        let (done, left) = oneshot::channel();
        self.give_back(done);
        drop(counted);
        let _ = left.await;
    }

    /// In the background; says when that is done.
    fn give_back(mut self, done: oneshot::Sender<()>) {
        if let Some(mut entry) = self.entry.take() {
            self.session.leaving.start(async move {
                entry.leave().await;
                let _ = done.send(());
            });
        }
    }

    /// It was given back.
    fn left(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.left();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            self.session.leaving.start(async move { entry.leave().await });
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
        &self.turn.request
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
        self.turn.session.is_alive() && !self.turn.place.is_revoked()
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
        let (session, place) = (self.turn.session.clone(), self.turn.place.clone());
        async move {
            tokio::select! {
                () = session.ended() => {}
                () = place.revoked() => {}
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
        let _ = runtime::block_on(async move {
            self.turn.leave().await;
            Ok(())
        });
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request)
    }
}
