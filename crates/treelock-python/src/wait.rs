//! Waiting: a request in the core's queue, and whom to wake when it is granted.
//!
//! A task sleeps on a future of its event loop. The main thread sleeps on a lock of Python's, which obeys
//! time-outs and lets Ctrl-C through. Other threads never see a signal; they park, detached from the
//! interpreter, since up to Python 3.13 a thread that Python itself puts to sleep may be killed there when
//! the interpreter goes, and Rust cannot be left that way. The core calls the waker in the thread that releases.
//! If the waiter's loop runs in that very thread, the future's result is set there and then, so that the
//! waiter runs in the loop's next turn; else the loop is told from outside.
//!
//! As with asyncio's own locks, a task that waits is kept alive, if by nobody else: here by its event loop,
//! which shows the garbage collector whom it is to wake ([`Sleepers`]). When nobody refers to a loop any
//! more, those who slept there go with it, and leave the queue.
//!
//! If the loop cannot be told, since it is closed, nobody will ever take what was granted. So the grant is
//! given back and those behind it go on. That wakes others, whose loop may be closed too: instead of
//! calling itself, the release goes on in a list.

use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use pyo3::{PyTraverseError, PyVisit, exceptions::PyRuntimeError, intern, prelude::*};
use treelock::{Acquire, Blocked, Guard};

use crate::{
    context::{ContextManager, duration},
    intern::{Interner, Names},
    python::{deliver, imports, in_main_thread, report, running_loop, set_result},
    show,
};

/// How long a request may wait.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    /// Not at all.
    Try,
    /// For so long.
    After(Duration),
    /// For ever.
    Never,
}

impl Limit {
    pub(crate) fn seconds(seconds: f64) -> Limit {
        match duration(seconds) {
            Some(Duration::ZERO) => Limit::Try,
            Some(time) => Limit::After(time),
            None => Limit::Never,
        }
    }
}

/// Of an event loop: the requests that wait there, by address. An attribute of the loop.
#[pyclass(module = "treelock", frozen)]
#[derive(Default)]
pub(crate) struct Sleepers(Arc<Registry>);

type Registry = Mutex<HashMap<usize, Weak<Wait>>>;

fn edit<R>(registry: &Registry, edit: impl FnOnce(&mut HashMap<usize, Weak<Wait>>) -> R) -> R {
    edit(&mut registry.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Sleepers {
    /// The registry of an event loop.
    fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Registry>> {
        let py = event_loop.py();
        let name = intern!(py, "_treelock_sleepers");
        if let Ok(known) = event_loop.getattr(name)
            && let Ok(sleepers) = known.cast_into::<Sleepers>()
        {
            return Ok(sleepers.get().0.clone());
        }
        let sleepers = Bound::new(py, Sleepers::default())?;
        let registry = sleepers.get().0.clone();
        // A loop that takes no attributes never forgets a task.
        let _ = event_loop.setattr(name, sleepers);
        Ok(registry)
    }
}

#[pymethods]
impl Sleepers {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_lock() {
            Ok(waits) => {
                waits.values().filter_map(Weak::upgrade).try_for_each(|wait| wait.traverse(visit))
            }
            Err(_) => Ok(()),
        }
    }
}

/// A request that waits.
pub(crate) struct Wait {
    interner: Arc<Interner>,
    state: Mutex<State>,
}

struct State {
    /// `None` once it was given back, or while it is polled.
    acquire: Option<Acquire>,
    names: Names,
    sleeper: Sleeper,
    /// Of the loop that it sleeps in.
    registry: Option<Arc<Registry>>,
}

/// Whom to wake.
enum Sleeper {
    Nobody,
    Task { event_loop: Py<PyAny>, future: Py<PyAny> },
    MainThread(Py<PyAny>),
    Thread(Thread),
}

impl Drop for Wait {
    fn drop(&mut self) {
        let address = &raw const *self as usize;
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(registry) = state.registry.take() else { return };
        edit(&registry, |waits| {
            waits.remove(&address);
            if waits.len() < waits.capacity() / 8 {
                waits.shrink_to(2 * waits.len());
            }
        });
    }
}

impl Wait {
    fn new(interner: &Arc<Interner>, acquire: Acquire, names: Names) -> Arc<Wait> {
        let (acquire, sleeper) = (Some(acquire), Sleeper::Nobody);
        let state = Mutex::new(State { acquire, names, sleeper, registry: None });
        Arc::new(Wait { interner: interner.clone(), state })
    }

    fn state<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Have a future's result set when the request is granted.
    pub(crate) fn sleep_on(
        self: &Arc<Wait>,
        event_loop: &Bound<'_, PyAny>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let registry = Sleepers::of(event_loop)?;
        let address = Arc::as_ptr(self) as usize;
        edit(&registry, |waits| waits.insert(address, Arc::downgrade(self)));
        self.state(|state| state.registry = Some(registry));
        let (event_loop, future) = (event_loop.clone().unbind(), future.clone().unbind());
        self.sleeps(Sleeper::Task { event_loop, future });
        Ok(())
    }

    fn sleeps(&self, sleeper: Sleeper) {
        drop(self.state(|state| mem::replace(&mut state.sleeper, sleeper)));
    }

    /// See whether the request is granted; if not, the sleeper is woken when it is.
    pub(crate) fn poll(self: &Arc<Wait>) -> Option<(Guard, Names)> {
        let mut acquire = self.state(|state| state.acquire.take())?;
        let waker = Waker::from(self.clone());
        match Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => Some((guard, self.state(|state| mem::take(&mut state.names)))),
            Poll::Pending => {
                self.state(|state| state.acquire = Some(acquire));
                None
            }
        }
    }

    /// Stop waiting; give back what was granted meanwhile.
    pub(crate) fn leave(&self) {
        let left = self.state(|state| {
            let sleeper = mem::replace(&mut state.sleeper, Sleeper::Nobody);
            (state.acquire.take(), mem::take(&mut state.names), sleeper)
        });
        drop(left);
        self.interner.settle();
    }

    /// Whether it does not wait any more: it was granted and taken, or given back.
    pub(crate) fn is_over(&self) -> bool {
        self.state(|state| state.acquire.is_none())
    }

    /// Who is in the way, unless the request is granted.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        let acquire = self.state(|state| state.acquire.take())?;
        let blocked = acquire.blocked();
        self.state(|state| state.acquire = Some(acquire));
        blocked
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.state.try_lock().as_deref() {
            Ok(State { sleeper: Sleeper::Task { event_loop, future }, .. }) => {
                visit.call(event_loop)?;
                visit.call(future)
            }
            _ => Ok(()),
        }
    }
}

