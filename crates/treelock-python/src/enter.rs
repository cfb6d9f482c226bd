//! The awaitables of `async with`.
//!
//! [`Enter`] does nothing before its first step. Where the lock is free that step ends it, with no future
//! and no turn of the event loop.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyBaseException, PyRuntimeError, PyStopIteration, PyTypeError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::PyType,
};

use crate::{
    context::ContextManager,
    python::{already_running, deliver, imports, in_destructor, report, running_loop},
    show,
    wait::{self, Asked, Limit, Wait},
};

/// What `__aenter__` returns: acquires when it is awaited.
#[pyclass(module = "treelock", frozen)]
pub(crate) struct Enter {
    context: Py<ContextManager>,
    state: Mutex<State>,
}

enum State {
    Unasked,
    Waiting(Sleep),
    /// Being stepped.
    Running,
    Done,
}

/// A task that waits.
struct Sleep {
    wait: Arc<Wait>,
    future: Py<PyAny>,
    /// Of the event loop, for the time-out.
    timer: Option<Py<PyAny>>,
}

impl Sleep {
    /// Stop waiting; give back what was granted meanwhile.
    fn leave(self, py: Python<'_>) -> PyResult<()> {
        self.wait.leave();
        let cancelled = self.cancel_timer(py);
        drop(self);
        deliver(py);
        cancelled
    }

    fn cancel_timer(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(timer) = &self.timer {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }
}

impl Enter {
    pub(crate) fn new(context: Py<ContextManager>) -> Enter {
        Enter { context, state: Mutex::new(State::Unasked) }
    }

    fn is(&self, test: impl FnOnce(&State) -> bool) -> bool {
        test(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, state: State) -> State {
        mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }

    /// Go on. Returns the future to wait for, or `None` if the lock is held.
    fn step(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let next = match self.replace(State::Running) {
            State::Unasked => self.ask(py),
            State::Waiting(sleep) => self.look(py, sleep),
            State::Running => return Err(already_running()),
            State::Done => Err(used_already()),
        };
        match next {
            Ok(Some(sleep)) => {
                let future = sleep.future.clone_ref(py);
                self.replace(State::Waiting(sleep));
                Ok(Some(future))
            }
            other => {
                self.replace(State::Done);
                other.map(|_| None)
            }
        }
    }

    fn ask(&self, py: Python<'_>) -> PyResult<Option<Sleep>> {
        let context = self.context.get();
        let limit = context.limit(py)?;
        let wait = match wait::ask(py, context)? {
            Asked::Granted(guard, names) => {
                return context.hold(py, guard, names).map(|()| None);
            }
            Asked::Waiting(wait) => wait,
        };
        let slept = match limit {
            Limit::Try => self.give_up(py, &wait),
            Limit::After(time) => self.sleep(py, &wait, Some(time)),
            Limit::Never => self.sleep(py, &wait, None),
        };
        if slept.is_err() {
            wait.leave();
            deliver(py);
        }
        slept
    }

    /// See what the task was woken for.
    fn look(&self, py: Python<'_>, sleep: Sleep) -> PyResult<Option<Sleep>> {
        if let Some((guard, names)) = sleep.wait.poll() {
            sleep.cancel_timer(py)?;
            return self.context.get().hold(py, guard, names).map(|()| None);
        }
        let looked = self.look_again(py, &sleep);
        match looked {
            Ok(true) => Ok(Some(sleep)),
            Ok(false) => Ok(None),
            Err(error) => {
                sleep.leave(py)?;
                Err(error)
            }
        }
    }

    /// It is not granted yet. Returns whether to wait on.
    fn look_again(&self, py: Python<'_>, sleep: &Sleep) -> PyResult<bool> {
        let future = sleep.future.bind(py);
        if sleep.wait.is_over() {
            return Err(PyRuntimeError::new_err(
                "the event loop that waited for the lock is closed",
            ));
        }
        if future.call_method0(intern!(py, "done"))?.is_truthy()? && sleep.timer.is_some() {
            // Nothing but the grant and the timer set the result.
            return self.give_up(py, &sleep.wait).map(|_| false);
        }
        block_on(future)?;
        Ok(true)
    }

    /// Begin to wait in the event loop.
    fn sleep(
        &self,
        py: Python<'_>,
        wait: &Arc<Wait>,
        limit: Option<Duration>,
    ) -> PyResult<Option<Sleep>> {
        let event_loop =
            running_loop(py)?.ok_or_else(|| PyRuntimeError::new_err("no running event loop"))?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        block_on(&future)?;
        let timer = match limit {
            None => None,
            Some(time) => {
                let set_result = imports(py)?.set_result.bind(py);
                let arguments = (time.as_secs_f64(), set_result, &future);
                Some(event_loop.call_method1(intern!(py, "call_later"), arguments)?.unbind())
            }
        };
        wait.sleep_on(&event_loop, &future)?;
        let sleep = Sleep { wait: wait.clone(), future: future.unbind(), timer };
        // Another thread may have released while the future was made.
        match wait.poll() {
            None => Ok(Some(sleep)),
            Some((guard, names)) => {
                sleep.cancel_timer(py)?;
                self.context.get().hold(py, guard, names).map(|()| None)
            }
        }
    }

    /// The time is over: say who is in the way, unless the lock was granted in the last moment.
    fn give_up(&self, py: Python<'_>, wait: &Arc<Wait>) -> PyResult<Option<Sleep>> {
        let context = self.context.get();
        match wait.blocked() {
            Some(blocked) => {
                let error = show::lock_timeout(py, context.lock(), &blocked);
                wait.leave();
                Err(error)
            }
            None => match wait.poll() {
                Some((guard, names)) => context.hold(py, guard, names).map(|()| None),
                None => Err(given_back()),
            },
        }
    }

    /// End, and give back whatever there is.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        match self.replace(State::Done) {
            State::Waiting(sleep) => sleep.leave(py),
            State::Running => {
                self.replace(State::Running);
                Err(already_running())
            }
            State::Unasked | State::Done => Ok(()),
        }
    }

