//! The context manager itself: one request that can be entered any number of times. `mod.rs` has
//! the methods that Python sees.

use std::{
    ffi::CString,
    mem,
    sync::{Mutex, PoisonError},
};

use pyo3::{PyTraverseError, PyVisit, exceptions::PyResourceWarning, prelude::*, types::PyString};
use treelock::{Access, Blocked, Guard};

use crate::{
    block::block,
    context::holds::{Hold, Holds},
    intern::NodesInUse,
    limit::Limit,
    nodes::Plan,
    python::{caller, deliver_interrupt, in_destructor, is_finalizing, report},
    roots::Roots,
    show,
    tree::TreeLock,
    waiter::{Asked, Ended, ask},
    words::{escaped, wrong_type},
};

/// The context manager that calling a ``TreeLock`` returns: one request, to enter once or often.
///
/// ``async with`` waits in the event loop. ``with`` blocks the thread; in a thread whose event loop
/// is running, it gets the lock at once or raises ``RuntimeError``. Several tasks and threads may
/// use one context manager at the same time; if its lists change in the meantime, each should exit
/// in the task that entered. The roots are read again each time, except those from an iterator,
/// which can be read only once, and by one thread: pass a list if several start at once.
///
/// Entering raises ``LockTimeout`` if the time is up, ``TypeError`` or ``AttributeError`` for
/// anything that is not a node, ``ValueError`` for an invalid string or timeout, and whatever the
/// code of a node raises. Nothing is locked then.
///
/// A task may be cancelled at any point: whatever it had is given back. An exception in the body
/// releases the lock. A context manager that is collected while it holds also releases, with a
/// ``ResourceWarning``.
#[pyclass(name = "TreeLockContextManager", module = "treelock", frozen, weakref)]
pub(crate) struct ContextManager {
    lock: Py<TreeLock>,
    read: Roots,
    write: Roots,
    timeout: Option<Py<PyAny>>,
    label: Option<Py<PyAny>>,
    holds: Mutex<Holds>,
}

impl ContextManager {
    pub(crate) fn new(
        lock: Py<TreeLock>,
        read: Roots,
        write: Roots,
        timeout: Option<Py<PyAny>>,
        label: Option<Py<PyAny>>,
    ) -> ContextManager {
        ContextManager { lock, read, write, timeout, label, holds: Mutex::default() }
    }

    fn lock(&self) -> &TreeLock {
        self.lock.get()
    }