impl Wake for Wait {
    fn wake(self: Arc<Wait>) {
        // Without an interpreter there is nobody left to wake.
        Python::try_attach(|py| {
            let sleeper = self.state(|state| mem::replace(&mut state.sleeper, Sleeper::Nobody));
            if !sleeper.wake(py) {
                give_back(self);
            }
        });
    }
}

impl Sleeper {
    /// Returns whether the sleeper will run.
    fn wake(&self, py: Python<'_>) -> bool {
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
            Sleeper::Task { event_loop, future } => tell(event_loop.bind(py), future.bind(py)),
        }
    }
}

/// Tell a task's loop, whatever comes in between. Returns whether it is told.
fn tell(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> bool {
    /// A Ctrl-C can come once, and once more; what always fails is no event loop.
    const TRIES: usize = 10;
    let py = event_loop.py();
    let mut errors = Vec::new();
    let mut told = wake_task(event_loop, future);
    let is_told = loop {
        let Err(error) = told else { break true };
        errors.push(error);
        let closed = event_loop.call_method0(intern!(py, "is_closed"));
        if errors.len() == TRIES || matches!(closed.and_then(|it| it.is_truthy()), Ok(true)) {
            // That a closed loop says so is no news.
            errors.retain(|error| !error.is_instance_of::<PyRuntimeError>(py));
            break false;
        }
        told = wake_from_outside(event_loop, future);
    };
    errors.into_iter().for_each(|error| report(py, error));
    is_told
}

fn wake_task(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
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

/// Give back what nobody will take. See the head of this file.
fn give_back(wait: Arc<Wait>) {
    thread_local!(static LIST: RefCell<Option<Vec<Arc<Wait>>>> = const { RefCell::new(None) });
    let first = LIST.with_borrow_mut(|list| match list {
        Some(list) => {
            list.push(wait);
            false
        }
        None => {
            *list = Some(vec![wait]);
            true
        }
    });
    if !first {
        return;
    }
    while let Some(wait) = LIST.with_borrow_mut(|list| list.as_mut().and_then(Vec::pop)) {
        wait.leave();
    }
    LIST.with_borrow_mut(|list| *list = None);
}

/// What asking comes to, at first.
pub(crate) enum Asked {
    Granted(Guard, Names),
    Waiting(Arc<Wait>),
}

/// Ask for what a context manager names.
pub(crate) fn ask(py: Python<'_>, context: &ContextManager) -> PyResult<Asked> {
    let plan = context.plan(py)?;
    let (request, names) = plan.request()?;
    let mut acquire = context.lock().core().acquire(&request);
    match Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(guard) => Ok(Asked::Granted(guard, names)),
        Poll::Pending => Ok(Asked::Waiting(Wait::new(context.lock().interner(), acquire, names))),
    }
}

/// Acquire what a context manager names, blocking the thread. If the time is over, returns what `refuse`
/// makes of the one in the way; the nodes of the request are in use until then.
pub(crate) fn acquire_blocking<T>(
    py: Python<'_>,
    context: &ContextManager,
    limit: Limit,
    refuse: impl FnOnce(&Blocked) -> T,
) -> PyResult<Option<T>> {
    let wait = match ask(py, context)? {
        Asked::Granted(guard, names) => return context.hold(py, guard, names).map(|()| None),
        Asked::Waiting(wait) => wait,
    };
    let outcome = block(py, context, limit, &wait);
    let outcome = outcome.map(|blocked| blocked.as_ref().map(refuse));
    wait.leave();
    drop(wait);
    deliver(py);
    outcome
}

fn block(
    py: Python<'_>,
    context: &ContextManager,
    limit: Limit,
    wait: &Arc<Wait>,
) -> PyResult<Option<Blocked>> {
    let deadline = match limit {
        Limit::Try => return give_up(py, context, wait),
        Limit::After(time) => Instant::now().checked_add(time),
        Limit::Never => None,
    };
    if running_loop(py)?.is_some() {
        return give_up(py, context, wait)?.map_or(Ok(None), |blocked| {
            Err(PyRuntimeError::new_err(format!(
                "waiting here would block the running event loop, use `async with`: {}",
                show::sentence(py, context.lock(), &blocked)
            )))
        });
    }
    let in_main_thread = in_main_thread(py)?;
    loop {
        let woken = if in_main_thread {
            let lock = imports(py)?.allocate_lock.bind(py).call0()?;
            lock.call_method0(intern!(py, "acquire"))?;
            wait.sleeps(Sleeper::MainThread(lock.clone().unbind()));
            take(py, context, wait)? || sleep(&lock, deadline)?
        } else {
            wait.sleeps(Sleeper::Thread(thread::current()));
            take(py, context, wait)? || py.detach(|| park(deadline))
        };
        if wait.is_over() {
            return Ok(None);
        }
        if !woken {
            return give_up(py, context, wait);
        }
    }
}

/// Say who is in the way, unless the lock was granted in the last moment.
fn give_up(
    py: Python<'_>,
    context: &ContextManager,
    wait: &Arc<Wait>,
) -> PyResult<Option<Blocked>> {
    match wait.blocked() {
        Some(blocked) => Ok(Some(blocked)),
        None => take(py, context, wait).map(|_| None),
    }
}

/// Keep the lock if it is granted. Returns whether it is.
fn take(py: Python<'_>, context: &ContextManager, wait: &Arc<Wait>) -> PyResult<bool> {
    match wait.poll() {
        Some((guard, names)) => context.hold(py, guard, names).map(|()| true),
        None => Ok(false),
    }
}

/// Sleep until the lock is released, at the latest until the deadline. Returns whether it was.
fn sleep(lock: &Bound<'_, PyAny>, deadline: Option<Instant>) -> PyResult<bool> {
    loop {
        let (time, is_last) = next_sleep(deadline);
        let arguments = (true, time.as_secs_f64());
        if lock.call_method1(intern!(lock.py(), "acquire"), arguments)?.is_truthy()? {
            return Ok(true);
        }
        if is_last {
            return Ok(false);
        }
    }
}

/// Park until woken, at the latest until the deadline. Returns whether there is time left; perhaps for
/// nothing, as `std::thread::park` does.
fn park(deadline: Option<Instant>) -> bool {
    let (time, is_last) = next_sleep(deadline);
    thread::park_timeout(time);
    !(is_last && next_sleep(deadline).0.is_zero())
}

/// How long to sleep now, and whether the deadline is then. Nobody sleeps for more than a day at once, as
/// neither Python nor all systems can for very long times.
fn next_sleep(deadline: Option<Instant>) -> (Duration, bool) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    (left.unwrap_or(DAY).min(DAY), left.is_some_and(|left| left <= DAY))
}
