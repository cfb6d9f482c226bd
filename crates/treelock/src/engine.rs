//! What all engines have in common, for code that works on any of them.

use std::{convert::Infallible, error::Error, future::Future};

use crate::{acquire::TreeLock, guard::Guard, request::Request};

/// A lock over all sub-trees of one tree, of one process or of many: what code needs of it that works with any.
///
/// [`TreeLock`] is one, which cannot fail; `DirLock` of the crate `treelock-dir` and `EtcdLock` of
/// `treelock-etcd` are others, which can. A value is a handle: clones are the same lock.
///
/// Each engine has more verbs, and its guards too. They are no part of this trait, since code that needs them
/// knows its engine.
///
/// # Examples
///
/// ```
/// use treelock::{Engine, NodeError, Request, TreeLock};
///
/// /// Works below a folder, and says whether it had it for itself until the end.
/// async fn tidy<L: Engine>(lock: &L, folder: &str) -> Result<bool, Box<dyn std::error::Error>> {
///     let guard = lock.acquire(&Request::new().write(folder)?).await?;
///     // … one step after another, as long as `L::is_valid(&guard)` …
///     Ok(L::is_valid(&guard))
/// }
/// # let done = std::pin::pin!(tidy(&TreeLock::new(), "photos"))
/// #     .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
/// # assert!(matches!(done, std::task::Poll::Ready(Ok(true))));
/// ```
pub trait Engine: Clone + Send + Sync + 'static {
    /// What a holder has. Dropping it releases, without waiting for anybody.
    type Guard: Send + Sync + 'static;

    /// Why asking failed. It says what to do.
    type Error: Error + Send + Sync + 'static;

    /// How many roots one request may have.
    const MAX_ROOTS: usize = usize::MAX;

    /// Acquires everything that `request` names. Returns a future of the guard.
    ///
    /// The request takes its place in the order of arrival when the future is first polled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future at any time gives back whatever it has.
    ///
    /// # Errors
    ///
    /// The engine could not be asked, or the request's place in the line was lost. Nothing is held then.
    ///
    /// # Examples
    ///
    /// See [`Engine`].
    fn acquire(
        &self,
        request: &Request,
    ) -> impl Future<Output = Result<Self::Guard, Self::Error>> + Send;

    /// Returns whether the lock is held, as far as this machine can tell without asking. Cheap: for each step of
    /// a longer work.
    ///
    /// Where it can be lost, `true` says that nobody else had it until now. It says nothing of what was sent to a
    /// resource before and arrives later: that takes a [`FencingToken`](crate::FencingToken).
    ///
    /// # Examples
    ///
    /// See [`Engine`].
    fn is_valid(guard: &Self::Guard) -> bool;
}

impl Engine for TreeLock {
    type Guard = Guard;
    type Error = Infallible;

    async fn acquire(&self, request: &Request) -> Result<Guard, Infallible> {
        Ok(TreeLock::acquire(self, request).await)
    }

    /// A lock in the memory of the process is held until its guard is dropped.
    fn is_valid(_: &Guard) -> bool {
        true
    }
}
