//! How long a request may wait: the argument `timeout`.

use std::time::Duration;

use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyBool,
};

use crate::words::{repr, wrong_type};

/// How long a request may wait.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// The request does not wait.
    Try,
    /// The request waits at most this long.
    After(Duration),
    /// The request waits forever.
    Never,
}

/// Longer timeouts mean forever.
const TIMEOUT_MAX_SECONDS: f64 = 100.0 * 365.25 * 24.0 * 3600.0;

impl Limit {
    /// Reads the argument `timeout` of a call of the lock.
    pub(crate) fn from_argument(timeout: &Bound<'_, PyAny>) -> PyResult<Limit> {
        let seconds = seconds(timeout)?;
        if seconds < 0.0 || seconds.is_nan() {
            return Err(PyValueError::new_err(format!(
                "timeout must be a non-negative number of seconds, not {}",
                repr(timeout)
            )));
        }
        Ok(Limit::from_seconds(seconds))
    }

    /// Takes a non-negative number of seconds.
    pub(crate) fn from_seconds(seconds: f64) -> Limit {
        if seconds >= TIMEOUT_MAX_SECONDS {
            return Limit::Never;
        }
        match Duration::from_secs_f64(seconds) {
            Duration::ZERO => Limit::Try,
            time => Limit::After(time),
        }
    }
}

/// Reads an argument that is a number of seconds.
pub(crate) fn seconds(timeout: &Bound<'_, PyAny>) -> PyResult<f64> {
    let wrong = || wrong_type("timeout", "a number of seconds", timeout);
    if timeout.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    timeout.extract::<f64>().map_err(|error| {
        // Only this very type: whatever the object's own code raises is passed on unchanged.
        let is_no_number = error.get_type(timeout.py()).is(timeout.py().get_type::<PyTypeError>());
        if !is_no_number {
            return error;
        }
        let wrong = wrong();
        wrong.set_cause(timeout.py(), Some(error));
        wrong
    })
}
