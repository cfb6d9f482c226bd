//! The lock as Python sees it.

use std::sync::{Arc, OnceLock};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyDict, PyTuple, PyType},
};

use crate::{
    context::ContextManager, intern::Interner, python::unless_interrupted, roots::Roots, show,
};

/// A lock over all sub-trees of a tree: shared or exclusive, several at once, in one request.
///
/// A request waits exactly for the earlier live requests that conflict with it, and is granted as
/// soon as there are none. Two requests conflict iff some root of one is, or lies above or below,
/// some root of the other, and at least one of these two is a write. So the lock is fair, never
/// waits for what is not in its way, and requests cannot deadlock one another.
///
/// Not re-entrant: whoever holds and asks for more that conflicts waits for itself. Ask for
/// everything in one request.
///
/// One lock serves any number of tasks, event loops and threads at the same time. With
/// ``strings=True`` its nodes are strings, split at ``/``, where ``'/a/b'``, ``'a/b'`` and
/// ``'a//b/'`` are one node and ``'/'`` is the root of all.
///
/// >>> lock = TreeLock()
/// >>> lock
/// <treelock.TreeLock object at 0x... [unlocked]>
#[pyclass(module = "treelock", frozen, subclass, dict, weakref)]
pub(crate) struct TreeLock {
    core: treelock::TreeLock,
    interner: Arc<Interner>,
    /// Settled by `__init__`, or by the first use.
    strings: OnceLock<bool>,
}

impl TreeLock {
    pub(crate) fn core(&self) -> &treelock::TreeLock {
        &self.core
    }

    pub(crate) fn interner(&self) -> &Arc<Interner> {
        &self.interner
    }

    /// Whether its nodes are strings.
    pub(crate) fn takes_strings(&self) -> bool {
        *self.strings.get_or_init(|| false)
    }
}

#[pymethods]
impl TreeLock {
    /// Takes whatever the `__init__` of a subclass takes.
    #[new]
    #[pyo3(signature = (*_arguments, **_keywords), text_signature = "(*, strings=False)")]
    fn new(_arguments: &Bound<'_, PyTuple>, _keywords: Option<&Bound<'_, PyDict>>) -> TreeLock {
        let core = treelock::TreeLock::new();
        let interner = Arc::new(Interner::new(core.clone()));
        TreeLock { core, interner, strings: OnceLock::new() }
    }

    #[pyo3(signature = (*, strings = false))]
    fn __init__(&self, strings: bool) -> PyResult<()> {
        match *self.strings.get_or_init(|| strings) == strings {
            true => Ok(()),
            false => Err(PyValueError::new_err("strings= of a TreeLock cannot be changed")),
        }
    }

    /// Returns a context manager for ``async with`` and ``with``.
    ///
    /// Reads (shares) the sub-trees below the nodes in ``read``, and writes (has alone) those below
    /// the nodes in ``write``; each node's own place is part of its sub-tree.
    ///
    /// Nothing is looked at and nothing is acquired before the context manager is entered; what is
    /// wrong with the arguments is raised there. ``timeout`` is in seconds: with 0 the lock is
    /// granted at once or not at all, without one it is waited for. ``label`` names who asks, for
    /// messages and snapshots.
    ///
    /// >>> lock = TreeLock()
    /// >>> copy = lock(read=[PurePosixPath('/a')], write=[PurePosixPath('/b')], timeout=5)
    #[pyo3(signature = (read = Roots::none(), write = Roots::none(), *, timeout = None, label = None))]
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
        self.core.held() > 0
    }

    /// Returns all live requests at one moment: who holds, and who waits for whom.
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
        let lock = &slf.get().core;
        let state = if lock.held() > 0 { "locked" } else { "unlocked" };
        let waiters = match lock.waiting() {
            0 => String::new(),
            waiting => format!(", waiters:{waiting}"),
        };
        repr_with(slf.as_any(), &format!("[{state}{waiters}]"))
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(not_copied("TreeLock"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.interner.traverse(visit)
    }
}

/// A copy would be another lock, which keeps nobody out of what this one guards.
pub(crate) fn not_copied(class: &str) -> PyErr {
    PyTypeError::new_err(format!("cannot copy or pickle a {class}: a copy would guard nothing"))
}

/// The `repr` that every object has, and something more.
pub(crate) fn repr_with(object: &Bound<'_, PyAny>, more: &str) -> PyResult<String> {
    let plain = PyType::new::<PyAny>(object.py())
        .call_method1(intern!(object.py(), "__repr__"), (object,))?;
    let plain: String = plain.extract()?;
    Ok(format!("{} {more}>", plain.trim_end_matches('>')))
}

/// The argument has a wrong type: which argument, what is wanted, what was given.
pub(crate) fn wrong_type(name: &str, wanted: &str, given: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{name} must be {wanted}, not {}", described(given)))
}

/// The type of an object, and what it prints as.
pub(crate) fn described(object: &Bound<'_, PyAny>) -> String {
    let class = object.get_type();
    let class = class.name().map_or_else(|_| "object".into(), |name| name.to_string());
    format!("{class}: {}", repr(object))
}

/// What an object prints as, even if it does not.
pub(crate) fn repr(object: &Bound<'_, PyAny>) -> String {
    let repr = object.repr().map(|repr| repr.to_string_lossy().into_owned());
    unless_interrupted(object.py(), repr)
        .unwrap_or_else(|| "something that cannot be printed".into())
}
