//! Sleepers, which are woken when a request is granted.
//!
//! A task sleeps on a future of its event loop. The main thread sleeps on one of Python's locks,
//! which obeys timeouts and lets Ctrl-C through. Other threads never receive a signal. They park,
//! detached from the interpreter: up to Python 3.13, a thread that Python itself puts to sleep may
//! be killed there when the interpreter ends, and Rust code cannot be left that way.
//!
//! The core calls the waker on the thread that releases. If the event loop of the sleeper runs on
//! that same thread, the future's result is set right there, so that the task runs in the next
//! iteration of the loop. Otherwise the loop is notified from outside.

use std::thread::Thread;

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use crate::python::{imports, report, running_loop, set_result};

/// A sleeper to wake.
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
            Sleeper::Nobody => true, // it is about to check for itself
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

/// Ctrl-C can arrive once, and once more. Anything that fails this often is not an event loop.
const WAKE_TRIES_MAX: usize = 10;

/// Wakes a task, even if it is interrupted. Returns whether its event loop was notified.
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
            // A closed loop that says so is not worth a report.
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
