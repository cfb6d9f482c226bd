//! One request, to be entered once or often: what `async with` and `with` work on.

use std::{
    ffi::CString,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pyo3::{
    Borrowed, PyTraverseError, PyVisit,
    exceptions::{PyResourceWarning, PyRuntimeError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyString},
};
use treelock::{Access, Guard};

use crate::{
    enter::{Enter, Nothing},
    holds::{Hold, Holds},
    intern::Names,
    lock::{TreeLock, not_copied, repr, repr_with, wrong_type},
    nodes::Plan,
    python::{caller, deliver, in_destructor, is_finalizing, report},
    roots::Roots,
    show,
    wait::{self, Limit},
};

/// What a ``TreeLock`` returns when it is called: one request, to be entered once or often.
///
/// ``async with`` waits in the event loop, ``with`` blocks the thread (and, in a thread whose event
/// loop runs, gets the lock at once or raises ``RuntimeError``). Several tasks and threads may use
/// one context manager at the same time; if they change its lists meanwhile, each should leave in the
/// task that entered. The roots are read again each time, except those that came from an iterator,
/// which can be read only once, and by one thread: give a list where several begin at once.
///
/// Raises, when it is entered, ``LockTimeout`` if the time is over, ``TypeError`` or
/// ``AttributeError`` for what is no node, ``ValueError`` for a string or a timeout that means
/// nothing, and whatever the code of a node raises; then nothing is locked.
///
/// A task may be cancelled at any point: what it had is given back. An exception in the body
/// releases the lock. One that is collected while it holds releases too, with a ``ResourceWarning``.
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

    pub(crate) fn lock(&self) -> &TreeLock {
        self.lock.get()
    }

    fn holds<R>(&self, work: impl FnOnce(&mut Holds) -> R) -> R {
        work(&mut self.holds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Read the roots, anew each time.
    pub(crate) fn plan<'py>(&self, py: Python<'py>) -> PyResult<Plan<'_, 'py>> {
        self.lock().interner().settle();
        let mut plan = Plan::new(self.lock());
        self.read.for_each(py, "read", |root| plan.add(Access::Read, root))?;
        self.write.for_each(py, "write", |root| plan.add(Access::Write, root))?;
        plan.label = self.label.as_ref().map(|label| label_text(label.bind(py))).transpose()?;
        Ok(plan)
    }

    /// How long the request may wait, by its own `timeout`.
    pub(crate) fn limit(&self, py: Python<'_>) -> PyResult<Limit> {
        let Some(timeout) = &self.timeout else { return Ok(Limit::Never) };
        let timeout = timeout.bind(py);
        let seconds = seconds(timeout)?;
        if seconds < 0.0 || seconds.is_nan() {
            return Err(PyValueError::new_err(format!(
                "timeout must be a number of seconds from 0 on, not {}",
                repr(timeout)
            )));
        }
        Ok(Limit::seconds(seconds))
    }

    /// Keep a lock that is granted.
    pub(crate) fn hold(&self, py: Python<'_>, guard: Guard, names: Names) -> PyResult<()> {
        let hold = Hold::new(guard, names);
        if let Some(hold) = self.holds(|holds| holds.put_first(hold)) {
            let caller = caller(py)?;
            self.holds(|holds| holds.put(caller, hold));
        }
        Ok(())
    }

    /// Release the hold of whoever calls. Returns whether there was one.
    fn leave(&self, py: Python<'_>) -> bool {
        let alone = self.holds(|holds| holds.is_one_at_most());
        let caller = (!alone).then(|| caller(py).map_err(|error| report(py, error)).ok()).flatten();
        let hold = self.holds(|holds| holds.take(caller));
        let is_held = hold.is_some();
        drop(hold);
        self.lock().interner().settle();
        deliver(py);
        is_held
    }

    /// What `repr` says of the roots.
    fn describe(&self, py: Python<'_>) -> String {
        format!("read={}, write={}", self.read.describe(py), self.write.describe(py))
    }

    /// Release what nobody can release any more.
    fn abandon(&self) {
        let holds = self.holds(mem::take);
        if holds.is_empty() {
            return;
        }
        Python::try_attach(|py| in_destructor(py, |py| self.release_with_warning(py, holds)));
    }

    fn release_with_warning(&self, py: Python<'_>, holds: Holds) {
        // While the interpreter goes, everything is abandoned and nobody is to blame; and a thread that was
        // woken then could not go on.
        if is_finalizing(py) {
            return mem::forget(holds);
        }
        let roots = |hold: &Hold| show::roots(py, self.lock(), &hold.guard.request());
        let (roots, holds): (Vec<_>, Vec<_>) =
            holds.into_all().map(|hold| (roots(&hold), hold)).unzip();
        // First released, then warned: whoever hears of it may want the lock.
        drop(holds);
        for roots in roots {
            let message = format!("released a lock whose context manager was never left: {roots}");
            let message = CString::new(message.replace('\0', "\\0")).expect("no zeros are left");
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1) {
                report(py, error);
            }
        }
        self.lock().interner().settle();
    }
}

