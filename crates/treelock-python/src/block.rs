//! Blocking a thread until a request is granted.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyRuntimeError, intern, prelude::*};

use crate::{
    limit::Limit,
    python::{imports, in_main_thread, running_loop},
    show,
    sleeper::Sleeper,
    tree::TreeLock,
    waiter::{Ended, Waiter},
};

/// Blocks the thread until the lock is granted or the time is up.
pub(crate) fn block(
    py: Python<'_>,
    lock: &TreeLock,
    waiter: &Arc<Waiter>,
    limit: Limit,
) -> PyResult<Ended> {
    let deadline = match limit {
        Limit::Try => return Ok(waiter.give_up()),
        Limit::After(time) => Instant::now().checked_add(time),
        Limit::Never => None,
    };
    if running_loop(py)?.is_some() {
        return match waiter.give_up() {
            Ended::Refused(blocked) => Err(PyRuntimeError::new_err(format!(
                "waiting here would block the running event loop; use `async with`: {}",
                show::sentence(py, lock, &blocked)
            ))),
            ended => Ok(ended),
        };
    }
    let in_main_thread = in_main_thread(py)?;
    loop {
        let python_lock = if in_main_thread { Some(taken_python_lock(py)?) } else { None };
        waiter.set_sleeper(match &python_lock {
            Some(python_lock) => Sleeper::MainThread(python_lock.clone().unbind()),
            None => Sleeper::Thread(thread::current()),
        });
        if let Some((guard, in_use)) = waiter.poll() {
            return Ok(Ended::Granted(guard, in_use));
        }
        let is_time_left = match python_lock {
            Some(python_lock) => sleep(&python_lock, deadline)?,
            None => py.detach(|| park(deadline)),
        };
        if !is_time_left {
            return Ok(waiter.give_up());
        }
    }
}

/// Creates one of Python's locks and takes it.
fn taken_python_lock(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let python_lock = imports(py)?.allocate_lock.bind(py).call0()?;
    python_lock.call_method0(intern!(py, "acquire"))?;
    Ok(python_lock)
}

/// Sleeps until one of Python's locks is released or the deadline has passed. Returns whether it
/// was released.
fn sleep(python_lock: &Bound<'_, PyAny>, deadline: Option<Instant>) -> PyResult<bool> {
    loop {
        let (time, is_last) = next_sleep(deadline);
        let arguments = (true, time.as_secs_f64());
        let acquire = intern!(python_lock.py(), "acquire");
        if python_lock.call_method1(acquire, arguments)?.is_truthy()? {
            return Ok(true);
        }
        if is_last {
            return Ok(false);
        }
    }
}

/// Parks until woken or until the deadline. Returns whether time is left. May wake spuriously, as
/// `std::thread::park` may.
fn park(deadline: Option<Instant>) -> bool {
    let (time, is_last) = next_sleep(deadline);
    thread::park_timeout(time);
    !(is_last && next_sleep(deadline).0.is_zero())
}

/// Neither Python nor every operating system can sleep for very long at once.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Returns how long to sleep now, and whether the deadline is then reached.
fn next_sleep(deadline: Option<Instant>) -> (Duration, bool) {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    (left.unwrap_or(SLEEP_MAX).min(SLEEP_MAX), left.is_some_and(|left| left <= SLEEP_MAX))
}
