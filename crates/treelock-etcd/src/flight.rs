//! A call that a guest makes, and our thread behind it.
//!
//! Nobody can rely on a guest: its threads may be busy, the future that made the call may not be polled any more, the
//! runtime may end. So the request lies where both get at it, and whoever takes it goes on with it: the future, with
//! the answer; or our thread, if there is none in the time that a member may take.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::{
    guard::Turn,
    runtime::{Counted, Leaving},
    servers::PATIENCE,
};

/// What our thread does with a request that it has taken over.
pub(crate) type GoOn = Box<dyn FnOnce(Turn) + Send>;

/// A request whose call is on its way.
pub(crate) struct Flight {
    since: Instant,
    leaving: Leaving,
    lies: Mutex<Option<Lies>>,
}

struct Lies {
    turn: Turn,
    go_on: GoOn,
    /// Of one that is given back. After the others, since it is dropped after them.
    counted: Option<Counted>,
}

impl Flight {
    fn take(&self) -> Option<Lies> {
        self.lies.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it is time for our thread to take it over.
    pub(crate) fn is_overdue(&self) -> bool {
        self.since.elapsed() >= PATIENCE
    }

    /// Goes on with it, in our thread, if its future has not done so.
    pub(crate) fn take_over(&self) {
        // Until it is counted elsewhere.
        let _counted = self.leaving.count();
        if let Some(Lies { turn, go_on, counted }) = self.take() {
            go_on(turn);
            drop(counted);
        }
    }
}

/// The future's side. Dropping it gives up the request.
pub(crate) struct Flying(Arc<Flight>);

impl Flying {
    pub(crate) fn begin(turn: Turn, go_on: GoOn, counted: Option<Counted>) -> Flying {
        let (place, leaving) = (turn.place().clone(), turn.leaving().clone());
        let lies = Mutex::new(Some(Lies { turn, go_on, counted }));
        let flight = Arc::new(Flight { since: Instant::now(), leaving, lies });
        place.flies(Arc::downgrade(&flight));
        Flying(flight)
    }

    /// Takes it for good; `None` if our thread has.
    pub(crate) fn land(&self) -> Option<(Turn, Option<Counted>)> {
        self.0.take().map(|lies| (lies.turn, lies.counted))
    }
}

impl Drop for Flying {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}
