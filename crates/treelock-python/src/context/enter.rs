//! The awaitable of entering an `async with`. It does nothing before its first step. If the lock is
//! free, that step is also the last one, without a future and without an iteration of the event
//! loop.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyRuntimeError, PyStopIteration},
    intern,
    prelude::*,
};

use crate::{
    context::{
        coroutine::{already_awaited, already_running, not_begun, thrown},
        manager::ContextManager,
    },
    limit::Limit,
    python::{deliver_interrupt, imports, in_destructor, report, running_loop},
    waiter::{Asked, Ended, Waiter},
};

/// The return value of `__aenter__`: an awaitable that acquires the lock.
#[pyclass(module = "treelock", frozen)]
pub(crate) struct Enter {
    context: Py<ContextManager>,
    state: Mutex<State>,
}

enum State {
    Unasked,
    Waiting(Sleep),
    /// A step is in progress.
    Running,
    Done,
}

/// A task that waits.
struct Sleep {
    waiter: Arc<Waiter>,
    future: Py<PyAny>,
    /// The event loop's timer, for the timeout.
    timer: Option<Py<PyAny>>,
}

impl Sleep {
    /// Stops waiting, and gives back whatever was granted in the meantime.
    fn leave(self, py: Python<'_>) -> PyResult<()> {
        self.waiter.leave();
        let cancelled = self.cancel_timer(py);
        drop(self);
        deliver_interrupt(py);
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

    /// Proceeds. Returns the future to wait for, or `None` if the lock is held.
    fn step(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let next = match self.replace(State::Running) {
            State::Unasked => self.ask(py),
            State::Waiting(sleep) => self.look(py, sleep),
            State::Running => return Err(already_running()),
            State::Done => Err(already_awaited()),
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
        let waiter = match context.ask(py)? {
            Asked::Granted(guard, in_use) => {
                return context.hold(py, guard, in_use).map(|()| None);
            }
            Asked::Waiting(waiter) => waiter,
        };
        let slept = match limit {
            Limit::Try => self.give_up(py, &waiter),
            Limit::After(time) => self.sleep(py, &waiter, Some(time)),
            Limit::Never => self.sleep(py, &waiter, None),
        };
        if slept.is_err() {
            waiter.leave();
            deliver_interrupt(py);
        }
        slept
    }

    /// Finds out why the task was woken.
    fn look(&self, py: Python<'_>, sleep: Sleep) -> PyResult<Option<Sleep>> {
        if let Some((guard, in_use)) = sleep.waiter.poll() {
            sleep.cancel_timer(py)?;
            return self.context.get().hold(py, guard, in_use).map(|()| None);
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

    /// Checks again when the lock is not granted yet. Returns whether to keep waiting.
    fn look_again(&self, py: Python<'_>, sleep: &Sleep) -> PyResult<bool> {
        let future = sleep.future.bind(py);
        if sleep.waiter.is_over() {
            return Err(given_back());
        }
        if future.call_method0(intern!(py, "done"))?.is_truthy()? && sleep.timer.is_some() {
            // Only the grant and the timer set the result.
            return self.give_up(py, &sleep.waiter).map(|_| false);
        }
        block_on(future)?;
        Ok(true)
    }

    /// Starts to wait in the event loop.
    fn sleep(
        &self,
        py: Python<'_>,
        waiter: &Arc<Waiter>,
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
        waiter.sleep_on(&event_loop, &future)?;
        let sleep = Sleep { waiter: waiter.clone(), future: future.unbind(), timer };
        // Another thread may have released while the future was created.
        match waiter.poll() {
            None => Ok(Some(sleep)),
            Some((guard, in_use)) => {
                sleep.cancel_timer(py)?;
                self.context.get().hold(py, guard, in_use).map(|()| None)
            }
        }
    }

    /// Reports what is in the way when the time is up, unless the lock was granted at the last
    /// moment.
    fn give_up(&self, py: Python<'_>, waiter: &Arc<Waiter>) -> PyResult<Option<Sleep>> {
        let context = self.context.get();
        match waiter.give_up() {
            Ended::Granted(guard, in_use) => context.hold(py, guard, in_use).map(|()| None),
            Ended::Refused(blocked) => {
                let error = context.lock_timeout(py, &blocked);
                waiter.leave();
                Err(error)
            }
            Ended::GivenBack => Err(given_back()),
        }
    }

    /// Ends, and gives back everything it has.
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

/// Returns the error that says that the lock was passed on, since nothing would have taken it.
fn given_back() -> PyErr {
    PyRuntimeError::new_err("the event loop that waited for the lock is closed")
}

/// Tells a future's task to wait for it, as the future's own `__await__` does.
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
            return Err(not_begun());
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
            return Err(already_awaited());
        }
        self.end(py)?;
        Err(thrown)
    }

    /// Returns the name that asyncio prints as part of a task.
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
