//! Whom to wake when a request is granted.
//!
//! A task sleeps on a future of its event loop. The main thread sleeps on one of Python's locks,
//! which obeys time-outs and lets Ctrl-C through. Other threads never see a signal. They park,
//! detached from the interpreter: up to Python 3.13, a thread that Python itself puts to sleep may
//! be killed there when the interpreter ends, and Rust cannot be left that way.
//!
//! The core calls the waker in the thread that releases. If the event loop of the sleeper runs in
//! that very thread, the future's result is set there and then, so that the task runs in the loop's
//! next turn. Otherwise the loop is told from outside.

use std::thread::Thread;

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use crate::python::{imports, report, running_loop, set_result};

/// Whom to wake.
pub(crate) enum Sleeper {
    Nobody,
    Task { event_loop: Py<PyAny>, future: Py<PyAny> },
    MainThread(Py<PyAny>),
    Thread(Thread),
}

impl Sleeper {
    /// Wakes the sleeper. Returns whether it will run.
    pub(crate) fn wake(&self, py: Python<'_>) -> bool {
        match self {
            Sleeper::Nobody => true, // it is about to look for itself
            Sleeper::Thread(thread) => {
                thread.unpark();
                true
            }
            Sleeper::MainThread(lock) => {
                if let Err(error) = lock.call_method0(py, intern!(py, "release")) {
                    report(py, error);
                }
                true
            }
            Sleeper::Task { event_loop, future } => wake_task(event_loop.bind(py), future.bind(py)),
        }
    }
}

/// A Ctrl-C can come once, and once more. What fails this often is not an event loop.
const WAKE_TRIES_MAX: usize = 10;

/// Wakes a task, whatever comes in between. Returns whether its event loop is told.
fn wake_task(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> bool {
    let py = event_loop.py();
    let mut errors = Vec::new();
    let mut told = wake_from_here(event_loop, future);
    let is_told = loop {
        let Err(error) = told else { break true };
        errors.push(error);
        let closed = event_loop.call_method0(intern!(py, "is_closed"));
        let is_closed = matches!(closed.and_then(|it| it.is_truthy()), Ok(true));
        if errors.len() == WAKE_TRIES_MAX || is_closed {
            // That a closed loop says so is not worth a report.
            errors.retain(|error| !error.is_instance_of::<PyRuntimeError>(py));
            break false;
        }
        told = wake_from_outside(event_loop, future);
    };
    errors.into_iter().for_each(|error| report(py, error));
    is_told
}

fn wake_from_here(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    match running_loop(event_loop.py())? {
        Some(running) if running.is(event_loop) => set_result(future),
        _ => wake_from_outside(event_loop, future),
    }
}

fn wake_from_outside(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = event_loop.py();
    let set_result = imports(py)?.set_result.bind(py);
    event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (set_result, future))?;
    Ok(())
}