    fn holds<R>(&self, work: impl FnOnce(&mut Holds) -> R) -> R {
        work(&mut self.holds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether this context manager holds its lock.
    pub(crate) fn is_held(&self) -> bool {
        self.holds(|holds| !holds.is_empty())
    }

    /// Returns the arguments that are roots, as text.
    pub(crate) fn describe(&self, py: Python<'_>) -> String {
        format!("read={}, write={}", self.read.describe(py), self.write.describe(py))
    }

    /// Returns how long the request may wait, according to its own `timeout`.
    pub(crate) fn limit(&self, py: Python<'_>) -> PyResult<Limit> {
        self.timeout
            .as_ref()
            .map_or(Ok(Limit::Never), |timeout| Limit::from_argument(timeout.bind(py)))
    }

    /// Reads the roots, again each time, and requests the lock.
    pub(crate) fn ask(&self, py: Python<'_>) -> PyResult<Asked> {
        ask(&self.plan(py)?)
    }

    fn plan<'py>(&self, py: Python<'py>) -> PyResult<Plan<'_, 'py>> {
        self.lock().interner().unmix_if_idle();
        let mut plan = Plan::new(self.lock());
        self.read.for_each(py, "read", |root| plan.add(Access::Read, root))?;
        self.write.for_each(py, "write", |root| plan.add(Access::Write, root))?;
        if let Some(label) = &self.label {
            plan.set_label(label_text(label.bind(py))?);
        }
        Ok(plan)
    }

    /// Acquires the lock, blocking the thread. If the time is up, returns what `refuse` makes of
    /// the request in the way; until then the nodes of the request are in use.
    pub(crate) fn acquire_or<T>(
        &self,
        py: Python<'_>,
        limit: Limit,
        refuse: impl FnOnce(&Blocked) -> T,
    ) -> PyResult<Option<T>> {
        let waiter = match self.ask(py)? {
            Asked::Granted(guard, in_use) => return self.hold(py, guard, in_use).map(|()| None),
            Asked::Waiting(waiter) => waiter,
        };
        let outcome = block(py, self.lock(), &waiter, limit).and_then(|ended| match ended {
            Ended::Granted(guard, in_use) => self.hold(py, guard, in_use).map(|()| None),
            Ended::Refused(blocked) => Ok(Some(refuse(&blocked))),
            Ended::GivenBack => unreachable!("a waiting thread takes what it is granted"),
        });
        waiter.leave();
        drop(waiter);
        deliver_interrupt(py);
        outcome
    }

    /// Returns the error that says what is in the way.
    pub(crate) fn lock_timeout(&self, py: Python<'_>, blocked: &Blocked) -> PyErr {
        show::lock_timeout(py, self.lock(), blocked)
    }

    /// Keeps a lock that was granted.
    pub(crate) fn hold(&self, py: Python<'_>, guard: Guard, in_use: NodesInUse) -> PyResult<()> {
        let hold = Hold::new(guard, in_use);
        if let Some(hold) = self.holds(|holds| holds.put_first(hold)) {
            let caller = caller(py)?;
            self.holds(|holds| holds.put(caller, hold));
        }
        Ok(())
    }

    /// Releases the caller's hold. Returns whether there was one.
    pub(crate) fn leave(&self, py: Python<'_>) -> bool {
        let alone = self.holds(|holds| holds.is_one_at_most());
        let caller = (!alone).then(|| caller(py).map_err(|error| report(py, error)).ok()).flatten();
        let hold = self.holds(|holds| holds.take(caller));
        let is_held = hold.is_some();
        drop(hold);
        self.lock().interner().unmix_if_idle();
        deliver_interrupt(py);
        is_held
    }

    /// Releases holds that can no longer be released in any other way.
    fn abandon(&self) {
        let holds = self.holds(mem::take);
        if holds.is_empty() {
            return;
        }
        Python::try_attach(|py| in_destructor(py, |py| self.release_with_warning(py, holds)));
    }

    fn release_with_warning(&self, py: Python<'_>, holds: Holds) {
        // While the interpreter shuts down, everything is abandoned and nothing is to blame. A
        // thread that was woken then could not continue.
        if is_finalizing(py) {
            return mem::forget(holds);
        }
        let roots = |hold: &Hold| show::roots(py, self.lock(), hold.guard.request());
        let (roots, holds): (Vec<_>, Vec<_>) =
            holds.into_all().map(|hold| (roots(&hold), hold)).unzip();
        // The release comes before the warning, which may be shown by code that wants the lock.
        drop(holds);
        for roots in roots {
            let message =
                format!("released a lock whose context manager was never exited: {roots}");
            let message = CString::new(message.replace('\0', "\\0")).expect("no zeros are left");
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1) {
                report(py, error);
            }
        }
        self.lock().interner().unmix_if_idle();
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lock)?;
        self.read.traverse(visit)?;
        self.write.traverse(visit)?;
        visit.call(&self.timeout)?;
        visit.call(&self.label)
    }

    /// Breaks the cycle that it is in, for the garbage collector.
    pub(crate) fn clear(&self) {
        self.abandon();
        // It is not entered any more.
        self.read.forget();
        self.write.forget();
    }
}

impl Drop for ContextManager {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn label_text(label: &Bound<'_, PyAny>) -> PyResult<String> {
    match label.cast::<PyString>() {
        Ok(text) => escaped(text),
        Err(_) => Err(wrong_type("label", "a str", label)),
    }
}
