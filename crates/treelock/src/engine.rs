//! What all engines have in common: for code that works with any engine, and for engine authors.
//!
//! An engine is a place to keep a lock table: the memory of one process
//! ([`TreeLock`](crate::TreeLock)), a directory on one host (`DirLock` in the crate
//! `treelock-dir`), or a cluster (`EtcdLock` in `treelock-etcd`). All engines have the same verbs.
//! Each verb returns a value that can be awaited, or that a thread can wait for with [`Wait`]. Only
//! the methods whose names begin with `wait` block a thread.
//!
//! Code that uses a single engine needs nothing from this module, because each engine has the same
//! verbs itself. Code that works with any engine is generic over [`Engine`]:
//!
//! ```
//! use std::time::Duration;
//! use treelock::engine::{Engine, EngineError, Held, Pending};
//! use treelock::{Request, TreeLock, Wait};
//!
//! /// Works below a folder. Returns whether it had the folder to itself until the end.
//! fn tidy<L: Engine>(lock: &L, folder: &str) -> Result<bool, L::Error> {
//!     let mut acquire = lock.acquire(&Request::new().write(folder)?);
//!     let guard = match acquire.wait_timeout(Duration::from_secs(5)) {
//!         Some(granted) => granted?,
//!         None => acquire.give_up().wait()?, // an error that names the blocker
//!     };
//!     // … one step after another while `guard.is_valid()`, each with `guard.token()` …
//!     let was_ours = guard.is_valid();
//!     guard.release().wait();
//!     Ok(was_ours)
//! }
//!
//! assert!(tidy(&TreeLock::new(), "photos")?);
//! # Ok::<(), treelock::Error>(())
//! ```
//!
//! To write an engine, implement [`Engine`], [`Pending`], [`Held`] and [`EngineError`], and test it
//! with the crate `treelock-conformance`. The repository's ENGINES.md explains how, step by step.

use std::{error::Error, fmt::Debug, future::Future};

use crate::{
    answer::Answer, blocked::Blocked, fence::FencingToken, node_error::NodeError, request::Request,
    snapshot::Snapshot, wait::Wait,
};

pub use crate::{
    events::{Event, Events, Next, What},
    finding::{Finding, Severity},
    print::Age,
    root_index::RootIndex,
    sighting::{Process, Sighting},
    wake::wake_all,
};

/// A lock over all sub-trees of one tree, for one process or many.
///
/// A value is a handle: clones refer to the same lock.
///
/// # Examples
///
/// See the [module](self).
pub trait Engine: Clone + Debug + Send + Sync + 'static {
    /// A request on its way to becoming a guard.
    type Acquire: Pending<Guard = Self::Guard, Error = Self::Error>;

    /// What a holder has. Dropping it releases the lock, without waiting for anything.
    type Guard: Held;

    /// Why a request failed. Its message says what to do.
    type Error: EngineError;

    /// The largest number of roots that one request may have.
    const MAX_ROOTS: usize = usize::MAX;

    /// Acquires everything that `request` names. Returns a future of the guard. The request takes
    /// its place in the order of arrival when the future is first polled or waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has.
    ///
    /// # Errors
    ///
    /// The future fails if the engine could not be used, or if the request lost its place in
    /// line. Nothing is held then.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn acquire(&self, request: &Request) -> Self::Acquire;

    /// Acquires everything that `request` names, if nothing is in the way. Does not overtake: an
    /// earlier request that conflicts is in the way even while it only waits. A failed try leaves
    /// nothing in the line.
    ///
    /// # Errors
    ///
    /// Returns an error whose [`blocked`](EngineError::blocked) names the blocker, or one of the
    /// errors of [`acquire`](Engine::acquire).
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

    /// Returns the request that would be in the way of `request` if it were made now, or `None` if
    /// there is none. Acquires nothing.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// See [`TreeLock::blocked`](crate::TreeLock::blocked).
    fn blocked(&self, request: &Request) -> Answer<Result<Option<Blocked>, Self::Error>>;

    /// Returns all live requests at one moment: which of them hold their locks, and what each of
    /// the others waits for.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// See [`TreeLock::snapshot`](crate::TreeLock::snapshot).
    fn snapshot(&self) -> Answer<Result<Snapshot, Self::Error>>;

    /// Listens to what happens to the requests of this lock. Returns the events in order: first
    /// one for each live request, then one for each change.
    ///
    /// An engine that does not say otherwise takes a snapshot 50 times a second, or less often if a
    /// snapshot takes more than two milliseconds, on a thread of its own. What comes and leaves
    /// between two of them is missed, and counted when a later ticket shows it.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Panics
    ///
    /// Panics if an engine that takes snapshots cannot start a thread.
    ///
    /// # Examples
    ///
    /// See [`Events`].
    fn events(&self) -> Answer<Result<Events<Self::Error>, Self::Error>> {
        let lock = self.clone();
        let events = Events::looking(move || lock.snapshot().wait());
        Answer::ready(Ok(events.expect("the system starts one more thread")))
    }

    /// Checks the place where the locks are kept. Returns what it found: whether locks work there,
    /// and anything unusual.
    ///
    /// # Errors
    ///
    /// Fails if the place could not be examined, for a reason that is not itself a finding.
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

    /// Waits until everything that this handle and its clones dropped is given back: guards and
    /// pending requests. For engines that give back in the background; all others are ready at
    /// once.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
    ///
    /// # Examples
    ///
    /// See [`close`](Engine::close).
    fn settled(&self) -> Answer<()> {
        Answer::ready(())
    }

    /// Waits until everything that was dropped is given back, and ends what is not in use, such as
    /// leases. Call it at the end of a program. The lock can be used again afterwards.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
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

