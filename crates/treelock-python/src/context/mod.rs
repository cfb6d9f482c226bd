//! The context manager as Python sees it: its methods.

pub(crate) mod manager;

mod coroutine;
mod enter;
mod exit;
mod holds;

use pyo3::{
    Borrowed, PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
};

use crate::{
    context::{enter::Enter, exit::Exit, manager::ContextManager},
    limit::{Limit, seconds},
    words::{not_copied, repr_with},
};

#[pymethods]
impl ContextManager {
    /// Returns an awaitable that acquires the lock. Nothing happens before its first step.
    fn __aenter__(slf: Py<Self>) -> Enter {
        Enter::new(slf)
    }

    /// Releases the lock at once; there is nothing to wait for. Does nothing if not held.
    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __aexit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<Py<Exit>> {
        let _ = (exc_type, exc_value, traceback); // whatever happened, it is released
        self.leave(py);
        Exit::get(py)
    }

    /// Acquires the lock, blocking the thread. Ctrl-C gets through.
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        let limit = self.limit(py)?;
        let refused = self.acquire_or(py, limit, |blocked| self.lock_timeout(py, blocked))?;
        refused.map_or(Ok(()), Err)
    }

    /// Releases the lock. Does nothing if it is not held.
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
    /// Works like ``threading.Lock.acquire``: with ``blocking=False`` it does not wait, and
    /// ``timeout`` is in seconds. With -1, the ``timeout`` of the context manager applies.
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
            (true, Some(seconds)) if seconds >= 0.0 => Limit::from_seconds(seconds),
            (true, Some(_)) => {
                return Err(PyValueError::new_err("timeout value must be a non-negative number"));
            }
        };
        Ok(self.acquire_or(py, limit, |_| ())?.is_none())
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
        self.is_held()
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let state = if slf.get().is_held() { "locked" } else { "unlocked" };
        repr_with(slf.as_any(), &format!("[{state}] {}", slf.get().describe(slf.py())))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("TreeLockContextManager"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(visit)
    }

    fn __clear__(&self) {
        self.clear();
    }
}

/// An argument, if it was given, even if it is Python's `None`.
struct Argument(Option<Py<PyAny>>);

impl<'py> FromPyObject<'_, 'py> for Argument {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Argument> {
        Ok(Argument(Some(given.to_owned().unbind())))
    }
}
