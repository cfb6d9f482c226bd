//! The awaitable of exiting an `async with`, which has nothing to wait for.

use pyo3::{exceptions::PyStopIteration, prelude::*, sync::PyOnceLock};

use crate::context::coroutine::thrown;

/// The return value of `__aexit__`: an awaitable that ends at its first step. All exits share one.
#[pyclass(name = "Nothing", module = "treelock", frozen)]
pub(crate) struct Exit;

impl Exit {
    pub(crate) fn get(py: Python<'_>) -> PyResult<Py<Exit>> {
        static EXIT: PyOnceLock<Py<Exit>> = PyOnceLock::new();
        Ok(EXIT.get_or_try_init(py, || Py::new(py, Exit))?.clone_ref(py))
    }
}

#[pymethods]
impl Exit {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err(py.None()))
    }

    #[pyo3(signature = (exception, value = None, traceback = None, /))]
    fn throw(
        &self,
        exception: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Err(thrown(exception, value, traceback)?)
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        "__aexit__"
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        "TreeLockContextManager.__aexit__"
    }

    fn close(&self) {}
}