/// A pending request: a future of the guard, which a thread can also [`wait`](Wait::wait) for.
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
    /// The guard that it becomes when it is granted.
    type Guard: Held;

    /// Why the request failed.
    type Error: EngineError;

    /// Returns the ticket, which identifies the request in a [`Snapshot`]. It is `None` before the
    /// request is in line and after the future was ready.
    ///
    /// # Examples
    ///
    /// See [`Acquire::ticket`](crate::Acquire::ticket).
    fn ticket(&self) -> Option<u64>;

    /// Returns the request that is in the way, or `None` if there is none: this request is not in
    /// line yet, or it is granted and the next poll will be ready.
    ///
    /// # Errors
    ///
    /// Fails if the table could not be read.
    ///
    /// # Examples
    ///
    /// See [`Acquire::blocked`](crate::Acquire::blocked).
    fn blocked(&self) -> Answer<Result<Option<Blocked>, Self::Error>>;

    /// Stops waiting and leaves the line. Returns the guard if the lock was granted in the
    /// meantime. If the request has not been made yet, it is made now without waiting.
    ///
    /// # Errors
    ///
    /// Returns an error whose [`blocked`](EngineError::blocked) names the blocker, or one that says
    /// why the engine could not be used.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn give_up(self) -> Answer<Result<Self::Guard, Self::Error>>;
}

/// What a holder has: a guard. Dropping it releases the lock, without waiting for anything.
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

    /// Returns the ticket, which identifies the request in a [`Snapshot`].
    ///
    /// # Examples
    ///
    /// See [`Guard::ticket`](crate::Guard::ticket).
    fn ticket(&self) -> u64;

    /// Returns the fencing token, which is larger than that of every earlier grant that conflicts
    /// (C20). Pass it to the resource with each access, to be checked there by a
    /// [`FenceGate`](crate::FenceGate).
    ///
    /// # Examples
    ///
    /// See [`Guard::token`](crate::Guard::token).
    fn token(&self) -> FencingToken;

    /// Returns whether the lock is held, as far as this machine can tell without asking (C21). It
    /// is cheap, so call it before each step of a longer task.
    ///
    /// Where a lock can be lost, `true` means that no one else has had it up to now. It says
    /// nothing about an access that was sent to a resource earlier and arrives later; only the
    /// [`token`](Held::token) protects against that.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn is_valid(&self) -> bool;

    /// Returns an answer that is ready when the lock is lost (C21). It does not borrow the guard.
    ///
    /// # Cancel safety
    ///
    /// The answer may be dropped at any time.
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

    /// Releases the lock. The answer is ready when others can see the release, or when the lock
    /// turns out to be lost anyway.
    ///
    /// # Cancel safety
    ///
    /// The release begins, at the latest, when the answer is first polled, waited for or dropped.
    /// From then on it completes, whatever becomes of the answer. Do not keep an answer that
    /// nothing polls: the lock may stay held for as long.
    ///
    /// # Examples
    ///
    /// See the [module](self).
    fn release(self) -> Answer<()>;
}

/// Why an engine did not grant a lock or could not be used. Its message says what to do.
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
    /// Returns the blocker, if a failed try or a request that gave up is the cause.
    ///
    /// # Examples
    ///
    /// See [`Engine::try_acquire`].
    fn blocked(&self) -> Option<&Blocked>;

    /// Returns whether another request has the lock: after a failed try, or when the time ran out.
    ///
    /// # Examples
    ///
    /// See [`EngineError`].
    fn is_timeout(&self) -> bool {
        self.blocked().is_some()
    }

    /// Returns whether the request lost its place in line, so that asking again may succeed.
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
