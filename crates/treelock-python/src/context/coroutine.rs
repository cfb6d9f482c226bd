//! What the awaitables have in common with coroutines: exceptions that are thrown in, and the
//! errors for invalid steps.

use pyo3::{
    exceptions::{PyBaseException, PyRuntimeError, PyTypeError},
    intern,
    prelude::*,
    types::PyType,
};

/// Refuses a step while another one is in progress.
pub(crate) fn already_running() -> PyErr {
    PyRuntimeError::new_err("the awaitable is already being stepped")
}

/// Refuses a step after the last one.
pub(crate) fn already_awaited() -> PyErr {
    PyRuntimeError::new_err("cannot reuse an awaitable that was already awaited")
}

/// Refuses a value that is sent with the first step.
pub(crate) fn not_begun() -> PyErr {
    PyTypeError::new_err("can't send a non-None value to an awaitable that has not started")
}

/// Returns the exception that the arguments of `throw` describe.
pub(crate) fn thrown(
    exception: &Bound<'_, PyAny>,
    value: Option<&Bound<'_, PyAny>>,
    traceback: Option<&Bound<'_, PyAny>>,
) -> PyResult<PyErr> {
    let base = exception.py().get_type::<PyBaseException>();
    let is_class = match exception.cast::<PyType>() {
        Ok(class) => class.is_subclass(&base)?,
        Err(_) => false,
    };
    let instance = match value.filter(|value| !value.is_none()) {
        _ if exception.is_instance_of::<PyBaseException>() => exception.clone(),
        _ if !is_class => {
            let message = "exceptions must be classes or instances of BaseException";
            return Err(PyTypeError::new_err(message));
        }
        Some(value) if value.is_instance_of::<PyBaseException>() => value.clone(),
        Some(value) => exception.call1((value,))?,
        None => exception.call0()?,
    };
    if let Some(traceback) = traceback.filter(|traceback| !traceback.is_none()) {
        instance.call_method1(intern!(instance.py(), "with_traceback"), (traceback,))?;
    }
    Ok(PyErr::from_value(instance))
}
