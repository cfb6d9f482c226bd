//! Giving up: returns the guard, or what is in the way.
//!
//! A request that gives up gets the guard if all requests in its way have left, as the next poll
//! would have found. Otherwise one look at the table tells which request is in the way, and this
//! request leaves. This happens during the call.
//!
//! There is a third case: some blocker's byte is still locked, but the table contains no request
//! that conflicts. Either the blocker is just leaving, and has freed its cells but not yet unlocked
//! its byte; that takes microseconds, unless the process is stopped in between. Or its record was
//! destroyed. [`GivingUp`] waits for that byte to be unlocked, as every waiter does, but for a
//! limited time. No runtime provides a timer, so a thread sleeps for that time and wakes it. After
//! that there is no way to tell what is in the way: the table is damaged.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use treelock::Answer;

use crate::{
    error::{Doing, Error},
    guard::Guard,
    turn::Turn,
};

/// The maximum time that a leaving request may take from freeing its cells to unlocking its byte.
const LEAVING_TIMEOUT: Duration = Duration::from_secs(1);

/// Gives up a request that is in line.
pub(crate) fn give_up(mut turn: Turn) -> Answer<Result<Guard, Error>> {
    match turn.is_granted().and_then(|granted| settle(&turn, granted)) {
        Ok(true) => Answer::ready(Ok(Guard::new(turn))),
        Ok(false) => Answer::of(GivingUp { turn: Some(turn), timer: None }),
        Err(error) => Answer::ready(Err(error)),
    }
}

/// Returns whether the turn is granted: an error if another request is in its way, and `false` if
/// that cannot be determined.
fn settle(turn: &Turn, granted: bool) -> Result<bool, Error> {
    match granted {
        true => Ok(true),
        false => turn.blocked()?.map_or(Ok(false), |blocked| Err(blocked.into())),
    }
}

/// A request that has given up while it is unknown what is in its way.
struct GivingUp {
    /// `None` once the future was ready.
    turn: Option<Turn>,
    timer: Option<Timer>,
}

impl Future for GivingUp {
    type Output = Result<Guard, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut turn = self.turn.take().expect("not polled after it was ready");
        let granted = turn.is_granted_or_watched(context.waker())?;
        if settle(&turn, granted)? {
            return Poll::Ready(Ok(Guard::new(turn)));
        }
        let site = &turn.table.site;
        if self.timer.is_none() {
            let started = Timer::start().doing("start a thread to wait on", site.path())?;
            self.timer = Some(started);
        }
        if self.timer.as_ref().is_some_and(|timer| timer.is_over(context.waker())) {
            return Poll::Ready(Err(site.damaged()));
        }
        self.turn = Some(turn);
        Poll::Pending
    }
}

/// A thread that sleeps for [`LEAVING_TIMEOUT`] and then calls the waker of the latest poll.
struct Timer {
    end: Instant,
    waker: Arc<Mutex<Waker>>,
}

impl Timer {
    fn start() -> io::Result<Timer> {
        let end = Instant::now() + LEAVING_TIMEOUT;
        let waker = Arc::new(Mutex::new(Waker::noop().clone()));
        // If nothing waits any more, the thread wakes nothing.
        let weak = Arc::downgrade(&waker);
        let thread = thread::Builder::new().name("treelock-give-up".into());
        thread.spawn(move || {
            thread::sleep(LEAVING_TIMEOUT);
            if let Some(waker) = weak.upgrade() {
                let waker = replace(&waker, Waker::noop().clone());
                waker.wake();
            }
        })?;
        Ok(Timer { end, waker })
    }

    /// Returns whether the time is up. If not, `waker` is called when it is.
    fn is_over(&self, waker: &Waker) -> bool {
        drop(replace(&self.waker, waker.clone()));
        Instant::now() >= self.end
    }
}

/// Replaces a waker by another. Returns the old one, to be dropped or called once the mutex is free
/// (C9).
fn replace(place: &Mutex<Waker>, waker: Waker) -> Waker {
    std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), waker)
}
