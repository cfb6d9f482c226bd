//! What all engines have in common: for code that works with any of them, and for those who write one.
//!
//! An engine is a place to keep a lock table: the memory of one process ([`TreeLock`](crate::TreeLock)), a
//! directory of one host (`DirLock` of the crate `treelock-dir`), a cluster (`EtcdLock` of
//! `treelock-etcd`). All speak the same words: each verb returns a value that can be awaited, or waited for
//! by a thread with [`Wait`]. What blocks a thread says `wait`, and nothing else does.
//!
//! Code that uses one engine needs nothing of this module: the engine has the same verbs itself. Code that
//! works with any of them is generic over [`Engine`]:
//!
//! ```
//! use std::time::Duration;
//! use treelock::engine::{Engine, EngineError, Held, Pending};
//! use treelock::{Request, TreeLock, Wait};
//!
//! /// Works below a folder, and says whether it had it for itself until the end.
//! fn tidy<L: Engine>(lock: &L, folder: &str) -> Result<bool, L::Error> {
//!     let mut acquire = lock.acquire(&Request::new().write(folder)?);
//!     let guard = match acquire.wait_timeout(Duration::from_secs(5)) {
//!         Some(granted) => granted?,
//!         None => acquire.give_up().wait()?, // an error that says who is in the way
//!     };
//!     // … one step after another, as long as `guard.is_valid()`, each with `guard.token()` …
//!     let was_ours = guard.is_valid();
//!     guard.release().wait();
//!     Ok(was_ours)
//! }
//!
//! assert!(tidy(&TreeLock::new(), "photos")?);
//! # Ok::<(), treelock::Error>(())
//! ```
//!
//! To write an engine, implement [`Engine`], [`Pending`], [`Held`] and [`EngineError`], and let the crate
//! `treelock-conformance` judge it. The repository's ENGINES.md says how, step by step.

use std::{error::Error, fmt::Debug, future::Future};

use crate::{
    answer::Answer, blocked::Blocked, fence::FencingToken, node_error::NodeError, request::Request,
    snapshot::Snapshot, wait::Wait,
};

pub use crate::{
    finding::{Finding, Severity},
    print::Age,
    sighting::{Process, Sighting},
    wake::wake_all,
};

/// A lock over all sub-trees of one tree, of one process or of many.
///
/// A value is a handle: clones are the same lock.
///
/// # Examples
///
/// See the [module](self).
pub trait Engine: Clone + Debug + Send + Sync + 'static {
    /// A request on its way to its guard.
    type Acquire: Pending<Guard = Self::Guard, Error = Self::Error>;

    /// What a holder has. Dropping it releases, without waiting for anybody.
    type Guard: Held;

    /// Why asking failed. It says what to do.
    type Error: EngineError;

    /// How many roots one request may have.
    const MAX_ROOTS: usize = usize::MAX;

    /// Acquires everything that `request` names. Returns a future of the guard, which asks when it is first
    /// polled or waited for, and takes its place in the order of arrival then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has.
    ///
    /// # Errors
    ///
    /// The future's: the engine could not be asked, or the request's place in the line was lost. Nothing is
    /// held then.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn acquire(&self, request: &Request) -> Self::Acquire;

    /// Acquires everything that `request` names, if nothing is in the way. Does not overtake: an earlier
    /// request that conflicts is in the way also while it only waits. A failure leaves nothing in the line.
    ///
    /// # Errors
    ///
    /// An error whose [`blocked`](EngineError::blocked) says who is in the way, and those of
    /// [`acquire`](Engine::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::{Engine, EngineError};
    /// use treelock::{Request, Wait};
    ///
    /// fn is_free<L: Engine>(lock: &L, folder: &str) -> Result<bool, L::Error> {
    ///     match lock.try_acquire(&Request::new().write(folder)?).wait() {
    ///         Ok(_guard) => Ok(true),
    ///         Err(error) if error.blocked().is_some() => Ok(false),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// # assert!(is_free(&treelock::TreeLock::new(), "photos").unwrap());
    /// ```
    fn try_acquire(&self, request: &Request) -> Answer<Result<Self::Guard, Self::Error>>;

    /// Returns who would be in the way of `request` if it asked now; `None` if nobody would. Acquires
    /// nothing.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    ///
    /// # Examples
    ///
    /// See [`TreeLock::blocked`](crate::TreeLock::blocked).
    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Self::Error>>;

    /// Returns all live requests at one moment: who holds and who waits for whom.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    ///
    /// # Examples
    ///
    /// See [`TreeLock::snapshot`](crate::TreeLock::snapshot).
    fn snapshot(&self) -> Answer<Result<Snapshot, Self::Error>>;

    /// Returns what is to be said of the place where the locks are kept: whether they work there, and what
    /// is odd.
    ///
    /// # Errors
    ///
    /// The place could not be looked at, for a reason that is no finding.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::{Engine, Severity};
    /// use treelock::Wait;
    ///
    /// fn works<L: Engine>(lock: &L) -> Result<bool, L::Error> {
    ///     Ok(lock.check().wait()?.iter().all(|finding| finding.severity < Severity::Bad))
    /// }
    /// # assert!(works(&treelock::TreeLock::new()).unwrap());
    /// ```
    fn check(&self) -> Answer<Result<Vec<Finding>, Self::Error>>;

    /// Waits until everything that this handle and its clones dropped is given back: guards, and requests on
    /// their way. For engines that give back in the background; all others are ready at once.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// See [`close`](Engine::close).
    fn settled(&self) -> Answer<()> {
        Answer::ready(())
    }

    /// Waits until everything that was dropped is given back, and ends what is not in use, such as leases.
    /// For the end of a program. The lock can be used again.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::Engine;
    /// use treelock::{TreeLock, Wait};
    ///
    /// Engine::close(&TreeLock::new()).wait();
    /// ```
    fn close(&self) -> Answer<()> {
        self.settled()
    }
}

