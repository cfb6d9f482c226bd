//! The lock as Python sees it: its methods.

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::PyValueError,
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    context::manager::ContextManager,
    roots::Roots,
    show,
    tree::TreeLock,
    words::{not_copied, repr_with},
};

#[pymethods]
impl TreeLock {
    /// Accepts whatever the `__init__` of a subclass accepts.
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords), text_signature = "(*, strings=False)")]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> TreeLock {
        TreeLock::default()
    }

    #[pyo3(signature = (*, strings = false))]
    fn __init__(&self, strings: bool) -> PyResult<()> {
        match self.choose_strings(strings) == strings {
            true => Ok(()),
            false => Err(PyValueError::new_err("strings= of a TreeLock cannot be changed")),
        }
    }

    /// Returns a context manager for ``async with`` and ``with``.
    ///
    /// It reads (shares) the sub-trees below the nodes in ``read``, and writes (excludes others
    /// from) those below the nodes in ``write``. Each node is part of its own sub-tree.
    ///
    /// The call examines no arguments and acquires nothing: wrong arguments raise when the context
    /// manager is entered. ``timeout`` is in seconds: with 0 the lock is granted at once or not at
    /// all, and without one the wait is unlimited. ``label`` names the request in messages and
    /// snapshots.
    ///
    /// >>> lock = TreeLock()
    /// >>> copy = lock(read=[PurePosixPath('/a')], write=[PurePosixPath('/b')], timeout=5)
    #[pyo3(signature = (
        read = Roots::none(), write = Roots::none(), *, timeout = None, label = None,
    ))]
    fn __call__(
        slf: Py<Self>,
        read: Roots,
        write: Roots,
        timeout: Option<Py<PyAny>>,
        label: Option<Py<PyAny>>,
    ) -> ContextManager {
        ContextManager::new(slf, read, write, timeout, label)
    }

    /// Returns whether anything is held.
    ///
    /// >>> TreeLock().locked()
    /// False
    fn locked(&self) -> bool {
        self.core().held_count() > 0
    }

    /// Returns all live requests at one moment: which hold, and what the others wait for.
    ///
    /// >>> lock = TreeLock()
    /// >>> with lock(write=[PurePosixPath('/photos')], label='import-7'):
    /// ...     print(lock.snapshot())
    /// ticket  state         age  waits for  label     roots
    ///      1  held         0.0s             import-7  write /photos
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        show::snapshot(py, self)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let lock = slf.get().core();
        let state = if lock.held_count() > 0 { "locked" } else { "unlocked" };
        let waiters = match lock.waiting_count() {
            0 => String::new(),
            waiting => format!(", waiters:{waiting}"),
        };
        repr_with(slf.as_any(), &format!("[{state}{waiters}]"))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("TreeLock"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(visit)
    }
}
