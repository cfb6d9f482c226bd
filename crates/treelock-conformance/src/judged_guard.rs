//! What a judged engine grants: a [`JudgedGuard`].

use std::fmt;

use treelock::engine::{Engine, Held};

use crate::setting::Setting;

/// A guard of an engine that is [`Judged`](crate::Judged). When its drop returns, the lock is
/// released.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
/// use treelock_conformance::{Judged, Subject};
///
/// let engine = Judged::exact(TreeLock::new());
/// let guard = engine.try_acquire(&Request::new().write("a")?).unwrap();
/// drop(guard);
/// assert!(engine.snapshot().entries.is_empty());
/// # Ok::<(), treelock::NodeError>(())
/// ```
pub struct JudgedGuard<L: Engine, const EXACT: bool> {
    /// Until it is dropped.
    guard: Option<L::Guard>,
    lock: L,
    /// The last field, since it may own what the others are in.
    setting: Setting,
}

impl<L: Engine, const EXACT: bool> JudgedGuard<L, EXACT> {
    pub(crate) fn new(guard: L::Guard, lock: L, setting: Setting) -> JudgedGuard<L, EXACT> {
        JudgedGuard { guard: Some(guard), lock, setting }
    }
}

/// One half of the guards are released, the other half dropped: both must do the same (C11).
impl<L: Engine, const EXACT: bool> Drop for JudgedGuard<L, EXACT> {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        if guard.ticket() % 2 == 0 {
            return self.setting.answer(|| guard.release());
        }
        self.setting.within(|| drop(guard));
        if !EXACT {
            self.setting.answer(|| self.lock.settled());
        }
    }
}

impl<L: Engine, const EXACT: bool> fmt::Debug for JudgedGuard<L, EXACT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedGuard").field("guard", &self.guard).finish_non_exhaustive()
    }
}