/// A request on its way: a future of the guard, which a thread can also [`wait`](Wait::wait) for.
///
/// # Cancel safety
///
/// Dropping it at any time gives back whatever it has.
///
/// # Examples
///
/// See the [module](self).
pub trait Pending:
    Wait + Future<Output = Result<Self::Guard, Self::Error>> + Debug + Send + 'static
{
    /// What it gets when it is granted.
    type Guard: Held;

    /// Why asking failed.
    type Error: EngineError;

    /// Returns the ticket, by which a [`Snapshot`] names the request; `None` before it is in line and after
    /// it was ready.
    ///
    /// # Examples
    ///
    /// See [`Acquire::ticket`](crate::Acquire::ticket).
    fn ticket(&self) -> Option<u64>;

    /// Returns who is in the way; `None` if nobody is: it is not in line yet, or it is granted and the next
    /// poll is ready.
    ///
    /// # Errors
    ///
    /// The table could not be read.
    ///
    /// # Examples
    ///
    /// See [`Acquire::blocked`](crate::Acquire::blocked).
    fn blocked(&self) -> Answer<Result<Option<Blocked>, Self::Error>>;

    /// Stops waiting and leaves the line. Returns the guard if the lock was granted meanwhile. One that has
    /// not asked yet asks now and does not wait.
    ///
    /// # Errors
    ///
    /// An error whose [`blocked`](EngineError::blocked) says who was in the way, or why the engine could not
    /// be asked.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn give_up(self) -> Answer<Result<Self::Guard, Self::Error>>;
}

/// What a holder has: a guard. Dropping it releases, without waiting for anybody.
///
/// # Examples
///
/// See the [module](self).
pub trait Held: Debug + Send + Sync + 'static {
    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// See [`Guard::request`](crate::Guard::request).
    fn request(&self) -> &Request;

    /// Returns the ticket, by which a [`Snapshot`] names the request.
    ///
    /// # Examples
    ///
    /// See [`Guard::ticket`](crate::Guard::ticket).
    fn ticket(&self) -> u64;

    /// Returns the fencing token: larger than that of every earlier grant that conflicts (C20). Give it to
    /// the resource with each access, for a [`FenceGate`](crate::FenceGate) there.
    ///
    /// # Examples
    ///
    /// See [`Guard::token`](crate::Guard::token).
    fn token(&self) -> FencingToken;

    /// Returns whether the lock is held, as far as this machine can tell without asking (C21). Cheap: for
    /// each step of a longer work.
    ///
    /// Where it can be lost, `true` says that nobody else had it until now. It says nothing of what was sent
    /// to a resource before and arrives later: that takes the [`token`](Held::token).
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn is_valid(&self) -> bool;

    /// Returns the answer that comes when the lock is lost (C21). It does not need the guard.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::engine::Held;
    ///
    /// async fn guarded(guard: impl Held) {
    ///     // With tokio: select! { () = guard.lost() => stop(), () = work() => {} }
    ///     guard.lost().await;
    /// }
    /// ```
    fn lost(&self) -> Answer<()>;

    /// Releases the lock. Returns when others can see that it is released, or when it is lost anyhow.
    ///
    /// # Cancel safety
    ///
    /// Once polled or waited for it goes on, also if the answer is dropped; so it does if it never is.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn release(self) -> Answer<()>;
}

/// Why an engine did not grant a lock, or could not be asked. Its sentence says what to do.
///
/// # Examples
///
/// ```
/// use treelock::engine::EngineError;
///
/// fn should_ask_again<E: EngineError>(error: &E) -> bool {
///     error.is_timeout() || error.is_lost() || error.is_unavailable()
/// }
/// # let error = treelock::Error::from("".parse::<treelock::Node>().unwrap_err());
/// # assert!(!should_ask_again(&error));
/// ```
pub trait EngineError: Error + From<Blocked> + From<NodeError> + Send + Sync + 'static {
    /// Returns who is in the way, if that is why: of a try, or of a request that gave up.
    ///
    /// # Examples
    ///
    /// See [`Engine::try_acquire`].
    fn blocked(&self) -> Option<&Blocked>;

    /// Returns whether somebody else has it: of a try, or until the time was over.
    ///
    /// # Examples
    ///
    /// See [`EngineError`].
    fn is_timeout(&self) -> bool {
        self.blocked().is_some()
    }

    /// Returns whether the place in the line was lost, so that asking again may succeed.
    ///
    /// # Examples
    ///
    /// See [`EngineError`].
    fn is_lost(&self) -> bool;

    /// Returns whether the engine could not be reached, so that asking later may succeed.
    ///
    /// # Examples
    ///
    /// See [`EngineError`].
    fn is_unavailable(&self) -> bool;
}