impl Drop for ContextManager {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[pymethods]
impl ContextManager {
    /// Returns an awaitable that acquires the lock. Nothing happens before its first step.
    fn __aenter__(slf: Py<Self>) -> Enter {
        Enter::new(slf)
    }

    /// Releases the lock, at once; there is nothing to wait for. Silent if it is not held.
    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __aexit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<Nothing>> {
        let _ = (exc_type, exc_value, traceback); // whatever happened, it is released
        self.leave(py);
        Nothing::get(py)
    }

    /// Acquires the lock, blocking the thread. Ctrl-C gets through.
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        let limit = self.limit(py)?;
        let refuse = |blocked: &_| show::lock_timeout(py, self.lock(), blocked);
        wait::acquire_blocking(py, self, limit, refuse)?.map_or(Ok(()), Err)
    }

    /// Releases the lock. Silent if it is not held.
    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) {
        let _ = (exc_type, exc_value, traceback);
        self.leave(py);
    }

    /// Acquires the lock, blocking the thread. Returns whether it was granted.
    ///
    /// As ``threading.Lock.acquire``: with ``blocking=False`` it does not wait, and ``timeout`` is
    /// in seconds. With -1 the ``timeout`` of the context manager counts.
    ///
    /// >>> photos = TreeLock()(write=[PurePosixPath('/photos')])
    /// >>> photos.acquire(), photos.acquire(blocking=False)
    /// (True, False)
    /// >>> photos.release()
    #[pyo3(signature = (blocking = Argument(None), timeout = Argument(None)))]
    #[pyo3(text_signature = "($self, blocking=True, timeout=-1)")]
    fn acquire(&self, py: Python<'_>, blocking: Argument, timeout: Argument) -> PyResult<bool> {
        let blocking = blocking.0.map_or(Ok(true), |blocking| blocking.bind(py).is_truthy())?;
        let given = timeout.0.map(|timeout| seconds(timeout.bind(py))).transpose()?;
        let own = self.limit(py)?;
        let limit = match (blocking, given.filter(|seconds| *seconds != -1.0)) {
            (false, None) => Limit::Try,
            (false, Some(_)) => {
                return Err(PyValueError::new_err(
                    "can't specify a timeout for a non-blocking call",
                ));
            }
            (true, None) => own,
            (true, Some(seconds)) if seconds >= 0.0 => Limit::seconds(seconds),
            (true, Some(_)) => {
                return Err(PyValueError::new_err("timeout value must be a non-negative number"));
            }
        };
        Ok(wait::acquire_blocking(py, self, limit, |_| ())?.is_none())
    }

    /// Releases the lock. Raises ``RuntimeError`` if this context manager does not hold it.
    ///
    /// >>> TreeLock()().release()
    /// Traceback (most recent call last):
    /// ...
    /// RuntimeError: release of a lock that is not held
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        match self.leave(py) {
            true => Ok(()),
            false => Err(PyRuntimeError::new_err("release of a lock that is not held")),
        }
    }

    /// Returns whether this context manager holds its lock.
    ///
    /// >>> TreeLock()().locked()
    /// False
    fn locked(&self) -> bool {
        self.holds(|holds| !holds.is_empty())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let state = if slf.get().locked() { "locked" } else { "unlocked" };
        repr_with(slf.as_any(), &format!("[{state}] {}", slf.get().describe(slf.py())))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("TreeLockContextManager"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lock)?;
        self.read.traverse(visit)?;
        self.write.traverse(visit)?;
        visit.call(&self.timeout)?;
        visit.call(&self.label)
    }

    fn __clear__(&self) {
        self.abandon();
        // Nobody enters it any more.
        self.read.forget();
        self.write.forget();
    }
}

/// An argument, if it was given, be it Python's `None`.
struct Argument(Option<Py<PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Argument {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Argument> {
        Ok(Argument(Some(given.to_owned().unbind())))
    }
}

fn label_text(label: &Bound<'_, PyAny>) -> PyResult<String> {
    match label.cast::<PyString>() {
        // Lone surrogates are no text to Rust.
        Ok(text) => show::escaped(text),
        Err(_) => Err(wrong_type("label", "a str", label)),
    }
}

/// A number of seconds, as `timeout` arguments are.
fn seconds(timeout: &Bound<'_, PyAny>) -> PyResult<f64> {
    let wrong = || wrong_type("timeout", "a number of seconds", timeout);
    if timeout.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    timeout.extract::<f64>().map_err(|error| {
        // Exactly: what code of the object's own raises is its own affair.
        let is_no_number = error.get_type(timeout.py()).is(timeout.py().get_type::<PyTypeError>());
        if !is_no_number {
            return error;
        }
        let wrong = wrong();
        wrong.set_cause(timeout.py(), Some(error));
        wrong
    })
}

/// A time that can be waited for; `None` if it is longer than anybody lives.
pub(crate) fn duration(seconds: f64) -> Option<Duration> {
    const CENTURY: f64 = 100.0 * 365.25 * 24.0 * 3600.0;
    (seconds < CENTURY).then(|| Duration::from_secs_f64(seconds))
}
