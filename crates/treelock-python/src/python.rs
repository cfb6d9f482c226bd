//! The parts of Python that are used: functions and types that are looked up once, and small steps
//! with them.

use std::cell::Cell;

use pyo3::{
    exceptions::PyKeyboardInterrupt,
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyCFunction, PyType},
};

/// Objects of other modules, and the package's own exceptions and values.
pub(crate) struct Imports {
    pub(crate) running_loop: Py<PyAny>,
    pub(crate) current_task: Py<PyAny>,
    pub(crate) allocate_lock: Py<PyAny>,
    pub(crate) thread_ident: Py<PyAny>,
    pub(crate) main_thread: Py<PyAny>,
    pub(crate) posix_path: Py<PyType>,
    /// `pathlib.PosixPath`, which compares and hashes the same; on Windows, only as a base class.
    pub(crate) concrete_path: Py<PyType>,
    pub(crate) windows_path: Py<PyType>,
    /// Whether Windows paths are compared part by part, as up to Python 3.11, instead of as a
    /// whole.
    pub(crate) compares_parts: bool,
    /// `pathlib.PurePath.__str__`.
    pub(crate) path_text: Py<PyAny>,
    /// A function that sets the result of a future, unless the future is done.
    pub(crate) set_result: Py<PyAny>,
    pub(crate) root: Py<PyAny>,
    pub(crate) entry: Py<PyAny>,
    pub(crate) snapshot: Py<PyAny>,
    pub(crate) blocked: Py<PyAny>,
    pub(crate) lock_timeout: Py<PyAny>,
    pub(crate) node_type_error: Py<PyAny>,
}

/// Returns the objects that are looked up at first use.
pub(crate) fn imports(py: Python<'_>) -> PyResult<&Imports> {
    static IMPORTS: PyOnceLock<Imports> = PyOnceLock::new();
    IMPORTS.get_or_try_init(py, || {
        let asyncio = py.import("asyncio")?;
        let thread = py.import("_thread")?;
        let pathlib = py.import("pathlib")?;
        let values = py.import("treelock._values")?;
        let path_type = |name| -> PyResult<Py<PyType>> {
            Ok(pathlib.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        let value = |name| -> PyResult<Py<PyAny>> { Ok(values.getattr(name)?.unbind()) };
        let set_result = |arguments: &Bound<'_, pyo3::types::PyTuple>, _: Option<&Bound<'_, _>>| {
            set_result(&arguments.get_item(0)?)
        };
        Ok(Imports {
            running_loop: asyncio.getattr("_get_running_loop")?.unbind(),
            current_task: asyncio.getattr("current_task")?.unbind(),
            allocate_lock: thread.getattr("allocate_lock")?.unbind(),
            thread_ident: thread.getattr("get_ident")?.unbind(),
            main_thread: py.import("threading")?.getattr("main_thread")?.unbind(),
            posix_path: path_type("PurePosixPath")?,
            concrete_path: path_type("PosixPath")?,
            windows_path: path_type("PureWindowsPath")?,
            compares_parts: pathlib.getattr("PureWindowsPath")?.hasattr("_cparts")?,
            path_text: pathlib.getattr("PurePath")?.getattr("__str__")?.unbind(),
            set_result: PyCFunction::new_closure(py, Some(c"set_result"), None, set_result)?
                .into_any()
                .unbind(),
            root: value("Root")?,
            entry: value("Entry")?,
            snapshot: value("Snapshot")?,
            blocked: value("Blocked")?,
            lock_timeout: value("LockTimeout")?,
            node_type_error: value("NodeTypeError")?,
        })
    })
}

/// Returns the event loop that runs in this thread, if there is one.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let event_loop = imports(py)?.running_loop.bind(py).call0()?;
    Ok((!event_loop.is_none()).then_some(event_loop))
}

/// Returns a number that distinguishes tasks, or threads where no task runs.
pub(crate) fn caller(py: Python<'_>) -> PyResult<usize> {
    let imports = imports(py)?;
    if let Some(event_loop) = running_loop(py)? {
        let task = imports.current_task.bind(py).call1((event_loop,))?;
        if !task.is_none() {
            return Ok(task.as_ptr() as usize);
        }
    }
    imports.thread_ident.bind(py).call0()?.extract()
}

/// Returns whether this is the thread in which signals are handled.
pub(crate) fn in_main_thread(py: Python<'_>) -> PyResult<bool> {
    let imports = imports(py)?;
    let main = imports.main_thread.bind(py).call0()?.getattr(intern!(py, "ident"))?;
    main.eq(imports.thread_ident.bind(py).call0()?)
}

/// Sets the result of a future, unless it is done.
pub(crate) fn set_result(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

thread_local!(static INTERRUPTED: Cell<bool> = const { Cell::new(false) });

/// Reports an error that cannot be raised. Keeps a Ctrl-C for [`deliver_interrupt`], after all
/// other work: if it were raised now, the next destructor would swallow it.
pub(crate) fn report(py: Python<'_>, error: PyErr) {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        INTERRUPTED.set(true);
    } else {
        error.write_unraisable(py, None);
    }
}

/// Delivers a Ctrl-C that was kept, to whatever runs next in the main thread.
pub(crate) fn deliver_interrupt(py: Python<'_>) {
    if INTERRUPTED.take() {
        let delivered = py.import("_thread").and_then(|it| it.call_method0("interrupt_main"));
        if let Err(error) = delivered {
            error.write_unraisable(py, None);
        }
    }
}

/// Returns the value, if there is one. Ignores the error, unless it is a Ctrl-C.
pub(crate) fn unless_interrupted<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result
        .map_err(|error| {
            if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                INTERRUPTED.set(true);
                deliver_interrupt(py);
            }
        })
        .ok()
}

/// Returns whether the interpreter is shutting down.
pub(crate) fn is_finalizing(py: Python<'_>) -> bool {
    let finalizing = py.import("sys").and_then(|sys| sys.call_method0("is_finalizing"));
    finalizing.and_then(|finalizing| finalizing.is_truthy()).unwrap_or(true)
}

/// Runs the code of a destructor. An exception that is currently being raised is left alone.
pub(crate) fn in_destructor(py: Python<'_>, work: impl FnOnce(Python<'_>)) {
    let under_way = PyErr::take(py);
    work(py);
    deliver_interrupt(py);
    if let Some(error) = under_way {
        error.restore(py);
    }
}
