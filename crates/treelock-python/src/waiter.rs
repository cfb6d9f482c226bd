//! A request in the core's queue, and the sleeper to wake when it is granted.
//!
//! As with asyncio's own locks, a task that waits stays alive even if nothing else refers to it.
//! Here its event loop keeps it: the loop shows the garbage collector which sleepers it is to wake
//! ([`Sleepers`]). When nothing refers to a loop any more, its sleepers go with it and leave the
//! queue.
//!
//! If a loop cannot be notified, it is closed, so nothing will ever take what was granted. The
//! grant is then given back, and the requests behind it proceed. That wakes others, whose loop may
//! be closed too. So the release continues in a list instead of calling itself.

use std::{
    cell::RefCell,
    collections::HashMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
};

use pyo3::{PyTraverseError, PyVisit, intern, prelude::*};
use treelock::{Acquire, Blocked, Guard, Wait};

use crate::{
    intern::{Interner, NodesInUse},
    nodes::Plan,
    sleeper::Sleeper,
};

/// The first result of a request.
pub(crate) enum Asked {
    Granted(Guard, NodesInUse),
    Waiting(Arc<Waiter>),
}

/// Makes the planned request to the core.
pub(crate) fn ask(plan: &Plan<'_, '_>) -> PyResult<Asked> {
    let (request, in_use) = plan.request()?;
    let lock = plan.lock();
    let mut acquire = lock.core().acquire(&request);
    match Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(guard) => Ok(Asked::Granted(guard, in_use)),
        Poll::Pending => Ok(Asked::Waiting(Waiter::new(lock.interner(), acquire, in_use))),
    }
}

/// How a wait ends.
pub(crate) enum Ended {
    Granted(Guard, NodesInUse),
    /// This request is in the way.
    Refused(Blocked),
    /// The lock was passed on, since nothing would have taken it.
    GivenBack,
}

/// A request that waits.
pub(crate) struct Waiter {
    interner: Arc<Interner>,
    state: Mutex<State>,
}

struct State {
    /// `None` once it was given back, and while it is being polled.
    acquire: Option<Acquire>,
    in_use: NodesInUse,
    sleeper: Sleeper,
    /// The registry of the event loop in which it sleeps.
    registry: Option<Arc<Registry>>,
}

impl Drop for Waiter {
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

impl Waiter {
    fn new(interner: &Arc<Interner>, acquire: Acquire, in_use: NodesInUse) -> Arc<Waiter> {
        let (acquire, sleeper) = (Some(acquire), Sleeper::Nobody);
        let state = Mutex::new(State { acquire, in_use, sleeper, registry: None });
        Arc::new(Waiter { interner: interner.clone(), state })
    }

    fn state<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Arranges for a future's result to be set when the request is granted.
    pub(crate) fn sleep_on(
        self: &Arc<Waiter>,
        event_loop: &Bound<'_, PyAny>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let registry = Sleepers::of(event_loop)?;
        let address = Arc::as_ptr(self) as usize;
        edit(&registry, |waits| waits.insert(address, Arc::downgrade(self)));
        self.state(|state| state.registry = Some(registry));
        let (event_loop, future) = (event_loop.clone().unbind(), future.clone().unbind());
        self.set_sleeper(Sleeper::Task { event_loop, future });
        Ok(())
    }

    /// Sets the sleeper to wake when the request is granted.
    pub(crate) fn set_sleeper(&self, sleeper: Sleeper) {
        drop(self.state(|state| mem::replace(&mut state.sleeper, sleeper)));
    }

    /// Takes the lock if the request is granted. If not, the sleeper is woken when it is.
    pub(crate) fn poll(self: &Arc<Waiter>) -> Option<(Guard, NodesInUse)> {
        let mut acquire = self.state(|state| state.acquire.take())?;
        let waker = Waker::from(self.clone());
        match Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => Some((guard, self.state(|state| mem::take(&mut state.in_use)))),
            Poll::Pending => {
                self.state(|state| state.acquire = Some(acquire));
                None
            }
        }
    }

    /// Stops waiting, and gives back whatever was granted in the meantime.
    pub(crate) fn leave(&self) {
        let left = self.state(|state| {
            let sleeper = mem::replace(&mut state.sleeper, Sleeper::Nobody);
            (state.acquire.take(), mem::take(&mut state.in_use), sleeper)
        });
        drop(left);
        self.interner.unmix_if_idle();
    }

    /// Returns whether the wait has ended: the lock was taken or given back.
    pub(crate) fn is_over(&self) -> bool {
        self.state(|state| state.acquire.is_none())
    }

    /// Leaves the queue and returns the blocker, unless the lock was granted at the last moment.
    /// The nodes of the request are in use until [`leave`](Waiter::leave).
    pub(crate) fn give_up(&self) -> Ended {
        let Some(acquire) = self.state(|state| state.acquire.take()) else {
            return Ended::GivenBack;
        };
        match acquire.give_up().wait() {
            Ok(guard) => Ended::Granted(guard, self.state(|state| mem::take(&mut state.in_use))),
            Err(blocked) => Ended::Refused(blocked),
        }
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

impl Wake for Waiter {
    fn wake(self: Arc<Waiter>) {
        // Without an interpreter there is nothing left to wake.
        Python::try_attach(|py| {
            let sleeper = self.state(|state| mem::replace(&mut state.sleeper, Sleeper::Nobody));
            if !sleeper.wake(py) {
                give_back(self);
            }
        });
    }
}

/// Gives back a grant that nothing will take. See the head of this file.
fn give_back(waiter: Arc<Waiter>) {
    thread_local!(static LIST: RefCell<Option<Vec<Arc<Waiter>>>> = const { RefCell::new(None) });
    let is_first = LIST.with_borrow_mut(|list| match list {
        Some(list) => {
            list.push(waiter);
            false
        }
        None => {
            *list = Some(vec![waiter]);
            true
        }
    });
    if !is_first {
        return;
    }
    while let Some(waiter) = LIST.with_borrow_mut(|list| list.as_mut().and_then(Vec::pop)) {
        waiter.leave();
    }
    LIST.with_borrow_mut(|list| *list = None);
}

/// An attribute of an event loop: the requests that wait there.
#[pyclass(module = "treelock", frozen)]
#[derive(Default)]
pub(crate) struct Sleepers(Arc<Registry>);

/// The requests that wait in one event loop, by address.
type Registry = Mutex<HashMap<usize, Weak<Waiter>>>;

fn edit<R>(registry: &Registry, edit: impl FnOnce(&mut HashMap<usize, Weak<Waiter>>) -> R) -> R {
    edit(&mut registry.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Sleepers {
    /// Returns the registry of an event loop.
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
            Ok(waits) => waits
                .values()
                .filter_map(Weak::upgrade)
                .try_for_each(|waiter| waiter.traverse(visit)),
            Err(_) => Ok(()),
        }
    }
}
