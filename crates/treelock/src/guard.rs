//! What a holder has: a [`Guard`]. And how the lock is left, by holders and waiters alike.

use std::{
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    task::Waker,
};

use coarsetime::Instant;

use crate::{
    arena::Slot,
    event,
    request::Request,
    snapshot::Blocked,
    sync::{Arc, Mutex, lock},
    table::{Granted, LockTable},
};

/// What all handles of one lock share.
pub(crate) struct Shared {
    table: Mutex<LockTable>,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        Shared { table: Mutex::new(LockTable::new(Instant::now_without_cache_update)) }
    }

    /// Work on the table. Nothing that a user wrote runs in `work` (C9).
    pub(crate) fn table<R>(&self, work: impl FnOnce(&mut LockTable) -> R) -> R {
        work(&mut lock(&self.table))
    }
}

/// A live request of ours, waiting or held. Dropping it gives back whatever it has and lets those behind
/// it go on, in one step (C10).
pub(crate) struct Turn {
    shared: Arc<Shared>,
    id: Slot,
}

impl Turn {
    pub(crate) fn new(shared: Arc<Shared>, id: Slot) -> Turn {
        Turn { shared, id }
    }

    /// Take a place in the order of arrival. Returns it, and whether it is granted at once.
    #[inline]
    pub(crate) fn ask(shared: Arc<Shared>, request: Request) -> (Turn, bool) {
        request.prepare();
        let (id, granted) = shared.table(|table| table.enqueue(request));
        let turn = Turn { shared, id };
        if !granted {
            event::waiting(|| turn.request());
        }
        (turn, granted)
    }

    fn request(&self) -> Request {
        self.shared.table(|table| table.request(self.id).clone())
    }

    /// Have `waker` called when the request is granted. Returns whether it is granted already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let registered = self.shared.table(|table| match table.waker(self.id) {
            None => Some(true),
            Some(Some(known)) if known.will_wake(waker) => Some(false),
            Some(_) => None,
        });
        // Cloning and dropping a waker is code of an executor's, so it stays out of the mutex.
        registered.unwrap_or_else(|| {
            let mut spare = Some(waker.clone());
            self.shared.table(|table| match table.waker(self.id) {
                None => true,
                Some(slot) => {
                    mem::swap(slot, &mut spare);
                    false
                }
            })
        })
    }

    /// Who is in the way; `None` if it is granted by now.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        self.shared.table(|table| table.why_waiting(self.id))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut granted = Granted::default();
        let left = self.shared.table(|table| table.leave(self.id, &mut granted));
        let released = || event::released(|| left.request.clone());
        if granted.is_empty() {
            released();
        } else {
            wake_all(granted, released);
        }
    }
}

/// Wake in the order of granting, then tell of the release: whatever a listener to events does, no wake-up
/// is lost. Nor by a waker that panics: its panic goes on when all is done, unless one is under way already.
#[cold]
fn wake_all(granted: Granted, released: impl FnOnce()) {
    let mut panicked = None;
    for waker in granted.into_wakers() {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            panicked.get_or_insert(payload);
        }
    }
    released();
    if let Some(payload) = panicked
        && !std::thread::panicking()
    {
        resume_unwind(payload);
    }
}

/// Holds what a request asked for, until it is dropped.
///
/// Owned: it can be stored, sent to another thread or task, and dropped there. Dropping it always
/// releases and never blocks (should a waker of somebody who waits panic, that panic goes on when all
/// are woken); a panic that unwinds through it releases too, and nothing is poisoned.
/// Leaking it, as [`std::mem::forget`] does, keeps the lock for as long as the process lives.
///
/// # Examples
///
/// ```
/// use treelock::{Request, TreeLock};
///
/// let lock = TreeLock::new();
/// let photos = Request::new().write("photos")?;
/// let guard = lock.acquire_blocking(&photos);
/// assert!(lock.try_acquire(&photos).is_err());
/// drop(guard);
/// assert!(lock.try_acquire(&photos).is_ok());
/// # Ok::<(), treelock::NodeError>(())
/// ```
#[must_use = "dropping a guard releases its lock at once"]
#[clippy::has_significant_drop]
pub struct Guard {
    turn: Turn,
}

impl Guard {
    /// Of a turn that is granted.
    pub(crate) fn new(turn: Turn) -> Guard {
        event::granted(|| turn.request());
        Guard { turn }
    }

    /// Returns the request that is held.
    ///
    /// # Examples
    ///
    /// ```
    /// use treelock::{Request, TreeLock};
    ///
    /// let guard = TreeLock::new().try_acquire(&Request::new().write("photos")?)?;
    /// assert_eq!(guard.request().to_string(), "write /photos");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn request(&self) -> Request {
        self.turn.request()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({})", self.turn.request())
    }
}