    fn abandon(&self) {
        if let State::Waiting(sleep) = self.replace(State::Done) {
            Python::try_attach(|py| {
                in_destructor(py, |py| {
                    if let Err(error) = sleep.leave(py) {
                        report(py, error);
                    }
                });
            });
        }
    }
}

/// Nobody would have taken the lock, and so it went to others.
fn given_back() -> PyErr {
    PyRuntimeError::new_err("the event loop that waited for the lock is closed")
}

fn used_already() -> PyErr {
    PyRuntimeError::new_err("cannot reuse an awaitable that was awaited already")
}

/// Mark a future as one that its task is to wait for, as the future's own `__await__` does.
fn block_on(future: &Bound<'_, PyAny>) -> PyResult<()> {
    future.setattr(intern!(future.py(), "_asyncio_future_blocking"), true)
}

impl Drop for Enter {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[pymethods]
impl Enter {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.step(py)
    }

    fn send(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        if !value.is_none() && self.is(|state| matches!(state, State::Unasked)) {
            let message = "can't send non-None value to an awaitable that was not begun";
            return Err(PyTypeError::new_err(message));
        }
        self.step(py)?.ok_or_else(|| PyStopIteration::new_err(py.None()))
    }

    #[pyo3(signature = (exception, value = None, traceback = None, /))]
    fn throw(
        &self,
        py: Python<'_>,
        exception: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let thrown = thrown(exception, value, traceback)?;
        if self.is(|state| matches!(state, State::Done)) {
            return Err(used_already());
        }
        self.end(py)?;
        Err(thrown)
    }

    /// What asyncio prints of a task.
    #[getter]
    fn __name__(&self) -> &'static str {
        "__aenter__"
    }

    #[getter]
    fn __qualname__(&self) -> &'static str {
        "TreeLockContextManager.__aenter__"
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.context)?;
        match self.state.try_lock().as_deref() {
            Ok(State::Waiting(sleep)) => {
                visit.call(&sleep.future)?;
                visit.call(&sleep.timer)
            }
            _ => Ok(()),
        }
    }

    fn __clear__(&self) {
        self.abandon();
    }
}

/// The exception that the arguments of a coroutine's `throw` mean.
fn thrown(
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

/// What `__aexit__` returns: an awaitable that is over at its first step. All share one.
#[pyclass(module = "treelock", frozen)]
pub(crate) struct Nothing;

impl Nothing {
    pub(crate) fn get(py: Python<'_>) -> PyResult<Py<Nothing>> {
        static NOTHING: PyOnceLock<Py<Nothing>> = PyOnceLock::new();
        Ok(NOTHING.get_or_try_init(py, || Py::new(py, Nothing))?.clone_ref(py))
    }
}

#[pymethods]
impl Nothing {
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
